"""Follow-up protocols: from one discharge to the tasks that should exist for it, or why there are none.

Owns `plan` and what goes in and comes out of it; a protocol itself is data (`protocol_rules.py`). Promise: pure; a
plan depends on the discharge, the protocol, the calendar and `now` only, so any replay plans the same, and each way
to end without a task has a reason. `now` decides only what waits: a discharge stated ahead of its receipt, a hold
that runs out. A date that CMS sets never depends on when we learned of the discharge or on its disposition.
Source: CMS Transitional Care Management (CPT 99495/99496); domain.md §1.1, §2.3, §2.5.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from services.followup.domain.protocol_rules import (
    AwaitArrival,
    DispositionRule,
    Follow,
    Hold,
    NoFollowUp,
    Offset,
    Protocol,
    TaskRule,
    Wait,
)
from services.followup.domain.tasks import Priority
from services.followup.domain.working_time import (
    Calendar,
    add_business_days,
    end_of_local_day,
    last_open_day,
    local_date,
    require_aware,
    same_day_or_next_open,
    start_of_local_day,
    zone_named,
)

__all__ = [
    "Discharge",
    "NeedsReview",
    "NoTask",
    "PlanItem",
    "Planned",
    "Protocol",
    "TaskDates",
    "plan",
    "task_dates",
]

PRACTICE_CLOSED = "the practice is closed until the due date"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discharge:
    """What a protocol needs to know of a stay that ended.

    Raises:
        ValueError: a point in time without UTC offset.
    """

    discharged_on: date  # local to the facility
    discharged_at: datetime | None  # None when only the day is known
    zone: str  # IANA
    class_code: str | None  # None when the feed does not map it
    disposition: str | None  # two-digit code; None when blank or unknown
    learned_at: datetime  # the earliest receipt of a live statement of the discharge
    basis: Literal["explicit", "inferred"]
    deceased: bool

    def __post_init__(self) -> None:
        require_aware(self.learned_at)
        if self.discharged_at is not None:
            require_aware(self.discharged_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDates:
    """The dates of one task: dates are local to the facility, `due_at` is when the local day `due_on` ends (UTC)."""

    kind: str
    due_on: date
    last_on: date
    due_at: datetime
    work_by: date
    practice_closed: bool  # no open day from the discharge to the due date


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One task that should exist. A hold changes its status and never its dates."""

    kind: str
    due_on: date
    last_on: date
    due_at: datetime
    work_by: date
    priority: Priority
    status: Literal["requested", "on-hold"]
    hold_reason: str | None
    check_on: date | None  # the local date on which the hold ends
    check_at: datetime | None  # the instant at which it ends: plan again then
    warnings: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The tasks that should exist."""

    items: tuple[PlanItem, ...]

    @property
    def look_again_at(self) -> datetime | None:
        """When the plan changes by itself, if it does."""
        return min((item.check_at for item in self.items if item.check_at is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTask:
    """No task should exist, and why; `until` when that holds only until then."""

    reason: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsReview:
    """A person decides, and why."""

    reason: str
    text: str


def plan(discharge: Discharge, protocol: Protocol, calendar: Calendar, now: datetime) -> Planned | NoTask | NeedsReview:
    """Return the tasks that `protocol` wants for `discharge`, or the reason that there are none.

    What excludes a task for certain is said before any doubt, so that nobody reviews a stay that cannot matter.

    Raises:
        ValueError: an unknown zone, a naive `now`, or a calendar that does not know the year.
    """
    require_aware(now)
    rule = protocol.disposition_rule(discharge.disposition)
    case = _Case(
        discharge=discharge,
        protocol=protocol,
        calendar=calendar,
        rule=rule,
        zone=zone_named(discharge.zone),
        now=now,
    )
    action = rule.action
    if isinstance(action, NoFollowUp):
        return _class_not_covered(case) or NoTask(reason=action.reason, text=action.text)
    settled = _class_not_covered(case) or _died(case) or _untimely(case) or _class_unmapped(case)
    if settled is not None:
        return settled
    if isinstance(action, Follow):
        return _planned(case, action)
    if isinstance(action, Hold):
        return _held(case, action)
    if isinstance(action, AwaitArrival):
        return _awaited(case, action)
    return NeedsReview(reason=action.reason, text=action.text)


def task_dates(
    task: TaskRule, discharged_on: date, zone: ZoneInfo, calendar: Calendar, *, same_day: bool = False
) -> TaskDates:
    """Return the dates of one task after a discharge on `discharged_on`.

    `same_day` asks for the work sooner; what CMS sets stays as it is.
    """
    due_on = _offset(discharged_on, task.due, calendar)
    last_open = last_open_day(discharged_on, due_on, calendar)
    return TaskDates(
        kind=task.kind,
        due_on=due_on,
        last_on=due_on if task.last is None else _offset(discharged_on, task.last, calendar),
        due_at=end_of_local_day(due_on, zone),
        work_by=same_day_or_next_open(discharged_on, due_on, calendar) if same_day else last_open,
        practice_closed=not calendar.is_open(last_open),
    )


def _offset(day: date, offset: Offset, calendar: Calendar) -> date:
    if offset.unit == "days":
        return day + timedelta(days=offset.count)
    return add_business_days(day, offset.count, calendar)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One call of `plan`."""

    discharge: Discharge
    protocol: Protocol
    calendar: Calendar
    rule: DispositionRule
    zone: ZoneInfo
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnHold:
    reason: str
    until: datetime


