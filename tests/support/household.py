"""A follow-up side on a database of its own: real normalization, real use cases, real SQL and panel.

Messages go in as bytes in any order and batching; what stands afterwards is read back from the database.
"""

import itertools
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from schemas.events import ACK_HEADER, RAW_HEADER, AdtEvent, encode_event
from schemas.topics import ADT_EVENTS
from services.followup.composition import rules_in_force
from services.followup.domain.stays import StayView
from services.followup.store import tables
from services.followup.store.panel import SqlPanelImports
from services.followup.store.unit_of_work import units_of
from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.follow_up import FollowUp
from services.followup.usecases.panel import ImportPanel
from services.followup.usecases.worklist import AttemptMade, Worklist
from services.followup.usecases.worklist_items import WorklistItem
from services.ingest.feeds import FacilityProfile, FeedProfile, Feeds
from services.ingest.hl7.message import parse
from services.ingest.normalize import normalize
from services.runtime.clock import FixedClock, to_timestamp_us
from services.runtime.database import database_url, open_database, write_transaction
from services.runtime.eventlog.port import Record
from tests.support.databases import copy_empty_database
from tests.support.memory_log import MemoryLog

ZONE = "America/New_York"
MERCY = FeedProfile(
    name="mercy",
    sending_facility="MERCY",
    zone=ZoneInfo(ZONE),
    authority="MERCY",
    classes={"OBS": "OBSENC"},
    facilities={"MERCY": FacilityProfile(code="MERCY", name="Mercy Hospital", zone=ZoneInfo(ZONE))},
)
FEEDS = Feeds((MERCY,))


PANEL = """patient_id,family,given,birth_date,phone,street,zip,identifiers
P1,Rivera,Ana,1952-03-14,217-555-0142,12 Oak Street,62701,1001^^^MERCY^MR
"""
_PANEL_TABLES = frozenset({"patient", "patient_identifier", "panel_membership", "panel_import", "match_key"})


