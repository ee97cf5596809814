"""Tasks, their history and timers (ports: `usecases.ports.TaskStore`, `DueStore`)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from services.followup.domain.reconcile import Change
from services.followup.domain.tasks import Task
from services.followup.store.statements import among, insert, upsert, values_of
from services.followup.store.tables import task, task_history

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
        """Return all tasks, open or not, made for stays; locked, so that nobody's claim is overwritten."""
        made_for = among(self._connection, task.c.stay_id, stay_ids)
        statement = sa.select(task).where(made_for).order_by(task.c.id).with_for_update(key_share=True)
        rows = self._connection.execute(statement)
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
        insert(self._connection, task_history, history)