def _class_not_covered(case: _Case) -> NoTask | None:
    class_code = case.discharge.class_code
    if class_code not in case.protocol.other_classes:
        return None
    return NoTask(
        reason="class-not-covered", text=f"{case.protocol.title} does not follow stays of class {class_code}."
    )


def _died(case: _Case) -> NoTask | None:
    return NoTask(reason="died", text="The patient has died.") if case.discharge.deceased else None


def _untimely(case: _Case) -> NoTask | NeedsReview | None:
    discharge, protocol = case.discharge, case.protocol
    learned_on = local_date(discharge.learned_at, case.zone)
    if (learned_on - discharge.discharged_on).days >= protocol.service_period_days:
        return NoTask(
            reason="window-closed",
            text=f"Learned after the service period of {protocol.service_period_days} days was over.",
        )
    if discharge.discharged_at is None:
        stated = start_of_local_day(discharge.discharged_on, case.zone)
        ahead = discharge.discharged_on - learned_on
    else:
        stated = discharge.discharged_at
        ahead = stated - discharge.learned_at
    if ahead > protocol.ahead_max:
        return NeedsReview(reason="discharge-ahead", text="The discharge was stated to lie days ahead of its receipt.")
    if ahead > protocol.skew and case.now < stated:
        return NoTask(
            reason="not-yet",
            text="The stated time of discharge has not come yet.",
            until=stated.astimezone(UTC),
        )
    return None


def _class_unmapped(case: _Case) -> NeedsReview | None:
    if case.discharge.class_code in case.protocol.covered_classes:
        return None
    return NeedsReview(
        reason="class-unmapped",
        text="The feed's profile does not say what class of stay this is: add it there, or decide by hand.",
    )


def _held(case: _Case, hold: Hold) -> Planned:
    ends_at = _wait_ends_at(case, hold.wait)
    if case.now < ends_at:
        return _planned(case, Follow(), hold=_OnHold(reason=hold.reason, until=ends_at))
    return _planned(case, Follow(), overdue=(hold.overdue,))


def _awaited(case: _Case, awaited: AwaitArrival) -> NoTask | NeedsReview:
    ends_at = _wait_ends_at(case, awaited.wait)
    if case.now < ends_at:
        return NoTask(reason=awaited.reason, text=awaited.text, until=ends_at)
    return NeedsReview(reason=awaited.reason, text=awaited.overdue)


def _wait_ends_at(case: _Case, wait: Wait) -> datetime:
    discharge = case.discharge
    if wait.unit == "days":
        return start_of_local_day(discharge.discharged_on + timedelta(days=wait.count), case.zone)
    # With only the day known, the discharge was at its end at the latest; an alarm may be late, not false.
    left_at = discharge.discharged_at or end_of_local_day(discharge.discharged_on, case.zone)
    return left_at.astimezone(UTC) + timedelta(hours=wait.count)


def _planned(case: _Case, follow: Follow, hold: _OnHold | None = None, overdue: tuple[str, ...] = ()) -> Planned:
    inferred = (case.protocol.inferred_warning,) if case.discharge.basis == "inferred" else ()
    warnings = overdue + case.rule.warnings + inferred
    return Planned(items=tuple(_item(case, task, follow, hold, warnings) for task in case.protocol.tasks))


def _item(case: _Case, task: TaskRule, follow: Follow, hold: _OnHold | None, warnings: tuple[str, ...]) -> PlanItem:
    dates = task_dates(
        task,
        case.discharge.discharged_on,
        case.zone,
        case.calendar,
        same_day=task.kind in follow.same_day,
    )
    return PlanItem(
        kind=task.kind,
        due_on=dates.due_on,
        last_on=dates.last_on,
        due_at=dates.due_at,
        work_by=dates.work_by,
        priority=follow.priority,
        status="on-hold" if hold else "requested",
        hold_reason=hold.reason if hold else None,
        check_on=local_date(hold.until, case.zone) if hold else None,
        check_at=hold.until if hold else None,
        warnings=(*warnings, PRACTICE_CLOSED) if dates.practice_closed else warnings,
        rule=f"{case.protocol.name}/{case.protocol.version} {task.kind} {case.rule.name}",
    )
