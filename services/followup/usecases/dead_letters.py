"""Dead letters: messages that were kept and acknowledged but could not take effect, and their way back.

A dead letter points at its record in the log; the record's raw header has the message as it was received. Replaying
reads those bytes anew, with the feeds as they are now, and applies what comes of it (`ApplyEvents.replay`). The
listing shows reasons and places only; showing the message itself is an audited look at a patient's data.

Discarding closes a letter by a person's decision: nothing is to come of its message. The bytes stay in the log, the
position stays counted (`no_effect`, `discarded`), and why is in the audit trail.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from services.followup.usecases.ports import AuditRow, Begin, DeadLetter, Tally
from services.followup.usecases.sorting import DEAD_LETTER, DISCARDED, NO_EFFECT
from services.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLetter:
    """A dead letter with what is known of its message; `None` where its event could not even be read."""

    letter: DeadLetter
    resolved_at: datetime | None
    resolution: str | None
    feed: str | None
    control_id: str | None
    trigger: str | None
    received_at: datetime | None
    acknowledged: str | None


Action = Literal["dead_letter.shown", "dead_letter.replayed"]
DISCARD_ACTION: Final = "dead_letter.discarded"

BEFORE_ALL: Final = (-1, -1)
"""The place before every dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterId:
    """Names dead letters: by event id, or by the place of their record (partition and offset)."""

    event_id: str | None = None
    partition: int | None = None
    offset: int | None = None


class DeadLetterStore(Protocol):
    """Reads dead letters, and keeps the audit of looking into one."""

    def listed(self, *, include_resolved: bool, limit: int) -> Sequence[KeptLetter]:
        """Return dead letters, oldest first."""

    def open_after(self, place: tuple[int, int], limit: int) -> Sequence[KeptLetter]:
        """Return open dead letters behind a place (partition, offset), in that order."""

    def find(self, which: LetterId) -> KeptLetter | None:
        """Return one dead letter, resolved or not; of an event's several the latest."""

    def open_count(self) -> int:
        """Return how many dead letters are open."""

    def audit(self, action: Action, letters: Sequence[DeadLetter], *, actor: str, at: datetime) -> None:
        """Keep that somebody looked at the messages of dead letters, or replayed them: one row each."""


class DiscardLetters:
    """The use case of a person who decides that nothing is to come of dead letters."""

    def __init__(self, begin: Begin, clock: Clock) -> None:
        self._begin = begin
        self._clock = clock

    def run(self, letters: Sequence[DeadLetter], *, why: str, actor: str) -> int:
        """Close those that are open; return how many that were. Harmless to repeat. `why` is never patient data.

        Raises:
            Transient: nothing was written; run it again.
        """
        now = self._clock.now()
        by_place = {letter.place: letter for letter in letters}
        with self._begin() as unit:
            closed = unit.letters.discard(by_place.keys(), DISCARDED, now)
            outcomes = Counter({(NO_EFFECT, DISCARDED): len(closed)})
            outcomes.subtract((DEAD_LETTER, reason) for reason in closed.values())
            if closed:
                unit.events.tally(Tally(outcomes=outcomes, acks={}))
            unit.audit.keep(
                [
                    AuditRow(
                        actor=actor,
                        at=now,
                        action=DISCARD_ACTION,
                        entity="/".join(map(str, place)),
                        detail={"event_id": by_place[place].event_id, "reason": reason, "why": why},
                    )
                    for place, reason in closed.items()
                ]
            )
        return len(closed)
