"""What the database knows of messages under a control id (port: `usecases.trace.TraceStore`)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from services.followup.domain.statements import IDENTIFIER_FIELD
from services.followup.store.tables import audit_event, dead_letter, event, fragment, stay, task
from services.followup.usecases.trace import Traced, TracedLetter, TracedStay, TracedTask
from services.runtime.database import read_transaction, write_transaction

_TASK: Final = (
    "id", "kind", "status", "status_reason_code", "created_at", "updated_at", "due_on", "last_on", "due_at",
)  # fmt: skip
_LETTER: Final = ("reason", "text", "at", "resolved_at", "resolution")
_STAY: Final = (
    "id", "status", "match_state", "patient_id", "follow_up", "follow_up_reason", "updated_at", "match", "view",
)  # fmt: skip


class _Match(msgspec.Struct, frozen=True):
    rule: str | None = None
    reason: str | None = None


class _View(msgspec.Struct, frozen=True):
    said_by: dict[str, str] = {}


_decode_match = msgspec.json.Decoder(_Match).decode
_decode_view = msgspec.json.Decoder(_View).decode


class SqlTrace:
    """The trace's store over a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def find(self, control_id: str, feed: str | None, limit: int) -> Sequence[Traced]:
        """Return the messages under a control id, latest received first."""
        statement = (
            sa.select(event, fragment.c.stay_id)
            .join_from(event, fragment, event.c.fragment_id == fragment.c.id, isouter=True)
            .where(event.c.control_id == control_id)
            .order_by(event.c.received_at.desc(), event.c.event_id)
            .limit(limit)
        )
        if feed is not None:
            statement = statement.where(event.c.feed == feed)
        with read_transaction(self._engine) as connection:
            rows = connection.execute(statement).mappings().all()
            stays = _stays(connection, {row["stay_id"] for row in rows if row["stay_id"]})
            tasks = _tasks(connection, stays.keys())
            letters = _letters(connection, {row["event_id"] for row in rows})
        return [_traced(row, stays.get(row["stay_id"]), tasks, letters.get(row["event_id"])) for row in rows]

    def audit(self, *, actor: str, at: datetime, control_id: str, event_ids: Sequence[str]) -> None:
        """Keep that somebody looked."""
        detail = msgspec.json.encode({"control_id": control_id, "event_ids": event_ids}).decode()
        row = {"at": at, "actor": actor, "action": "message.traced", "entity": "event", "detail": detail}
        with write_transaction(self._engine) as connection:
            connection.execute(sa.insert(audit_event).values(row))


def _stays(connection: sa.Connection, ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
    statement = sa.select(*(stay.c[name] for name in _STAY)).where(stay.c.id.in_(ids))
    return {row["id"]: dict(row) for row in connection.execute(statement).mappings()}


def _tasks(connection: sa.Connection, stay_ids: Collection[str]) -> dict[str, list[TracedTask]]:
    statement = (
        sa.select(task.c.stay_id, *(task.c[name] for name in _TASK))
        .where(task.c.stay_id.in_(stay_ids))
        .order_by(task.c.created_at, task.c.due_at, task.c.id)
    )
    found: dict[str, list[TracedTask]] = {}
    for row in connection.execute(statement).mappings():
        found.setdefault(row["stay_id"], []).append(TracedTask(**{name: row[name] for name in _TASK}))
    return found


def _letters(connection: sa.Connection, event_ids: Collection[str]) -> dict[str, TracedLetter]:
    """Return the latest dead letter of events."""
    columns = (dead_letter.c.event_id, *(dead_letter.c[name] for name in _LETTER))
    statement = sa.select(*columns).where(dead_letter.c.event_id.in_(event_ids)).order_by(dead_letter.c.at)
    rows = connection.execute(statement).mappings()
    return {row["event_id"]: TracedLetter(**{name: row[name] for name in _LETTER}) for row in rows}


def _traced(
    row: sa.RowMapping,
    of_stay: Mapping[str, Any] | None,
    tasks: Mapping[str, list[TracedTask]],
    letter: TracedLetter | None,
) -> Traced:
    return Traced(
        event_id=row["event_id"],
        feed=row["feed"],
        control_id=row["control_id"],
        trigger=row["trigger"],
        kind=row["kind"],
        sent_at=row["sent_at"],
        received_at=row["received_at"],
        acknowledged=row["ack"],
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        consumed_at=row["applied_at"],
        outcome=row["outcome"],
        outcome_reason=row["reason"] or None,
        stay=None if of_stay is None else _traced_stay(of_stay, row["event_id"], tasks.get(of_stay["id"], [])),
        dead_letter=letter,
    )


def _traced_stay(row: Mapping[str, Any], event_id: str, tasks: Sequence[TracedTask]) -> TracedStay:
    match = _decode_match(row["match"])
    said_by = _decode_view(row["view"]).said_by
    kept = {name: row[name] for name in _STAY if name not in ("match", "view")}
    return TracedStay(
        **kept,
        match_rule=match.rule,
        match_reason=match.reason,
        sets=tuple(sorted({_field_name(name) for name, said in said_by.items() if said == event_id})),
        tasks=tuple(tasks),
    )


def _field_name(name: str) -> str:
    """Return the name of a field; those of identifiers also say whose and which, which is not for people."""
    return "identifiers" if name.startswith(IDENTIFIER_FIELD) else name
