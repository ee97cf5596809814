"""A follow-up side in a temporary folder: real normalization, real use cases, real SQLite; a panel of a few people.

Messages go in as bytes in any order and batching; what stands afterwards is read back from the database.
"""

import hashlib
import itertools
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from schemas.events import ACK_HEADER, AdtEvent, encode_event
from schemas.topics import ADT_EVENTS
from services.followup.domain.decisions import Rules
from services.followup.domain.demographics import (
    ComparableDemographics,
    Identifier,
    RawAddress,
    RawDemographics,
    RawName,
    comparable,
)
from services.followup.domain.identity import Membership, PanelPerson
from services.followup.domain.stays import StayView
from services.followup.protocols.calendars import calendar_for
from services.followup.protocols.loading import load_protocol
from services.followup.store import tables
from services.followup.store.unit_of_work import SqlUnitOfWork
from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.follow_up import FollowUp
from services.ingest.feeds import FacilityProfile, FeedProfile, Feeds
from services.ingest.hl7.message import parse
from services.ingest.normalize import normalize
from services.runtime.clock import FixedClock
from services.runtime.database import open_database, write_transaction
from services.runtime.eventlog.port import Record
from tests.support.rows import insert_patient

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A panel patient, as the stories know them."""

    patient_id: str = "P1"
    family: str = "Rivera"
    given: str = "Ana"
    birth_date: date = date(1952, 3, 14)
    mrn: str = "1001"
    phone: str = "217-555-0142"
    street: str = "12 Oak Street"
    zip: str = "62701"


ANA = Person()


class OnePanel:
    """A candidate finder over a few people: every one is a candidate, `identity.match` decides."""

    oversized_blocks = 0

    def __init__(self, people: Sequence[Person]) -> None:
        self._people = [_panel_person(one) for one in people]

    def find_candidates(self, people: Sequence[ComparableDemographics]) -> list[list[PanelPerson]]:
        """Return everybody for everybody."""
        return [self._people for _ in people]


def _panel_person(person: Person) -> PanelPerson:
    demographics = comparable(
        RawDemographics(
            names=(RawName(family=person.family, given=person.given),),
            birth_date=person.birth_date,
            phones=(person.phone,),
            addresses=(RawAddress(street=person.street, zip=person.zip),),
            identifiers=(Identifier(authority="MERCY", value=person.mrn, type="MR"),),
        )
    )
    membership = Membership(effective_from=None, effective_to=None)
    return PanelPerson(patient_id=person.patient_id, demographics=demographics, memberships=(membership,))


@cache
def _rules() -> Rules:
    protocol = load_protocol("transitional-care")
    return Rules(protocol=protocol, calendar=calendar_for(protocol.business_days))


@cache
def _empty_database() -> bytes:
    """Return a database file with every table and no row, made once."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{folder}/empty.db")
        with write_transaction(engine) as connection:
            tables.metadata.create_all(connection)
        engine.dispose()  # the last connection takes the write-ahead log into the file
        return Path(folder, "empty.db").read_bytes()


def _skip_syncs(connection: sqlite3.Connection, _entry: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")  # a test's database need not survive a power cut


class Household:
    """The follow-up side under test."""

    def __init__(self, folder: Path, *, now: datetime, people: Sequence[Person] = (ANA,), feeds: Feeds = FEEDS) -> None:
        """Make the database; `reset` empties it for the next telling, which is much cheaper than another one."""
        self.clock = FixedClock(now)
        path = folder / f"household-{next(_counter)}.db"
        path.write_bytes(_empty_database())
        self.engine = open_database(f"sqlite:///{path}")
        sa.event.listen(self.engine, "connect", _skip_syncs)
        self._feeds = feeds
        self._people = people
        panel = OnePanel(people)
        self.reset(now)

        @contextmanager
        def begin() -> Any:
            with write_transaction(self.engine) as connection:
                unit = SqlUnitOfWork(connection)
                unit.panel = panel
                yield unit

        self.apply = ApplyEvents(begin, FollowUp(_rules(), lambda: next(self._ids)), self.clock, group="test")

    def reset(self, now: datetime) -> None:
        """Forget everything but the panel."""
        self.clock.jump(now - self.clock.now())
        self._offsets = itertools.count()
        self._ids = (f"id-{n:06d}" for n in itertools.count())
        with write_transaction(self.engine) as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(table.delete())
            for person in self._people:
                insert_patient(connection, id=person.patient_id, family=person.family, given=person.given)

    def tell(self, messages: Iterable[tuple[bytes, datetime]], *, batch: int = 500) -> None:
        """Apply messages (bytes and receipt) in batches of a size."""
        records = [self._record(raw, received_at) for raw, received_at in messages]
        for start in range(0, len(records), batch):
            self.apply.handle(ADT_EVENTS, records[start : start + batch])

    def event_of(self, raw: bytes, received_at: datetime) -> AdtEvent:
        """Return the event that intake makes of a message."""
        message = parse(raw)
        header = message.header
        feed = self._feeds.find(header.component(3, 1) or "", header.component(4, 1) or "")
        return normalize(message, feed, received_at=received_at)

    def _record(self, raw: bytes, received_at: datetime) -> Record:
        event = self.event_of(raw, received_at)
        return Record(
            topic=ADT_EVENTS,
            partition=0,
            offset=next(self._offsets),
            key=event.event_id.encode(),
            value=encode_event(event),
            headers=((ACK_HEADER, b"AA"),),
            timestamp_us=0,
        )

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

    def books(self) -> dict[tuple[str, str], int]:
        """Return the books: log positions by outcome and reason."""
        rows = self._rows(sa.select(tables.outcome_count))
        return {(row.outcome, row.reason): row.n for row in rows if row.n}

    def standing(self) -> str:
        """Return what must be the same in any order (P7): stays and open obligations, without row ids."""
        stays = [(msgspec.json.encode(view), follow_up, reason) for view, follow_up, reason in self.stays()]
        tasks = [tuple(getattr(row, name) for name in _OBLIGATION) for row in self.open_tasks()]
        return f"{stays}\n{tasks}\n{self.reviews()}"

    def _rows(self, statement: sa.Select[Any]) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(statement))

    def close(self) -> None:
        """Close the database."""
        self.engine.dispose()


_counter = itertools.count()
_OBLIGATION = (
    "kind", "patient_id", "status", "status_reason_code", "priority", "due_on", "last_on", "due_at", "work_by", "zone",
    "rule", "owner", "attempt_count",
)  # fmt: skip


def digest(raw: bytes) -> str:
    """Return a short name of a message, for test ids."""
    return hashlib.sha256(raw).hexdigest()[:8]


def local(text: str) -> datetime:
    """Read ``2026-11-20 09:15`` in the zone of the stories."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
