"""What the worklist needs of a store. Domain values in and out; rows never leave the store."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.followup.domain.attempts import Attempt
from services.followup.domain.tasks import Task
from services.followup.usecases.worklist_cursor import Position
from services.followup.usecases.worklist_rows import WorklistRow, WorklistStory


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did or saw what (promise P6). `entity` is what it was about, `detail` a JSON object of ids and codes."""

    at: datetime
    actor: str
    action: str
    entity: str
    detail: str


class WorklistUnit(Protocol):
    """One write transaction over one task: commits at the end, leaves nothing behind after an exception."""

    def lock(self, task_id: str) -> WorklistRow | None:
        """Return a task as it is now; until the unit ends nobody else changes it."""

    def last_actor(self, task_id: str) -> str | None:
        """Return who changed the task last, if anybody has."""

    def save(self, before: Task, after: Task, *, actor: str, change: str, reason: str | None) -> None:
        """Write a changed task and its history row.

        Raises:
            Transient: the task is no longer `before`; nothing was written.
        """

    def add_attempt(self, task_id: str, attempt: Attempt, recorded_at: datetime) -> None:
        """Keep an attempt."""

    def audit(self, entry: AuditEntry) -> None:
        """Keep an audit row."""


class WorklistStore(Protocol):
    """Tasks to read, and units of work to change one."""

    def page(self, *, is_open: bool | None, after: Position, limit: int) -> Sequence[WorklistRow]:
        """Return up to `limit` tasks after a position, by (`due_at`, `id`): open ones, closed ones, or (`None`) all."""

    def story(self, task_id: str) -> WorklistStory | None:
        """Return a task with its messages, attempts and history, each oldest first."""

    def begin(self) -> AbstractContextManager[WorklistUnit]:
        """Begin a unit of work.

        Raises:
            Transient: the database is away or busy; the unit may be run again.
        """
