"""What one fetch brought of one partition, handed out page by page: nothing that was read ahead is thrown away.

Records are decoded as they are handed out. A batch whose checksum does not fit becomes damaged records, one for each
offset that it says it holds; the broker checks batches when it stores them, not when it reads its disk.
"""

from collections.abc import Iterator
from typing import Any, Final

from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from services.runtime.eventlog.kafka.records import from_wire
from services.runtime.eventlog.port import Record

RECORD_BYTES_MIN: Final = 7  # length, attributes, two deltas, key, value and headers of one byte each


class Fetched:
    """The records of one partition from one offset on, as far as a fetch went."""

    __slots__ = ("_held", "_iterator", "_size", "_squeezed", "at", "partition", "topic", "until")

    def __init__(self, topic: str, partition: int, at: int, data: bytes, *, start: int | None = None) -> None:
        self.topic = topic
        self.partition = partition
        self.at = at
        """The offset that is read next from here."""
        self.until = at if start is None else start
        """Where the fetch began; once it is empty, where the next one goes on."""
        self._size = len(data)
        self._squeezed = False
        self._held: Record | None = None
        self._iterator = self._records(MemoryRecords(data), self.until)

    def look(self) -> bool:
        """Tell whether there is another record."""
        if self._held is None:
            self._held = next(self._iterator, None)
        return self._held is not None

    def take(self, max_records: int, bytes_max: int) -> list[Record]:
        """Return the next records within the limits, at least one if there is one."""
        taken: list[Record] = []
        size = 0
        while len(taken) < max_records and self.look():
            record = self._held
            assert record is not None
            if bytes_max < self._size or self._squeezed:  # else all of it is within the limit
                size += _size_of(record)
                if taken and size > bytes_max:
                    break
            taken.append(record)
            self._held = None
        if taken:
            self.at = taken[-1].offset + 1
        return taken

    def _records(self, batches: Any, start: int) -> Iterator[Record]:  # noqa: ANN401 - aiokafka is untyped
        topic, partition = self.topic, self.partition
        while batches.has_next():
            batch = batches.next_batch()
            if batch is None or not hasattr(batch, "next_offset"):
                raise CorruptRecordException("a batch older than Kafka 0.11")
            if not batch.validate_crc():
                yield from self._damaged(batch, max(start, batch.base_offset))
            elif not batch.is_control_batch:
                self._squeezed = batch.compression_type != 0
                offset = max(start, batch.base_offset) - 1
                try:
                    for stored in batch:
                        offset = stored.offset
                        if offset >= start:
                            yield from_wire(topic, partition, stored)
                except CorruptRecordException:
                    yield from self._damaged(batch, offset + 1)
            self.until = max(self.until, batch.next_offset)

    def _damaged(self, batch: Any, first: int) -> Iterator[Record]:  # noqa: ANN401 - aiokafka is untyped
        """Yield a damaged record for each offset from `first` on, unless their number is damaged as well."""
        if not 0 <= batch.last_offset_delta <= self._size // RECORD_BYTES_MIN:
            raise CorruptRecordException(f"the batch at offset {batch.base_offset} does not say how long it is")
        for offset in range(first, batch.next_offset):
            yield Record(
                topic=self.topic,
                partition=self.partition,
                offset=offset,
                key=b"",
                value=b"",
                headers=(),
                timestamp_us=0,
                damaged=True,
            )


def _size_of(record: Record) -> int:
    return len(record.key) + len(record.value) + sum(len(name) + len(value) for name, value in record.headers)
