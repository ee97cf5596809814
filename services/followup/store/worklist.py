"""The worklist's statements (port: `usecases.worklist_ports`).

A page is one statement: a search in the index of deadlines from where the last page ended, joined by primary key, so
its cost depends on the page and not on the list. Plans are guarded by tests.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from services.followup.domain.attempts import Attempt
from services.followup.domain.stays import StayView
from services.followup.domain.tasks import Task
from services.followup.store.tables import (
    OPEN_STATUSES,
    audit_event,
    event,
    fragment,
    patient,
    stay,
    task,
    task_attempt,
    task_history,
)
from services.followup.store.tasks import difference, row_of, task_of
from services.followup.usecases.worklist_cursor import Position
from services.followup.usecases.worklist_items import AttemptEntry, HistoryEntry, Message
from services.followup.usecases.worklist_ports import AuditEntry, WorklistUnit
from services.followup.usecases.worklist_rows import Person, WorklistRow, WorklistStory
from services.runtime.database import read_transaction, write_transaction
from services.runtime.errors import Transient

MESSAGES_MAX: Final = 500  # storms of 100 updates a stay are real (domain.md §2.4); the newest say how it stands

_PERSON: Final = (
    "id", "family", "given", "birth_date", "sex", "phone", "language",
    "guardian_name", "guardian_relation", "guardian_phone",
)  # fmt: skip
_MESSAGE: Final = (
    "event_id", "feed", "trigger", "kind", "control_id", "sent_at", "received_at", "outcome", "reason",
)  # fmt: skip

# Written out, not bound: SQLite uses a partial index only where it can read the index's own condition.
_OPEN_LIST: Final = ", ".join(f"'{status}'" for status in OPEN_STATUSES)
_IS_OPEN: Final = sa.text(f"task.status IN ({_OPEN_LIST})")
_IS_CLOSED: Final = sa.text(f"task.status NOT IN ({_OPEN_LIST})")

_ROWS: Final = (
    sa.select(
        *(column.label(f"task_{column.name}") for column in task.columns),
        *(patient.c[name].label(f"patient_{name}") for name in _PERSON),
        stay.c.view,
        stay.c.match,
    )
    .join_from(task, patient, task.c.patient_id == patient.c.id)
    .join(stay, task.c.stay_id == stay.c.id)
)


class _Match(msgspec.Struct, frozen=True):
    rule: str | None = None


_decode_view = msgspec.json.Decoder(StayView).decode
_decode_match = msgspec.json.Decoder(_Match).decode
_decode_changes = msgspec.json.Decoder(dict[str, Any]).decode


def page_statement(*, is_open: bool | None, after: Position, limit: int) -> sa.Select[Any]:
    """Return the statement of a page; public for the test that reads its plan."""
    place = sa.tuple_(task.c.due_at, task.c.id)
    start = sa.tuple_(sa.literal(after.due_at, task.c.due_at.type), sa.literal(after.task_id))
    statement = _ROWS.where(place > start).order_by(task.c.due_at, task.c.id).limit(limit)
    if is_open is None:
        return statement
    return statement.where(_IS_OPEN if is_open else _IS_CLOSED)


class SqlWorklist:
    """The worklist's store over a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def page(self, *, is_open: bool | None, after: Position, limit: int) -> Sequence[WorklistRow]:
        """Return up to `limit` tasks after a position, by deadline."""
        with read_transaction(self._engine) as connection:
            rows = connection.execute(page_statement(is_open=is_open, after=after, limit=limit))
            return [_worklist_row(row._asdict()) for row in rows]

    def story(self, task_id: str) -> WorklistStory | None:
        """Return a task with its messages, attempts and history."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(_ROWS.where(task.c.id == task_id)).one_or_none()
            if row is None:
                return None
            found = _worklist_row(row._asdict())
            return WorklistStory(
                row=found,
                messages=_messages(connection, found.task.stay_id),
                attempts=_attempts(connection, task_id),
                history=_history(connection, task_id),
            )

    def begin(self) -> AbstractContextManager[WorklistUnit]:
        """Begin a unit of work."""
        return self._unit()

    @contextmanager
    def _unit(self) -> Iterator[WorklistUnit]:
        with write_transaction(self._engine) as connection:
            yield SqlWorklistUnit(connection)


class SqlWorklistUnit:
    """One write transaction over one task."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def lock(self, task_id: str) -> WorklistRow | None:
        """Return a task as it is now, locked."""
        statement = _ROWS.where(task.c.id == task_id).with_for_update(of=task)
        row = self._connection.execute(statement).one_or_none()
        return None if row is None else _worklist_row(row._asdict())

    def last_actor(self, task_id: str) -> str | None:
        """Return who changed the task last."""
        of_task = sa.select(task_history.c.actor).where(task_history.c.task_id == task_id)
        return self._connection.execute(of_task.order_by(task_history.c.id.desc()).limit(1)).scalar()

    def save(self, before: Task, after: Task, *, actor: str, change: str, reason: str | None) -> None:
        """Write a changed task and its history row."""
        same = sa.and_(task.c.id == before.id, task.c.version == before.version)
        if self._connection.execute(sa.update(task).where(same).values(row_of(after))).rowcount != 1:
            raise Transient("task-changed-meanwhile", "The task changed between reading and writing it; do it again.")
        was, is_now = difference(before, after)
        self._connection.execute(
            sa.insert(task_history).values(
                task_id=after.id,
                at=after.updated_at,
                actor=actor,
                change=change,
                before=was,
                after=is_now,
                reason=reason,
            )
        )

    def add_attempt(self, task_id: str, attempt: Attempt, recorded_at: datetime) -> None:
        """Keep an attempt."""
        values = {**asdict(attempt), "task_id": task_id, "recorded_at": recorded_at}
        self._connection.execute(sa.insert(task_attempt).values(values))

    def audit(self, entry: AuditEntry) -> None:
        """Keep an audit row."""
        self._connection.execute(sa.insert(audit_event).values(asdict(entry)))


