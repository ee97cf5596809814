"""Rows for tests of the follow-up database: a patient, a stay, a task and what hangs on them.

Each function inserts one row (and the rows it cannot do without), gives every column a plausible value, takes any
column as a keyword to say otherwise, and returns the row's id. The story they tell by default: Ana Ruiz, 74, home from
Mercy on Friday 2026-11-20 at 14:30 Eastern, to be called by the end of Tuesday 2026-11-24.
"""

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from services.followup.domain.stays import StayView
from services.followup.store import tables

ZONE: Final = "America/New_York"
ADMITTED_AT: Final = datetime(2026, 11, 17, 13, 5, tzinfo=UTC)
DISCHARGED_AT: Final = datetime(2026, 11, 20, 19, 30, tzinfo=UTC)
DISCHARGED_ON: Final = date(2026, 11, 20)
LEARNED_AT: Final = datetime(2026, 11, 20, 19, 31, 30, tzinfo=UTC)
DUE_ON: Final = date(2026, 11, 24)
DUE_AT: Final = datetime(2026, 11, 25, 5, tzinfo=UTC)

_numbers = itertools.count(1)

VIEW: Final = StayView(
    fragment_keys=(),
    status="finished",
    visit_authority="MERCY",
    visit_number="V1",
    class_code="IMP",
    class_raw="I",
    facility_code="MERCY",
    facility_name="Mercy Hospital",
    zone=ZONE,
    admitted_at=ADMITTED_AT,
    discharged_at=DISCHARGED_AT,
    discharged_on=DISCHARGED_ON,
    discharge_basis="explicit",
    disposition_code="01",
    disposition_raw="01",
    learned_at=LEARNED_AT,
    makes_tasks=True,
    said_by={},
)


def insert_patient(connection: sa.Connection, **columns: Any) -> str:
    """Insert a panel patient."""
    values = {
        "id": f"P{next(_numbers)}",
        "family": "Ruiz",
        "given": "Ana",
        "birth_date": date(1952, 3, 9),
        "sex": "F",
        "phone": "212-555-0147",
        "language": "Spanish",
        "updated_at": LEARNED_AT,
        **columns,
    }
    return str(_insert(connection, tables.patient, values))


def insert_source_patient(connection: sa.Connection, **columns: Any) -> int:
    """Insert a person as a hospital knows them."""
    number = next(_numbers)
    return int(_insert(connection, tables.source_patient, {"key": f"MERCY|MR|{number}", **columns}))


def insert_stay(connection: sa.Connection, view: StayView = VIEW, **columns: Any) -> str:
    """Insert a stay with a view."""
    if "source_patient_id" not in columns:
        columns["source_patient_id"] = insert_source_patient(connection)
    values = {
        "id": f"S{next(_numbers)}",
        "visit_authority": view.visit_authority,
        "visit_number": view.visit_number,
        "status": view.status,
        "discharged_on": view.discharged_on,
        "view": msgspec.json.encode(view).decode(),
        "match_state": "linked",
        "match": '{"rule":"identifier"}',
        "follow_up": "planned",
        "outcome": "effect",
        "outcome_reason": "",
        "updated_at": LEARNED_AT,
        **columns,
    }
    return str(_insert(connection, tables.stay, values))


def insert_task(connection: sa.Connection, **columns: Any) -> str:
    """Insert a task, with a patient and a stay of its own unless it is given them."""
    if "patient_id" not in columns:
        columns["patient_id"] = insert_patient(connection)
    if "stay_id" not in columns:
        columns["stay_id"] = insert_stay(connection, patient_id=columns["patient_id"])
    task_id = columns.get("id", f"T{next(_numbers)}")
    values = {
        "id": task_id,
        "version": 1,
        "episode_id": f"E-{task_id}",
        "kind": "contact",
        "status": "requested",
        "priority": "routine",
        "discharged_on": DISCHARGED_ON,
        "discharged_at": DISCHARGED_AT,
        "due_on": DUE_ON,
        "last_on": DUE_ON,
        "due_at": DUE_AT,
        "work_by": DUE_ON,
        "zone": ZONE,
        "protocol": "transitional-care/1",
        "rule": "transitional-care/1 contact home",
        "warnings": "[]",
        "created_at": LEARNED_AT,
        "updated_at": LEARNED_AT,
        "attempt_count": 0,
        **columns,
    }
    return str(_insert(connection, tables.task, values))


def insert_fragment(connection: sa.Connection, *, stay_id: str, **columns: Any) -> int:
    """Insert a fragment of a stay, for events to hang on."""
    source = sa.select(tables.stay.c.source_patient_id).where(tables.stay.c.id == stay_id)
    values = {
        "key": f"F{next(_numbers)}",
        "source_patient_id": connection.execute(source).scalar_one(),
        "state": "{}",
        "stay_id": stay_id,
        **columns,
    }
    return int(_insert(connection, tables.fragment, values))


def insert_event(connection: sa.Connection, *, fragment_id: int | None = None, **columns: Any) -> str:
    """Insert an applied event."""
    number = next(_numbers)
    values = {
        "event_id": f"event-{number}",
        "topic": "adt.events.v1",
        "partition": 0,
        "offset": number,
        "normalizer": 1,
        "feed": "mercy",
        "trigger": "A03",
        "kind": "discharged",
        "control_id": f"MSG{number}",
        "ack": "AA",
        "sent_at": DISCHARGED_AT,
        "received_at": LEARNED_AT,
        "applied_at": LEARNED_AT,
        "outcome": "effect",
        "reason": "",
        "fragment_id": fragment_id,
        **columns,
    }
    return str(_insert(connection, tables.event, values, key="event_id"))


def a_view(**fields: Any) -> StayView:
    """Return the default stay view, with some fields otherwise."""
    return replace(VIEW, **fields)


def _insert(connection: sa.Connection, table: sa.Table, values: dict[str, Any], key: str = "id") -> Any:
    return connection.execute(sa.insert(table).values(values).returning(table.c[key])).scalar_one()
