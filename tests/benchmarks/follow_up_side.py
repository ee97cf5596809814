"""The follow-up side of a benchmark, in this process: real normalization, real use case, a real database file.

The database is as `afterstay run` has it, synced at every commit. Only handling a batch is timed; making the records
is not. Processor time is of this process, user and system.
"""

import itertools
import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from schemas.events import ACK_HEADER, encode_event
from schemas.topics import ADT_EVENTS
from services.followup.composition import build_apply
from services.followup.store import tables
from services.followup.usecases.status import CONSUMER_GROUP
from services.ingest.bootstrap import open_feeds
from services.ingest.hl7.message import parse
from services.ingest.normalize import normalize
from services.runtime.clock import FixedClock
from services.runtime.database import DATABASE_FILE, database_url, open_database
from services.runtime.eventlog.port import Record
from tests.benchmarks.crowd import Told, message, people


@dataclass(frozen=True, slots=True)
class Cost:
    """What handling took, in seconds: on the clock, and of the processor."""

    wall_s: float
    cpu_s: float


class FollowUpSide:
    """A database with the panel in it, and the use case that applies events to it."""

    def __init__(self, folder: Path, template: Path, today: datetime) -> None:
        folder.mkdir(parents=True)
        (folder / DATABASE_FILE).write_bytes(template.read_bytes())
        self._engine = open_database(database_url(folder))
        self._apply = build_apply(self._engine, FixedClock(today), closures=frozenset())
        self._feed = open_feeds(template.parents[1] / "feeds.yaml").find("ADT1", "MERCY")
        self._today = today
        self._offsets = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._engine.dispose()

    def records(self, told: Iterable[tuple[int, Told]]) -> list[Record]:
        """Return the next records of the log; each is somebody's number on the panel and what is said of them."""
        return [self._record(message(_PEOPLE[number], one, self._today)) for number, one in told]

    def _record(self, raw: bytes) -> Record:
        event = normalize(parse(raw), self._feed, received_at=self._today)
        return Record(
            topic=ADT_EVENTS,
            partition=0,
            offset=next(self._offsets),
            key=event.event_id.encode(),
            value=encode_event(event),
            headers=((ACK_HEADER, b"AA"),),
            timestamp_us=0,
        )

    def handle(self, records: Sequence[Record]) -> Cost:
        """Apply one batch and return what it took."""
        usage, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        new = self._apply.handle(ADT_EVENTS, records)
        wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        assert new == len(records), "every record is new"
        return Cost(wall_s, after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime)

    def check(self, *, stays: int, tasks: int, positions: int) -> None:
        """Refuse a measurement of something that did not do its work."""
        with self._engine.connect() as connection:
            found = [
                connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for table in (tables.stay, tables.task, tables.event)
            ]
            next_offset = connection.execute(
                sa.select(tables.stream_position.c.next_offset).where(
                    tables.stream_position.c.consumer_group == CONSUMER_GROUP
                )
            ).scalar_one()
        assert [*found, next_offset] == [stays, tasks, positions, positions], (found, next_offset)


_PEOPLE = people(10_000)
