"""What waits for one partition, as batches in the format that Kafka stores.

A record is encoded when it is submitted, into the batch that is open; so what queued while the batch before was on its
way leaves as one, without being touched again.
"""

from collections import deque
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.runtime.eventlog.kafka.records import to_wire
from services.runtime.eventlog.port import NewRecord, OnPublished

BATCH_BYTES_MAX: Final = 262_144
"""`streaming.md` §4 and §8: larger ones bring nothing; a larger record has a batch of its own."""

_MAGIC: Final = 2
_NOT_IDEMPOTENT: Final = (-1, -1, 0)  # producer id, epoch, sequence; ADR 0011 says why

Entry = tuple[NewRecord, OnPublished]


class Batch:
    """Records of one partition that are stored or refused together."""

    __slots__ = ("_builder", "_packed", "entries", "give_up_at", "size")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.size = 0
        self.give_up_at: float | None = None  # set when it is tried first
        self._builder = DefaultRecordBatchBuilder(_MAGIC, 0, 0, *_NOT_IDEMPOTENT, BATCH_BYTES_MAX)
        self._packed: bytes | bytearray | None = None

    def add(self, record: NewRecord, on_done: OnPublished) -> bool:
        """Append a record, unless the batch is on its way or has no room."""
        if self._packed is not None:
            return False
        timestamp_ms, headers = to_wire(record.headers, record.timestamp_us)
        placed = self._builder.append(len(self.entries), timestamp_ms, record.key, record.value, headers)
        if placed is None:
            return False
        self.entries.append((record, on_done))
        self.size += placed.size
        return True

    def packed(self) -> bytes | bytearray:
        """Return the batch as it is sent; nothing can be added any more."""
        if self._packed is None:
            self._packed = self._builder.build()
        return self._packed


class Lane:
    """The batches of one partition, in order; only the first is ever on its way."""

    __slots__ = ("batches", "busy", "failed_with", "in_flight", "partition", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.batches: deque[Batch] = deque()
        self.busy = False  # waits for a broker, is on its way, or is postponed
        self.in_flight = False
        self.failed_with: int | None = None  # the error code that ends the publisher

    def add(self, record: NewRecord, on_done: OnPublished) -> int:
        """Append a record and return how many bytes it takes."""
        if self.batches:
            batch = self.batches[-1]
            before = batch.size
            if batch.add(record, on_done):
                return batch.size - before
        batch = Batch()
        batch.add(record, on_done)
        self.batches.append(batch)
        return batch.size

    def split_first(self) -> None:
        """Put each record of the first batch into one of its own, because together they are too large."""
        first = self.batches.popleft()
        for record, on_done in reversed(first.entries):
            alone = Batch()
            alone.add(record, on_done)
            alone.packed()
            alone.give_up_at = first.give_up_at
            self.batches.appendleft(alone)