def _worklist_row(row: Mapping[str, Any]) -> WorklistRow:
    return WorklistRow(
        task=task_of({column.name: row[f"task_{column.name}"] for column in task.columns}),
        person=Person(**{name: row[f"patient_{name}"] for name in _PERSON}),
        stay=_decode_view(row["view"]),
        match_rule=_decode_match(row["match"]).rule,
    )


def _messages(connection: sa.Connection, stay_id: str) -> tuple[Message, ...]:
    statement = (
        sa.select(*(event.c[name] for name in _MESSAGE))
        .join_from(fragment, event, event.c.fragment_id == fragment.c.id)
        .where(fragment.c.stay_id == stay_id)
        .order_by(event.c.received_at.desc(), event.c.event_id)
        .limit(MESSAGES_MAX)
    )
    newest_first = [Message(**row) for row in connection.execute(statement).mappings()]
    return tuple(reversed(newest_first))


def _attempts(connection: sa.Connection, task_id: str) -> tuple[AttemptEntry, ...]:
    columns = [task_attempt.c[name] for name in AttemptEntry.__struct_fields__]
    statement = sa.select(*columns).where(task_attempt.c.task_id == task_id)
    rows = connection.execute(statement.order_by(task_attempt.c.at, task_attempt.c.id)).mappings()
    return tuple(AttemptEntry(**row) for row in rows)


def _history(connection: sa.Connection, task_id: str) -> tuple[HistoryEntry, ...]:
    columns = [task_history.c[name] for name in HistoryEntry.__struct_fields__]
    statement = sa.select(*columns).where(task_history.c.task_id == task_id).order_by(task_history.c.id)
    return tuple(
        HistoryEntry(**{**row, "before": _decode_changes(row["before"]), "after": _decode_changes(row["after"])})
        for row in connection.execute(statement).mappings()
    )
