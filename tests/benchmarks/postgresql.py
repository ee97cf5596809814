"""PostgreSQL with a panel of a million people: the import, the consumer, a page of the worklist.

A server of its own, as Debian ships it, with fsync. The consumer's `Handler` is called directly with batches of 500;
beside the rate stand the processor time of this process, which is Python and the driver, and that of the session on
the server. Two mixes: everybody is on the panel, which is the hard case, and a hospital's feed, of which one in ten
is. A third of the events are discharges; of somebody on the panel each makes two tasks.

The worklist has 100,000 open and a million closed tasks, made by SQL.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import psutil
import sqlalchemy as sa

from schemas.events import ACK_HEADER, encode_event
from schemas.topics import ADT_EVENTS
from services.followup.composition import build_apply, open_migrated
from services.followup.consumer.handler import Handler
from services.followup.store import tables
from services.followup.store.panel import SqlPanelImports
from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.panel import ImportPanel
from services.followup.usecases.worklist_cursor import START, Position
from services.ingest.bootstrap import open_feeds
from services.ingest.hl7.message import parse
from services.ingest.normalize import normalize
from services.runtime.clock import FixedClock, SystemClock
from services.runtime.database import read_transaction
from services.runtime.eventlog.port import Record
from services.runtime.log import get_logger
from tests.benchmarks.crowd import Told, message, now, panel_csv, people
from tests.benchmarks.figures import percentile, spread, table
from tests.support.postgres import PostgresServer

PANEL_PEOPLE: Final = 1_000_000
BATCH: Final = 500
BATCHES: Final = 12
ROUNDS: Final = 3
TRIGGERS: Final = ("A01", "A08", "A03")
MIXES: Final = {"everybody on the panel": 1, "one in ten on the panel": 10}
OPEN_TASKS: Final = 100_000
CLOSED_TASKS: Final = 1_000_000
PAGES: Final = 200
PAGE_ROWS: Final = 101

_FILL: Final = """
    INSERT INTO task (id, version, episode_id, stay_id, patient_id, kind, status, priority, discharged_on, due_on,
        last_on, due_at, work_by, zone, protocol, rule, warnings, created_at, updated_at, attempt_count)
    SELECT :status || g, 1, :status || g, s.id, s.patient_id, 'contact', :status, 'routine', current_date, current_date,
        current_date, now() + (g % 500000) * interval '1 second', current_date, 'UTC', 'p', 'r', '[]', now(), now(), 0
    FROM generate_series(1, :n) AS g
    JOIN (SELECT id, patient_id, row_number() OVER (ORDER BY id) AS at FROM stay WHERE patient_id IS NOT NULL) AS s
        ON s.at = 1 + g % :stays
"""


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of one round, in seconds an event."""

    wall_s: float
    client_s: float
    server_s: float


def measure(folder: Path, template: Path) -> str:
    """Import, consume, read pages, and return the report."""
    folder.mkdir(parents=True)
    with PostgresServer() as server, _engine(server.create("bench")) as engine:
        imported_s = _import(engine, folder)
        side = _Consumer(engine, template)
        costs = {name: [side.round(strangers) for _ in range(ROUNDS)] for name, strangers in MIXES.items()}
        pages = sorted(_pages(engine))
    rows = [
        (
            name,
            spread(1 / one.wall_s for one in found).text(),
            spread(one.client_s for one in found).text(0, 1e6),
            spread(one.server_s for one in found).text(0, 1e6),
        )
        for name, found in costs.items()
    ]
    return f"""PostgreSQL, a panel of {PANEL_PEOPLE:,} people, imported in {imported_s:.0f} s. The consumer, batches of
{BATCH}; median (min-max) of {ROUNDS} rounds:

{table(("mix", "events/s", "CPU µs/event here", "CPU µs/event of the server"), rows)}

A page of {PAGE_ROWS} tasks of {OPEN_TASKS:,} open and {CLOSED_TASKS:,} closed:
p50 {percentile(pages, 50) * 1e3:.1f} ms, p95 {percentile(pages, 95) * 1e3:.1f} ms.
"""


@contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    engine = open_migrated(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _import(engine: sa.Engine, folder: Path) -> float:
    file = folder / "panel.csv"
    file.write_text(panel_csv(PANEL_PEOPLE), encoding="utf-8")
    began = time.perf_counter()
    report = ImportPanel(SqlPanelImports(engine), SystemClock()).run(file, actor="bench")
    took_s = time.perf_counter() - began
    assert report.loaded, report
    assert report.added == PANEL_PEOPLE, report
    return took_s


class _Consumer:
    """The handler on the database, and the records that it is given."""

    def __init__(self, engine: sa.Engine, template: Path) -> None:
        self._engine = engine
        self._today: datetime = now()
        self._handler = Handler(build_apply(engine, FixedClock(self._today), closures=frozenset()), get_logger("bench"))
        self._feed = open_feeds(template.parents[1] / "feeds.yaml").find("ADT1", "MERCY")
        self._offsets = itertools.count()
        self._people = itertools.count(1)
        self._expected = 0

    def round(self, one_in: int) -> _Cost:
        """Apply some batches; one person in so many is on the panel."""
        records = self._records(BATCH * (BATCHES + 1), one_in)
        batches = [records[begin : begin + BATCH] for begin in range(0, len(records), BATCH)]
        self._handle(batches[0])
        with self._engine.connect() as connection:
            session = psutil.Process(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())
        began = (time.perf_counter(), time.process_time(), sum(session.cpu_times()[:2]))
        for batch in batches[1:]:
            self._handle(batch)
        ended = (time.perf_counter(), time.process_time(), sum(session.cpu_times()[:2]))
        with read_transaction(self._engine) as connection:
            assert (
                connection.execute(sa.select(sa.func.count()).select_from(tables.task)).scalar_one() == self._expected
            )
        return _Cost(*((end - begin) / (BATCH * BATCHES) for begin, end in zip(began, ended, strict=True)))

    def _handle(self, batch: Sequence[Record]) -> None:
        applied = self._handler.handle(ADT_EVENTS, batch, {0: 0})
        assert getattr(applied, "fresh", 0) == len(batch), applied

    def _records(self, count: int, one_in: int) -> list[Record]:
        made: list[Record] = []
        while len(made) < count:
            number = next(self._people)
            is_stranger = number % one_in != 0
            (person,) = people(1, first=number + (PANEL_PEOPLE if is_stranger else 0))
            for place, trigger in enumerate(TRIGGERS[: count - len(made)]):
                sent_at = self._today - timedelta(minutes=9 - place)
                told = Told(trigger=trigger, sent_at=sent_at, control_id=f"N{trigger}")
                made.append(self._record(message(person, told, self._today)))
                self._expected += 2 if trigger == "A03" and not is_stranger else 0
        return made

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


def _pages(engine: sa.Engine) -> Iterator[float]:
    """Yield how long pages took, open ones, from places all over the list."""
    with engine.connect() as connection:
        connection.execute(sa.text("SET statement_timeout = 0"))
        stays = connection.execute(sa.text("SELECT count(*) FROM stay WHERE patient_id IS NOT NULL")).scalar_one()
        for status, n in (("requested", OPEN_TASKS), ("completed", CLOSED_TASKS)):
            connection.execute(sa.text(_FILL), {"status": status, "n": n, "stays": stays})
        connection.execute(sa.text("ANALYZE task"))
        connection.commit()
        connection.invalidate()
    store, began = SqlWorklist(engine), now()
    for page in range(PAGES):
        after = Position(due_at=began + timedelta(seconds=page * 400), task_id="") if page else START
        start = time.perf_counter()
        rows = store.page(is_open=True, after=after, limit=PAGE_ROWS)
        yield time.perf_counter() - start
        assert len(rows) == PAGE_ROWS
