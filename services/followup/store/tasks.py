"""Tasks, their history and timers (ports: `usecases.ports.TaskStore`, `DueStore`)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from services.followup.domain.reconcile import Change
from services.followup.domain.tasks import Task
from services.followup.store.statements import upsert, values_of
from services.followup.store.tables import due, task, task_history

_TASK_COLUMNS = tuple(column.name for column in task.columns if column.name != "id")
_encode = msgspec.json.Encoder(order="deterministic").encode
_NOT_HISTORY = frozenset({"version", "updated_at"})


def task_of(row: Mapping[Any, Any]) -> Task:
    """Return the task of a row of the task table."""
    return Task(**{**row, "warnings": tuple(msgspec.json.decode(row["warnings"]))})


def row_of(one: Task) -> dict[str, Any]:
    """Return the row of a task."""
    return {**values_of(one), "warnings": _encode(one.warnings).decode()}


def difference(before: Task | None, after: Task) -> tuple[str, str]:
    """Return the changed fields of a task before and after, as JSON objects."""
    old = values_of(before) if before is not None else {}
    new = values_of(after)
    changed = [name for name in new if name not in _NOT_HISTORY and old.get(name) != new[name]]
    was = {name: old[name] for name in changed if name in old}
    return _encode(was).decode(), _encode({name: new[name] for name in changed}).decode()


class SqlTaskStore:
    """The task tables within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def tasks_of(self, stay_ids: Collection[str]) -> list[Task]:
        """Return all tasks, open or not, made for stays."""
        rows = self._connection.execute(sa.select(task).where(task.c.stay_id.in_(stay_ids)).order_by(task.c.id))
        return [task_of(row) for row in rows.mappings()]

    def apply(self, changes: Sequence[Change], actor: str) -> None:
        """Write changes in the order given, each with its history row."""
        rows = [row_of(change.after) for change in changes]  # one after the other, in this order
        upsert(self._connection, task, rows, keys=("id",), update=_TASK_COLUMNS)
        history = []
        for change in changes:
            before, after = difference(change.before, change.after)
            history.append(
                {
                    "task_id": change.after.id,
                    "at": change.after.updated_at,
                    "actor": actor,
                    "change": change.kind,
                    "before": before,
                    "after": after,
                    "reason": change.reason,
                }
            )
        if history:
            self._connection.execute(sa.insert(task_history), history)


class SqlDueStore:
    """Timers within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def set(self, kind: str, dues: Mapping[str, datetime | None]) -> None:
        """Set (or with `None` drop) the timer of stays, by stay id."""
        dropped = [stay_id for stay_id, at in dues.items() if at is None]
        if dropped:
            self._connection.execute(sa.delete(due).where(due.c.kind == kind, due.c.stay_id.in_(dropped)))
        rows = [{"kind": kind, "stay_id": stay_id, "due_at": at} for stay_id, at in sorted(dues.items()) if at]
        upsert(self._connection, due, rows, keys=("kind", "stay_id"), update=("due_at",))

    def take(self, now: datetime, limit: int) -> list[str]:
        """Take timers that are due: returns the stays and drops the rows, for this unit of work to act on."""
        statement = (
            sa.select(due.c.kind, due.c.stay_id)
            .where(due.c.due_at <= now)
            .order_by(due.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = [(row.kind, row.stay_id) for row in self._connection.execute(statement)]
        for kind in sorted({kind for kind, _ in taken}):
            stays = [stay_id for taken_kind, stay_id in taken if taken_kind == kind]
            self._connection.execute(sa.delete(due).where(due.c.kind == kind, due.c.stay_id.in_(stays)))
        return sorted({stay_id for _, stay_id in taken})
