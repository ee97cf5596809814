"""What a replay reads of the log: windows of a range, and the other messages of people, wherever they lie."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from services.followup.usecases.ports import EventRow, HeldEvent, Place
from services.followup.usecases.readings import Reader, Reading, read_anew
from services.runtime.eventlog.port import Record, Subscriber

WINDOW_RECORDS: Final = 200
WINDOW_BYTES_MAX: Final = 16 * 1024 * 1024
RUN_GAP_MAX: Final = 16
"""Records nearer to each other than this are fetched in one read."""


class LogReading:
    """Reads records of one topic and has their bytes read anew.

    Windows come from `ahead`, and records here and there from `jumps`, so that a jump costs what was fetched ahead no
    more than itself.
    """

    def __init__(self, topic: str, reader: Reader, *, ahead: Subscriber, jumps: Subscriber) -> None:
        self._topic = topic
        self._reader = reader
        self._ahead = ahead
        self._jumps = jumps

    @property
    def revision(self) -> int:
        """Revision of the rules that read."""
        return self._reader.revision

    def read_anew(self, record: Record) -> Reading | None:
        """Read a record's bytes anew; `None` where they cannot be."""
        return read_anew(record, self._reader)

    async def window(self, partition: int, first: int, count: int) -> list[Record]:
        """Return records from an offset on: those among the next `count` offsets, at most a window of them."""
        return await self._read(self._ahead, partition, first, count)

    async def _read(self, log: Subscriber, partition: int, first: int, count: int) -> list[Record]:
        found = await log.read(
            self._topic, partition, first, max_records=min(count, WINDOW_RECORDS), bytes_max=WINDOW_BYTES_MAX
        )
        return [record for record in found if first <= record.offset < first + count]

    async def records_of(self, messages: Iterable[HeldEvent]) -> list[Record]:
        """Return the records of messages, as far as the log has them."""
        found = [await self._read(self._jumps, one.row.partition, one.row.offset, 1) for one in messages]
        return [record for records in found for record in records]

    async def messages(
        self, messages: Iterable[HeldEvent], in_place: Mapping[Place, Reading]
    ) -> dict[str, Reading | None]:
        """Return messages read anew by id, from what is read already or else from the log; `None`: it is gone."""
        rows = [one.row for one in messages]
        readings: dict[str, Reading | None] = {row.event_id: in_place.get(row.place) for row in rows}
        wanted = {row.place: row for row in rows if readings[row.event_id] is None}
        for run in _runs(sorted(wanted)):
            for record in await self._run(run[0][1], run[0][2], run[-1][2]):
                row = wanted.get((record.topic, record.partition, record.offset))
                if row is not None:
                    readings[row.event_id] = self._reading_of(row, record)
        return readings

    def _reading_of(self, row: EventRow, record: Record) -> Reading | None:
        reading = self.read_anew(record)
        return reading if reading is not None and reading.event.event_id == row.event_id else None

    async def _run(self, partition: int, first: int, last: int) -> list[Record]:
        found: list[Record] = []
        while first <= last:
            records = await self._read(self._jumps, partition, first, last + 1 - first)
            if not records:
                break
            found += records
            first = records[-1].offset + 1
        return found


def _runs(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Put places that lie near to each other together; they are sorted."""
    run: list[Place] = []
    for place in places:
        if run and (place[:2] != run[-1][:2] or place[2] - run[-1][2] > RUN_GAP_MAX):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
