"""A log in memory, for what feeds the consumer: retention can cut it, it can be another one, and it can be away."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from schemas.topics import ADT_EVENTS
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.port import Record

PARTITIONS: Final = (0, 1, 2)


def garbage(partition: int, offset: int, topic: str = ADT_EVENTS) -> Record:
    """Return a record that becomes a dead letter at its place: so each is seen to be applied exactly once."""
    return Record(topic=topic, partition=partition, offset=offset, key=b"", value=b"{", headers=(), timestamp_us=0)


class KeptLog:
    """Implements `Subscriber`.

    Attributes:
        failure: What every call raises; ``None`` means that it works.
        reads: From where records were asked for, in order.
    """

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self._records: dict[int, list[Record]] = {partition: [] for partition in PARTITIONS}
        self._begins = dict.fromkeys(PARTITIONS, 0)
        self._grown = asyncio.Event()
        self.failure: AfterstayError | None = None
        self.reads: list[tuple[int, int]] = []
        self.add(*records)

    def add(self, *records: Record) -> None:
        """Append records, each at its own offset."""
        for record in records:
            self._records[record.partition].append(record)
        self._grown.set()

    def cut(self, partition: int, begin: int) -> None:
        """Let retention take what is before an offset."""
        self._begins[partition] = begin
        self._records[partition] = [record for record in self._records[partition] if record.offset >= begin]

    def empty(self) -> None:
        """Become another log of the same name."""
        for partition in PARTITIONS:
            self._records[partition], self._begins[partition] = [], 0

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the partitions."""
        self._answer()
        return PARTITIONS

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        """Return the first offsets."""
        self._answer()
        return dict(self._begins)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the next offsets."""
        self._answer()
        return {
            partition: records[-1].offset + 1 if records else self._begins[partition]
            for partition, records in self._records.items()
        }

    async def read(self, topic: str, partition: int, offset: int, *, max_records: int, bytes_max: int) -> list[Record]:
        """Return records from an offset on."""
        self._answer()
        self.reads.append((partition, offset))
        return [record for record in self._records[partition] if record.offset >= offset][:max_records]

    async def wait_for_records(self, topic: str, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        """Wait until something is added."""
        self._answer()
        self._grown.clear()
        try:
            await asyncio.wait_for(self._grown.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Hold nothing."""

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure
