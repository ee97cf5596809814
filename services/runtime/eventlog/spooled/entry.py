"""One record on its way through a publisher with a spool; made for every message, so it is small and does little."""

from typing import Final, Protocol

from services.runtime.errors import AfterstayError, Ambiguous
from services.runtime.eventlog.port import NewRecord, OnPublished, Position, PublishOutcome

SPOOLED_OFFSET: Final = -1
"""The offset of a `Position` whose record is in the spool: durable, and its place in the log not known yet."""


class Owner(Protocol):
    """Whom an entry tells."""

    def hear(self, entry: "Entry", outcome: PublishOutcome) -> None:
        """Hear what the log says of a record that it has in hand."""

    def settle(self, entry: "Entry", outcome: PublishOutcome) -> None:
        """Tell the caller."""


class Entry:
    """One record on its way; `direct` while the log has it in hand and has not answered."""

    __slots__ = ("_owner", "deadline", "direct", "on_done", "record", "size", "tried")

    def __init__(self, owner: Owner, record: NewRecord, size: int, on_done: OnPublished) -> None:
        self._owner = owner
        self.record = record
        self.size = size
        self.on_done = on_done
        self.deadline = 0.0
        self.direct = False
        self.tried = False

    def on_direct(self, outcome: PublishOutcome) -> None:
        """Hear the log; once the record has gone to the spool, whatever the log says is too late."""
        if self.direct:
            self._owner.hear(self, outcome)

    def on_stored(self, error: AfterstayError | None) -> None:
        """Hear the spool."""
        outcome: PublishOutcome
        if error is None:
            record = self.record
            outcome = Position(topic=record.topic, partition=record.partition, offset=SPOOLED_OFFSET)
        elif self.tried:
            outcome = Ambiguous(
                "log-write-unknown",
                f"the log did not answer and the spool did not take the record ({error.code}); it may be stored or "
                "not, so do not acknowledge it: the sender will send it again",
            )
        else:
            outcome = error
        self._owner.settle(self, outcome)
