"""The reconciler: compares the tasks that should exist for an episode with those that do (DESIGN §6).

Rules compute plans; nothing is ever triggered. Running it twice changes nothing. What people did is kept: attempts
stay on their row, a completed task is never reopened, a cancellation by a person stands until the discharge that it
was made for is another. The table of DESIGN §6, row by row, is `_settle_kind`.

Changes come out in the order in which they must be applied: withdrawals, then moves and reopenings, then new rows,
so that one open task per episode and kind holds at every step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Final, Literal
from zoneinfo import ZoneInfo

from services.followup.domain.protocols import PlanItem
from services.followup.domain.tasks import PROTOCOL_ACTOR, Status, Task

MOVED_WARNING: Final = "dates-moved"
"""Flag on a row whose dates moved after somebody had claimed it or tried."""

HOLD_WORDS: Final = {
    "transferred": "transferred to another hospital, arrival not seen yet",
    "post-acute": "went on to post-acute care, whose discharge starts the work",
}
"""Reasons of a hold in words that a coordinator reads on the row."""

ChangeKind = Literal["withdrawn", "moved", "held", "resumed", "reopened", "annotated", "rehomed", "opened"]

_ORDER: Final[dict[ChangeKind, int]] = {
    "withdrawn": 0, "annotated": 1, "rehomed": 2, "moved": 3, "held": 3, "resumed": 3, "reopened": 4, "opened": 5,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The discharge that an episode's tasks are made for, and whom and where they concern."""

    episode_id: str
    stay_id: str
    patient_id: str
    discharged_on: date
    discharged_at: datetime | None
    zone: str
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why no task should exist: a stable kebab-case code and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One task before and after; `before` is `None` for a new row, whose id the caller gives."""

    kind: ChangeKind
    before: Task | None
    after: Task
    reason: str | None = None


def reconcile(
    *,
    anchor: Anchor | None,
    plan: Sequence[PlanItem],
    absence: Absence,
    tasks: Iterable[Task],
    new_ids: Sequence[str],
    now: datetime,
) -> tuple[Change, ...]:
    """Return the changes that bring an episode's tasks to its plan.

    `absence` says why a task whose plan is gone is withdrawn. `new_ids` holds at least one id for each plan item.

    Raises:
        ValueError: a plan without an anchor, or too few ids.
    """
    if plan and anchor is None:
        raise ValueError("a plan needs the discharge it is for")
    if len(new_ids) < len(plan):
        raise ValueError("one new id is needed for each plan item")
    by_kind: dict[str, list[Task]] = {}
    for task in tasks:
        by_kind.setdefault(task.kind, []).append(task)
    items = {item.kind: item for item in plan}
    ids = dict(zip(items, new_ids, strict=False))
    changes: list[Change] = []
    for kind in sorted(by_kind.keys() | items.keys()):
        rows = sorted(by_kind.get(kind, ()), key=lambda task: (not task.is_touched, task.created_at, task.id))
        item = items.get(kind)
        if item is None or anchor is None:
            changes += _withdraw_all(rows, absence, now)
        else:
            changes += _settle_kind(rows, item, anchor, ids[kind], now)
    return tuple(sorted(changes, key=application_order))


def application_order(change: Change) -> int:
    """Return when a change must be applied: withdrawals first, new rows last, also over several episodes."""
    return _ORDER[change.kind]


def _withdraw_all(rows: Sequence[Task], absence: Absence, now: datetime) -> list[Change]:
    changes = [_withdraw(task, absence, now) for task in rows if task.is_open]
    for task in rows:
        done = not task.is_open and task.closed_by != PROTOCOL_ACTOR
        if done and task.status_reason_code != absence.code:
            changes.append(_annotate(task, absence, now))
    return changes


def _settle_kind(rows: Sequence[Task], item: PlanItem, anchor: Anchor, new_id: str, now: datetime) -> list[Change]:
    """Bring the rows of one kind to a plan item that exists."""
    opened = [task for task in rows if task.is_open]
    if any(_satisfies(task, anchor) for task in rows):
        return [_withdraw(task, Absence(code="already-done", text="done already"), now) for task in opened]
    if opened:
        keeper, *doubles = opened
        double = Absence(code="duplicate", text="another task of this kind is open for the same discharge")
        return [*(_withdraw(task, double, now) for task in doubles), *_bring(keeper, item, anchor, now)]
    withdrawn = [task for task in rows if task.closed_by == PROTOCOL_ACTOR]
    if withdrawn:
        return _bring(withdrawn[0], item, anchor, now)
    return [Change(kind="opened", before=None, after=_new_task(item, anchor, new_id, now))]


def _satisfies(task: Task, anchor: Anchor) -> bool:
    """Say whether a person has ended a task of this kind for the discharge that now counts.

    Work done counts if it was done after that discharge; a cancellation by a person stands until the anchor stay is
    another.
    """
    if task.is_open or task.closed_by == PROTOCOL_ACTOR:
        return False
    if task.status in ("cancelled", "entered-in-error"):
        return task.stay_id == anchor.stay_id
    done_at = task.last_attempt_at or task.completed_at or task.updated_at
    day_began = datetime.combine(anchor.discharged_on, time.min, tzinfo=ZoneInfo(anchor.zone))
    return done_at >= (anchor.discharged_at or day_began)


def _withdraw(task: Task, absence: Absence, now: datetime) -> Change:
    after = replace(
        task,
        version=task.version + 1,
        status="cancelled",
        status_reason_code=absence.code,
        status_reason_text=absence.text,
        closed_by=PROTOCOL_ACTOR,
        completed_at=now,
        updated_at=now,
    )
    return Change(kind="withdrawn", before=task, after=after, reason=absence.code)


def _annotate(task: Task, absence: Absence, now: datetime) -> Change:
    """Say on a row that people ended that its reason has gone since; the row itself is left as it is."""
    after = replace(
        task,
        version=task.version + 1,
        status_reason_code=absence.code,
        status_reason_text=absence.text,
        updated_at=now,
    )
    return Change(kind="annotated", before=task, after=after, reason=absence.code)


def _bring(task: Task, item: PlanItem, anchor: Anchor, now: datetime) -> list[Change]:
    """Move, hold, resume or reopen one row so that it says what the plan says; nothing if it does already."""
    moved = (task.due_on, task.last_on, task.due_at) != (item.due_on, item.last_on, item.due_at)
    warnings = list(item.warnings)
    if task.is_touched and (moved or MOVED_WARNING in task.warnings):
        warnings.append(MOVED_WARNING)
    status = _status_of(task, item)
    held = item.status == "on-hold"
    after = replace(
        task,
        episode_id=anchor.episode_id,
        stay_id=anchor.stay_id,
        patient_id=anchor.patient_id,
        status=status,
        status_reason_code=item.hold_reason if held else None,
        status_reason_text=_hold_text(item) if held else None,
        priority=item.priority,
        discharged_on=anchor.discharged_on,
        discharged_at=anchor.discharged_at,
        due_on=item.due_on,
        last_on=item.last_on,
        due_at=item.due_at,
        work_by=item.work_by,
        zone=anchor.zone,
        protocol=anchor.protocol,
        rule=item.rule,
        warnings=tuple(warnings),
        completed_at=None,
        closed_by=None,
    )
    if after == task:
        return []
    after = replace(after, version=task.version + 1, updated_at=now)
    return [Change(kind=_change_kind(task, after, moved=moved), before=task, after=after, reason=item.hold_reason)]


def _status_of(task: Task, item: PlanItem) -> Status:
    if item.status == "on-hold":
        return "on-hold"
    if task.is_open and task.status != "on-hold":
        return task.status
    if task.attempt_count:
        return "in-progress"
    return "accepted" if task.owner is not None else "requested"


def _hold_text(item: PlanItem) -> str:
    reason = item.hold_reason or ""
    until = f"; look again on {item.check_on.isoformat()}" if item.check_on else ""
    return f"on hold: {HOLD_WORDS.get(reason, reason)}{until}"


def _change_kind(before: Task, after: Task, *, moved: bool) -> ChangeKind:
    if not before.is_open:
        return "reopened"
    if after.status != before.status:
        return "held" if after.status == "on-hold" else "resumed"
    return "moved" if moved or before.stay_id == after.stay_id else "rehomed"


def _new_task(item: PlanItem, anchor: Anchor, new_id: str, now: datetime) -> Task:
    held = item.status == "on-hold"
    return Task(
        id=new_id,
        version=1,
        episode_id=anchor.episode_id,
        stay_id=anchor.stay_id,
        patient_id=anchor.patient_id,
        kind=item.kind,
        status=item.status,
        status_reason_code=item.hold_reason if held else None,
        status_reason_text=_hold_text(item) if held else None,
        priority=item.priority,
        discharged_on=anchor.discharged_on,
        discharged_at=anchor.discharged_at,
        due_on=item.due_on,
        last_on=item.last_on,
        due_at=item.due_at,
        work_by=item.work_by,
        zone=anchor.zone,
        protocol=anchor.protocol,
        rule=item.rule,
        warnings=item.warnings,
        owner=None,
        created_at=now,
        updated_at=now,
        completed_at=None,
        closed_by=None,
        attempt_count=0,
        last_attempt_at=None,
        last_attempt_outcome=None,
    )
