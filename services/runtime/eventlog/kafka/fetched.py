"""What one fetch brought of one partition, handed out page by page: nothing that was read ahead is thrown away.

Batches are decoded one at a time, when a page reaches them. One whose checksum does not fit becomes damaged records,
one for each offset that it says it holds: the broker checks batches when it stores them, not when it reads its disk.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from services.runtime.eventlog.kafka.records import from_wire
from services.runtime.eventlog.port import Record

RECORD_BYTES_MIN: Final = 7  # length, attributes, two deltas, key, value and headers of one byte each

_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT, _ATTRIBUTES_AT, _OVERHEAD = 8, 22, 12  # in a batch: Kafka's documentation, "Record Batch"
_COMPRESSION: Final = 0b111


class Fetched:
    """The records of one partition from one offset on, as far as a fetch went."""

    __slots__ = ("_batches", "_page", "_page_at", "_size", "at", "partition", "topic", "until")

    def __init__(self, topic: str, partition: int, at: int, data: bytes, *, start: int | None = None) -> None:
        self.topic = topic
        self.partition = partition
        self.at = at
        """The offset that is read next from here."""
        self.until = at if start is None else start
        """Where the fetch began; once it is empty, where the next one goes on."""
        self._size: float = float("inf") if _is_compressed(data) else len(data)
        self._page: list[Record] = []  # of the batch that was reached, and how far
        self._page_at = 0
        self._batches = self._decode(MemoryRecords(data), self.until)

    def look(self) -> bool:
        """Tell whether there is another record."""
        while self._page_at >= len(self._page):
            page = next(self._batches, None)
            if page is None:
                return False
            self._page, self._page_at = page, 0
        return True

    def take(self, max_records: int, bytes_max: int) -> list[Record]:
        """Return the next records within the limits, at least one if there is one."""
        taken: list[Record] = []
        size = 0
        while len(taken) < max_records and self.look():
            if bytes_max >= self._size:  # all of it is within the limit
                page = self._page[self._page_at : self._page_at + max_records - len(taken)]
                self._page_at += len(page)
                taken += page
                continue
            record = self._page[self._page_at]
            size += _size_of(record)
            if taken and size > bytes_max:
                break
            self._page_at += 1
            taken.append(record)
        if taken:
            self.at = taken[-1].offset + 1
        return taken

    def _decode(self, batches: Any, start: int) -> Iterator[list[Record]]:  # noqa: ANN401 - aiokafka is untyped
        topic, partition = self.topic, self.partition
        while batches.has_next():
            batch = batches.next_batch()
            if batch is None or not hasattr(batch, "last_offset_delta"):
                raise CorruptRecordException("a batch older than Kafka 0.11")
            page: list[Record] = []
            if not batch.validate_crc():
                page = self._damaged(batch, max(start, batch.base_offset))
            elif not batch.is_control_batch:
                try:
                    for stored in batch:
                        page.append(from_wire(topic, partition, stored))
                except CorruptRecordException:
                    page += self._damaged(batch, page[-1].offset + 1 if page else batch.base_offset)
                if batch.base_offset < start:
                    page = [record for record in page if record.offset >= start]
            self.until = max(self.until, batch.next_offset)
            yield page

    def _damaged(self, batch: Any, first: int) -> list[Record]:  # noqa: ANN401 - aiokafka is untyped
        """Return a damaged record for each offset from `first` on, unless their number is damaged as well."""
        if not 0 <= batch.last_offset_delta <= self._size // RECORD_BYTES_MIN:
            raise CorruptRecordException(f"the batch at offset {batch.base_offset} does not say how long it is")
        return [
            Record(
                topic=self.topic,
                partition=self.partition,
                offset=offset,
                key=b"",
                value=b"",
                headers=(),
                timestamp_us=0,
                damaged=True,
            )
            for offset in range(first, batch.next_offset)
        ]


def _is_compressed(data: bytes) -> bool:
    """Tell whether records may be larger than the bytes that came; we never compress, others may."""
    position = 0
    while position + _ATTRIBUTES_AT < len(data):
        if data[position + _ATTRIBUTES_AT] & _COMPRESSION:
            return True
        (length,) = _LENGTH.unpack_from(data, position + _LENGTH_AT)
        position += _OVERHEAD + max(length, 0)
    return False


def _size_of(record: Record) -> int:
    return len(record.key) + len(record.value) + sum(len(name) + len(value) for name, value in record.headers)
