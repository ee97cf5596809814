"""The worklist: what coordinators see and do.

Promises:
- A change, its history row and its audit row are one transaction; every view leaves an audit row with the ids seen,
  and nothing is shown that could not be audited (P6).
- Changes are compare-and-set on `version`: of two people who act on the same sight of a task one succeeds, and the
  other gets the task as it is and the name of who was first. Also one person's own repeat is told so, since a name is
  typed and not proved: two people may share it.
- Dates never change here (P5); the rules are in `domain/tasks.py`.

Synchronous; shells call it through the one thread helper.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from services.followup.domain.attempts import Attempt, Mode, NotAllowed, Outcome, Reached, made_at
from services.followup.domain.tasks import PROTOCOL_ACTOR, Conflict, Task, claim, complete, record_attempt
from services.followup.usecases.again import run_again
from services.followup.usecases.texts import without_nul
from services.followup.usecases.worklist_cursor import START, Position, decode_cursor, encode_cursor
from services.followup.usecases.worklist_items import WorklistDetail, WorklistItem, WorklistPage
from services.followup.usecases.worklist_ports import AuditEntry, WorklistStore, WorklistUnit
from services.followup.usecases.worklist_rows import WorklistRow, detail_of, item_of

LIMIT_MAX: Final = 500  # what one screenful and one audit row may hold
LIMIT_DEFAULT: Final = 100
ACTOR_CHARS_MAX: Final = 80
TASK_ID_CHARS_MAX: Final = 64  # ids are ours and shorter; what is longer names no task
DEFAULT_ACTOR: Final = "coordinator"
"""Who acts when nobody says so; accounts come later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptMade:
    """What a person says about an attempt; `at` is `None` for now."""

    mode: Mode
    reached: Reached | None
    outcome: Outcome
    note: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A rule says no: why, what to do instead, and the task as it is. `about_input`: another input is the cure."""

    code: str
    text: str
    about_input: bool
    item: WorklistItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Overtaken:
    """Somebody changed the task first: who, and the task as it is."""

    winner: str
    item: WorklistItem


Done = WorklistItem | Refused | Overtaken | NotAllowed | None
"""The changed item; or why not; or `NotAllowed` for an unusable name; or `None` where there is no such task."""

_Act = Callable[[WorklistUnit, Task, str, datetime], Task | Conflict | NotAllowed]


class Worklist:
    """The use case. `now` tells the time (aware)."""

    def __init__(self, store: WorklistStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def page(
        self,
        *,
        is_open: bool | None = None,
        limit: int = LIMIT_DEFAULT,
        cursor: str | None = None,
        actor: str = DEFAULT_ACTOR,
    ) -> WorklistPage | NotAllowed:
        """Return a page of tasks by deadline: open, closed or all."""
        after = START if cursor is None else decode_cursor(cursor)
        if after is None:
            return _input("cursor-unknown", "The cursor was not made by this list; start again without one.")
        if not 1 <= limit <= LIMIT_MAX:
            return _input("limit-out-of-range", f"A page has 1 to {LIMIT_MAX} tasks.")
        rows = self._store.page(is_open=is_open, after=after, limit=limit + 1)
        shown, more = rows[:limit], len(rows) > limit
        self._audit(actor, "tasks.listed", "task", {"open": is_open, "ids": [row.task.id for row in shown]})
        last = Position(due_at=shown[-1].task.due_at, task_id=shown[-1].task.id) if more else None
        return WorklistPage(items=tuple(map(item_of, shown)), next_cursor=encode_cursor(last) if last else None)

    def find(self, task_id: str, *, actor: str = DEFAULT_ACTOR) -> WorklistDetail | None:
        """Return a task with the messages behind it, its attempts and its history."""
        story = self._store.story(task_id) if _may_be_id(task_id) else None
        if story is None:
            return None
        self._audit(actor, "task.viewed", _entity(task_id), {"version": story.row.task.version})
        return detail_of(story)

    def claim(self, task_id: str, version: int, *, actor: str) -> Done:
        """Take a task; one's own, as it is now, stays as it is."""

        def act(_unit: WorklistUnit, task: Task, who: str, now: datetime) -> Task | Conflict | NotAllowed:
            return claim(task, who, now)

        return self._change("claimed", task_id, version, actor, act)

    def attempt(self, task_id: str, version: int, made: AttemptMade, *, actor: str) -> Done:
        """Record an attempt to reach somebody."""

        def act(unit: WorklistUnit, task: Task, who: str, now: datetime) -> Task | NotAllowed:
            attempt = Attempt(
                actor=who,
                at=made_at(made.at, now),
                mode=made.mode,
                reached=made.reached,
                outcome=made.outcome,
                note=without_nul(made.note or "").strip() or None,
            )
            after = record_attempt(task, attempt, now)
            if isinstance(after, Task):
                unit.add_attempt(task_id, attempt, now)
            return after

        return self._change("attempted", task_id, version, actor, act, reason=made.outcome)

    def complete(self, task_id: str, version: int, outcome: Outcome, *, actor: str) -> Done:
        """End a task with what came of it."""

        def act(_unit: WorklistUnit, task: Task, who: str, now: datetime) -> Task | NotAllowed:
            return complete(task, who, outcome, now)

        return self._change("closed", task_id, version, actor, act, reason=outcome)

    @run_again
    def _change(
        self, change: str, task_id: str, version: int, actor: str, act: _Act, *, reason: str | None = None
    ) -> Done:
        who = usable_name(actor)
        if isinstance(who, NotAllowed):
            return who
        if not _may_be_id(task_id):
            return None
        with self._store.begin() as unit:
            row = unit.lock(task_id)
            if row is None:
                return None
            now = self._now()
            after: Task | Conflict | NotAllowed
            if row.task.version != version:
                after = Conflict(winner=_winner(unit, row.task, change, who))
            else:
                after = act(unit, row.task, who, now)
            if isinstance(after, Task) and after != row.task:
                unit.save(row.task, after, actor=who, change=change, reason=reason)
            unit.audit(_audit_of(change, row.task, after, actor=who, now=now, reason=reason))
            return _answer(row, after)

    @run_again
    def _audit(self, actor: str, action: str, entity: str, detail: Mapping[str, object]) -> None:
        name = usable_name(actor)
        who = DEFAULT_ACTOR if isinstance(name, NotAllowed) else name
        entry = AuditEntry(at=self._now(), actor=who, action=action, entity=entity, detail=_json(detail))
        with self._store.begin() as unit:
            unit.audit(entry)


