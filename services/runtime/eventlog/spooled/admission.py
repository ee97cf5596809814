"""What may be submitted, and how much may wait for an answer: the limits at the door of a publisher with a spool."""

from collections.abc import Mapping

from services.runtime.errors import AfterstayError, Permanent, Transient
from services.runtime.eventlog.embedded.topics import illegal_topic, is_legal_topic, unknown_partition
from services.runtime.eventlog.port import NewRecord
from services.runtime.eventlog.spooled.settings import SpoolSettings


class Admission:
    """Counts what waits and refuses what is above the limits or can never be stored.

    Attributes:
        partitions: The declared topics and their partitions.
        closed: What every record is answered once the publisher is closing or has failed.
    """

    def __init__(self, settings: SpoolSettings, partitions: Mapping[str, int]) -> None:
        self.partitions = dict(partitions)
        self.closed: AfterstayError | None = None
        self._settings = settings
        self._records = 0
        self._bytes = 0

    def enter(self, record: NewRecord, size: int) -> AfterstayError | None:
        """Count a record in, or return why it is refused."""
        settings = self._settings
        count = self.partitions.get(record.topic, 0)
        if (
            self.closed is not None
            or not 0 <= record.partition < count
            or size > settings.record_bytes_max
            or self._records >= settings.queue_records_max
            or (self._records and self._bytes + size > settings.queue_bytes_max)
        ):
            return self._refusal(record, size)
        self._records += 1
        self._bytes += size
        return None

    def leave(self, size: int) -> None:
        """Count a record out."""
        self._records -= 1
        self._bytes -= size

    def require_declared(self, topic: str) -> int:
        """Return how many partitions a topic has.

        Raises:
            Permanent: `topic-unknown`.
        """
        if topic not in self.partitions:
            raise _undeclared(topic)
        return self.partitions[topic]

    def _refusal(self, record: NewRecord, size: int) -> AfterstayError:
        if self.closed is not None:
            return self.closed
        count = self.partitions.get(record.topic)
        if count is None:
            return _undeclared(record.topic)
        if not 0 <= record.partition < count:
            return unknown_partition(record.topic, record.partition, count)
        if size > self._settings.record_bytes_max:
            return Permanent(
                "record-too-large",
                f"a record of {size} bytes is above the limit of {self._settings.record_bytes_max}; lower the frame "
                "limit of the listener, or raise this one and the topic's",
            )
        return Transient(
            "log-overloaded",
            f"{self._records} records of {self._bytes} bytes already wait to be stored; nothing was stored, try "
            "again when that has been done",
        )


def size_of(record: NewRecord) -> int:
    """Return the bytes of a record that count."""
    size = len(record.key) + len(record.value)
    for name, value in record.headers:
        size += len(name) + len(value)
    return size


def no_room(held_bytes: int, bytes_max: int) -> Transient:
    """Return the error for a record that comes while the log is away and its spool is full."""
    return Transient(
        "log-unavailable",
        f"the log is away and its spool holds {held_bytes} bytes, above the limit of {bytes_max}; nothing was stored. "
        "It goes on by itself once the log is back",
    )


def _undeclared(topic: str) -> Permanent:
    if not is_legal_topic(topic):
        return illegal_topic()
    return Permanent("topic-unknown", f"the topic {topic} is not declared for this publisher")
