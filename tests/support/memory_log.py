"""An event log in memory, to read from: what a replay needs of one, with retention at will."""

from collections.abc import Mapping

from services.runtime.eventlog.port import Record


class MemoryLog:
    """Records by partition (port: `Subscriber`). `reads` counts calls of `read`."""

    def __init__(self, partitions: int = 1) -> None:
        self.records: dict[int, list[Record]] = {partition: [] for partition in range(partitions)}
        self.begins = dict.fromkeys(range(partitions), 0)
        self.reads = 0

    def append(self, record: Record) -> None:
        """Add a record, whose offset is the next of its partition or later."""
        self.records[record.partition].append(record)

    def cut(self, partition: int, begin: int) -> None:
        """Forget what lies before an offset, as retention does."""
        self.begins[partition] = begin
        self.records[partition] = [record for record in self.records[partition] if record.offset >= begin]

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the partitions."""
        assert topic
        return tuple(sorted(self.records))

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        """Return the first offset of each partition."""
        assert topic
        return dict(self.begins)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the next offset of each partition."""
        assert topic
        return {
            partition: records[-1].offset + 1 if records else self.begins[partition]
            for partition, records in self.records.items()
        }

    async def read(self, topic: str, partition: int, offset: int, *, max_records: int, bytes_max: int) -> list[Record]:
        """Return records from an offset on, within the limits."""
        assert topic
        self.reads += 1
        found: list[Record] = []
        size = 0
        for record in self.records[partition]:
            if record.offset >= offset:
                size += len(record.value)
                if len(found) == max_records or (found and size > bytes_max):
                    break
                found.append(record)
        return found

    async def wait_for_records(self, topic: str, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        """Say whether there is something at a position; this log waits for nobody."""
        assert timeout_s >= 0
        ends = await self.end_offsets(topic)
        return any(ends[partition] > offset for partition, offset in positions.items())

    async def close(self) -> None:
        """Hold nothing."""