def _winner(unit: WorklistUnit, task: Task, change: str, who: str) -> str:
    """Name who was first: who has a task that somebody wanted, else who changed it last."""
    if change == "claimed" and task.owner not in (None, who):
        return str(task.owner)
    return unit.last_actor(task.id) or task.owner or PROTOCOL_ACTOR


def _answer(row: WorklistRow, after: Task | Conflict | NotAllowed) -> WorklistItem | Refused | Overtaken:
    if isinstance(after, Task):
        return item_of(replace(row, task=after))
    if isinstance(after, Conflict):
        return Overtaken(winner=after.winner, item=item_of(row))
    return Refused(code=after.code, text=after.text, about_input=after.about_input, item=item_of(row))


def _audit_of(
    change: str, before: Task, after: Task | Conflict | NotAllowed, *, actor: str, now: datetime, reason: str | None
) -> AuditEntry:
    """Audit a refusal, too: it answers with the task, so the task was seen."""
    detail: dict[str, object] = {"version": before.version}
    match after:
        case Task():
            detail |= {"version": after.version, "status": after.status, "reason": reason}
        case Conflict():
            detail |= {"refused": "task-changed", "winner": after.winner}
        case NotAllowed():
            detail |= {"refused": after.code}
    return AuditEntry(at=now, actor=actor, action=f"task.{change}", entity=_entity(before.id), detail=_json(detail))


def usable_name(actor: str) -> str | NotAllowed:
    """Return the name to record. Names are shown to others, so nothing invisible goes into one."""
    name = " ".join(actor.split())
    if not name or len(name) > ACTOR_CHARS_MAX or not name.isprintable():
        return _input("actor-unusable", f"A name has 1 to {ACTOR_CHARS_MAX} printable characters.")
    if name.casefold() == PROTOCOL_ACTOR:
        return _input("actor-reserved", f"The name {PROTOCOL_ACTOR} stands for changes that a rule made; use another.")
    return name


def _may_be_id(text: str) -> bool:
    return len(text) <= TASK_ID_CHARS_MAX and text.isascii() and text.isprintable()


def _entity(task_id: str) -> str:
    return f"task/{task_id}"


def _input(code: str, text: str) -> NotAllowed:
    return NotAllowed(code=code, text=text, about_input=True)


def _json(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()