def _skip_syncs(connection: Any, _entry: object) -> None:
    """A test's database need not survive a power cut."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
    else:
        connection.execute("SET synchronous_commit = off")
        connection.commit()


class Household:
    """The follow-up side under test."""

    def __init__(
        self, folder: Path, *, now: datetime, panel_csv: str = PANEL, feeds: Feeds = FEEDS, url: str | None = None
    ) -> None:
        """Make the database, or take the migrated one at `url`; `reset` empties it, which is cheaper than another."""
        self.clock = FixedClock(now)
        self._folder = folder
        if url is None:
            copy_empty_database(folder)
        self.engine = open_database(url or database_url(folder))
        sa.event.listen(self.engine, "connect", _skip_syncs)
        self.follow_up = FollowUp(rules_in_force(frozenset()), lambda: next(self._ids))
        self.apply = ApplyEvents(units_of(self.engine), self.follow_up, self.clock, group="test")
        self.feeds = feeds
        self._panel = ""
        self.reset(now, panel_csv=panel_csv, feeds=feeds)

    def reset(self, now: datetime, *, panel_csv: str | None = None, feeds: Feeds | None = None) -> None:
        """Forget everything but the panel and the feeds, or take others."""
        self.clock.jump(now - self.clock.now())
        self.feeds = self.feeds if feeds is None else feeds
        self._offsets = itertools.count()
        self.log = MemoryLog()
        self._ids = (f"id-{n:06d}" for n in itertools.count())
        kept = _PANEL_TABLES if panel_csv in (None, self._panel) else frozenset()
        with write_transaction(self.engine) as connection:
            for table in reversed(tables.metadata.sorted_tables):
                if table.name not in kept:
                    connection.execute(table.delete())
        if not kept:
            self._panel = panel_csv or PANEL
            self.load_panel(self._panel)

    def load_panel(self, panel_csv: str) -> None:
        """Import a panel file."""
        path = self._folder / "panel.csv"
        path.write_text(panel_csv, encoding="utf-8")
        report = ImportPanel(SqlPanelImports(self.engine), self.clock).run(path, actor="test")
        assert report.refusal is None, report

    def tell(self, messages: Iterable[tuple[bytes, datetime]], *, batch: int = 500) -> None:
        """Apply messages (bytes and receipt) in batches of a size."""
        records = self.records(messages)
        for start in range(0, len(records), batch):
            self.apply.handle(ADT_EVENTS, records[start : start + batch])

    def records(self, messages: Iterable[tuple[bytes, datetime]]) -> list[Record]:
        """Return the next records of the log."""
        return [self._record(raw, received_at) for raw, received_at in messages]

    def event_of(self, raw: bytes, received_at: datetime) -> AdtEvent:
        """Return the event that intake makes of a message."""
        message = parse(raw)
        header = message.header
        feed = self.feeds.find(header.component(3, 1) or "", header.component(4, 1) or "")
        return normalize(message, feed, received_at=received_at)

    def _record(self, raw: bytes, received_at: datetime) -> Record:
        event = self.event_of(raw, received_at)
        record = Record(
            topic=ADT_EVENTS,
            partition=0,
            offset=next(self._offsets),
            key=event.event_id.encode(),
            value=encode_event(event),
            headers=((RAW_HEADER, raw), (ACK_HEADER, b"AA")),
            timestamp_us=to_timestamp_us(received_at),
        )
        self.log.append(record)
        return record

    # --- what people do ---------------------------------------------------------------------------------------------

    def work_everything_open(self, actor: str = "Kim Lee") -> int:
        """Claim and try every open task; return how many attempts there are now."""
        worklist = Worklist(SqlWorklist(self.engine), self.clock.now)
        for row in self.open_tasks():
            claimed = worklist.claim(row.id, row.version, actor=actor)
            assert isinstance(claimed, WorklistItem), claimed
            attempt = AttemptMade(mode="phone", reached=None, outcome="voicemail")
            tried = worklist.attempt(row.id, claimed.version, attempt, actor=actor)
            assert isinstance(tried, WorklistItem), tried
        return self.attempts()

    def attempts(self) -> int:
        """Return how many attempts are on record, on whichever task."""
        return len(self._rows(sa.select(tables.task_attempt.c.id)))

    def history_length(self) -> int:
        """Return how often tasks changed."""
        return len(self._rows(sa.select(tables.task_history.c.id)))

    # --- what stands ------------------------------------------------------------------------------------------------

    def stays(self) -> list[tuple[StayView, str, str | None]]:
        """Return the stays with their follow-up and its reason, in order of discharge and admission."""
        rows = self._rows(sa.select(tables.stay).where(tables.stay.c.status != "absorbed"))
        found = [(msgspec.json.decode(row.view, type=StayView), row.follow_up, row.follow_up_reason) for row in rows]
        return sorted(found, key=lambda one: (str(one[0].discharged_on), str(one[0].admitted_at), one[0].fragment_keys))

    def open_tasks(self) -> list[Any]:
        """Return the open tasks by deadline and kind."""
        return self._rows(
            sa.select(tables.task)
            .where(tables.task.c.status.in_(tables.OPEN_STATUSES))
            .order_by(tables.task.c.due_on, tables.task.c.kind)
        )

    def reviews(self) -> list[str]:
        """Return the reasons of the open reviews."""
        rows = self._rows(sa.select(tables.review.c.reason).where(tables.review.c.status == "open"))
        return sorted(row.reason for row in rows)

    def letters(self) -> list[Any]:
        """Return the dead letters, resolved or not, by place."""
        return self._rows(sa.select(tables.dead_letter).order_by(tables.dead_letter.c.offset))

    def books(self) -> dict[tuple[str, str], int]:
        """Return the books: log positions by outcome and reason."""
        count = tables.outcome_count.c
        sums = sa.select(count.outcome, count.reason, sa.func.sum(count.n).label("n"))
        rows = self._rows(sums.group_by(count.outcome, count.reason))
        return {(row.outcome, row.reason): int(row.n) for row in rows if row.n}

    def standing(self) -> str:
        """Return what must be the same in any order (P7): stays and open obligations, without row ids."""
        stays = [(msgspec.json.encode(view), follow_up, reason) for view, follow_up, reason in self.stays()]
        tasks = sorted(str([getattr(row, name) for name in _OBLIGATION]) for row in self.open_tasks())
        return f"{stays}\n{tasks}\n{self.reviews()}"

    def _rows(self, statement: sa.Select[Any]) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(statement))

    def close(self) -> None:
        """Close the database."""
        self.engine.dispose()


_OBLIGATION = (
    "kind", "patient_id", "status", "status_reason_code", "priority", "due_on", "last_on", "due_at", "work_by", "zone",
    "rule", "owner", "attempt_count",
)  # fmt: skip


def local(text: str) -> datetime:
    """Read ``2026-11-20 09:15`` in the zone of the stories."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
