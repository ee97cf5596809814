"""Reads the embedded log, synchronously, on the thread that made it.

Promise: what it returns is what was written, or is marked as damaged. Three things count as damage (fault F09): a row
whose checksum does not fit, a row that is missing where offsets are dense, a row that SQLite cannot reach because the
page above it is broken. Each becomes one `damaged` record at its offset, and reading goes on behind it.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.embedded.layout import Stream
from services.runtime.eventlog.embedded.topics import require_legal_topic, unknown_partition
from services.runtime.eventlog.port import Record

_RANGE = (
    "SELECT id, timestamp_us, checksum, key, headers, value FROM record"
    " WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
)  # fmt: skip


class LogReader:
    """A reading connection and what it knows of the log."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / layout.LOG_FILE
        self._connection = layout.open_for_reading(folder)
        self._partitions = layout.check_format(self._connection)

    def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions."""
        require_legal_topic(topic)
        return tuple(range(self._partitions))

    def begin_offsets(self, topic: str) -> dict[int, int]:
        """Return 0 for each partition: this log deletes nothing, so a missing beginning is damage."""
        return dict.fromkeys(self.partitions(topic), 0)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the next offset of each partition."""
        return self.begin_offsets(topic) | {stream.partition: stream.end for stream in self._streams(topic)}

    def read(self, topic: str, partition: int, offset: int, max_records: int, bytes_max: int) -> list[Record]:
        """Return records from an offset on, within the limits, one at least if there is one."""
        if partition not in self.partitions(topic):
            raise unknown_partition(topic, partition, self._partitions)
        stream = next((stream for stream in self._streams(topic) if stream.partition == partition), None)
        if stream is None or offset >= stream.end:
            return []
        offset = max(offset, 0)
        with self._explained():
            return self._read(stream, offset, min(stream.end, offset + max_records), bytes_max)

    def probe(self, topic: str, positions: Mapping[int, int], seen: int | None) -> tuple[bool, int]:
        """Tell whether a partition has records at or after its position, and the version of the file that was seen.

        Passing that version to the next call makes it cheap (3 µs) as long as nobody has written.
        """
        with self._explained():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == seen:
            return False, version
        ends = self.end_offsets(topic)
        return any(ends.get(partition, 0) > offset for partition, offset in positions.items()), version

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _read(self, stream: Stream, begin: int, end: int, bytes_max: int) -> list[Record]:
        records: list[Record] = []
        size = 0
        expected = begin
        while expected < end:
            try:
                for record, record_bytes in self._scan(stream, expected, end):
                    size += record_bytes
                    if records and size > bytes_max:
                        return records
                    records.append(record)
                    expected = record.offset + 1
            except sqlite3.Error as error:
                if not layout.is_damage(error):
                    raise
                # The page is out of reach: give up this offset only, and try the next.
                records.append(_damaged(stream, expected))
                expected += 1
        return records

    def _scan(self, stream: Stream, begin: int, end: int) -> Iterator[tuple[Record, int]]:
        """Yield a record, sound or damaged, for every offset of the range in turn, with its size in bytes."""
        expected = begin
        limits = (layout.record_id(stream.id, begin), layout.record_id(stream.id, end), end - begin)
        with contextlib.closing(self._connection.execute(_RANGE, limits)) as rows:
            for row in rows:
                record = _decode(stream, row)
                if expected >= end:
                    return
                if record is None:  # its id may be what is damaged, so it stands for the offset that is due
                    yield _damaged(stream, expected), 0
                    expected += 1
                    continue
                if not expected <= record.offset < end:  # a broken table may show rows that belong elsewhere
                    continue
                while expected < record.offset:
                    yield _damaged(stream, expected), 0
                    expected += 1
                yield record, len(row[3]) + len(row[4]) + len(row[5])
                expected += 1
        while expected < end:
            yield _damaged(stream, expected), 0
            expected += 1

    def _streams(self, topic: str) -> list[Stream]:
        with self._explained():
            return layout.read_streams(self._connection).get(topic, [])

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise layout.unreadable(self._path, error) from error


def _decode(stream: Stream, row: tuple[object, ...]) -> Record | None:
    """Return the row's record, or None if the row is not what was written."""
    match row:
        case (
            int(identifier),
            int(timestamp_us),
            int(checksum),
            bytes(key),
            bytes(headers),
            bytes(value),
        ) if checksum == layout.checksum(identifier, timestamp_us, key, headers, value):
            return Record(
                topic=stream.topic,
                partition=stream.partition,
                offset=layout.offset_of(identifier),
                key=key,
                value=value,
                headers=layout.decode_headers(headers),
                timestamp_us=timestamp_us,
            )
    return None


def _damaged(stream: Stream, offset: int) -> Record:
    """Return what stands for a record that cannot be read."""
    return Record(
        topic=stream.topic,
        partition=stream.partition,
        offset=offset,
        key=b"",
        value=b"",
        headers=(),
        timestamp_us=0,
        damaged=True,
    )
