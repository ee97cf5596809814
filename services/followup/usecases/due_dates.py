"""The dates that a discharge would get: `afterstay protocols due`.

Promise: the same arithmetic that plans the tasks, shown without a patient, so that a practice can check a protocol
against its own calendar, and a test against a second implementation. Dates are local to `zone`; `due_at` is UTC.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from services.followup.domain.protocol_rules import Protocol
from services.followup.domain.protocols import TaskDates, task_dates
from services.followup.domain.working_time import Calendar, local_date, zone_named
from services.followup.protocols.calendars import HOLIDAY_YEARS, calendar_for
from services.followup.protocols.loading import load_protocol
from services.runtime.errors import Permanent

# What `datetime.fromisoformat` takes is wider than what a person means: it reads 2026112021430 as a time, too.
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTask:
    """The dates of one task, ready for JSON: dates as YYYY-MM-DD, `due_at` as RFC 3339 in UTC."""

    kind: str
    due_on: str
    last_on: str
    due_at: str
    work_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DischargeDates:
    """A time of discharge as given, and the tasks it would get."""

    discharged: str
    tasks: tuple[DueTask, ...]


def due_dates(
    protocol: Protocol, zone: str, times: Iterable[str], closures: Iterable[date] = ()
) -> list[DischargeDates]:
    """Return the dates that discharges home at `times` would get, in the order given.

    A time is local to `zone` (`2026-11-20T14:30`, `2026-11-20`); one with a UTC offset is converted to it.
    `closures` are the days on which the practice itself is closed.

    Raises:
        Permanent: `zone` is unknown, a time cannot be read, or its year has no holiday table.
    """
    calendar = calendar_for(protocol.business_days, closures)
    try:
        facility_zone = zone_named(zone)
    except ValueError as error:
        raise Permanent("time-zone-unknown", f"The zone cannot be used: {error}.") from None
    return [_dates_of(text, protocol, facility_zone, calendar) for text in times]


def run_protocols_due(
    protocol_name: str, zone: str, times: Sequence[str], *, as_json: bool, closures: Iterable[date] = ()
) -> str:
    """Return what `afterstay protocols due` prints.

    Raises:
        Permanent: as `due_dates`, or there is no such protocol.
        ConfigurationError: the protocol's file is wrong.
    """
    dates = due_dates(load_protocol(protocol_name), zone, times, closures)
    if as_json:
        return json.dumps([asdict(each) for each in dates], indent=2)
    return "\n\n".join(_as_text(each, zone) for each in dates)


def _dates_of(text: str, protocol: Protocol, zone: ZoneInfo, calendar: Calendar) -> DischargeDates:
    discharged_on = _discharge_date(text, zone)
    try:
        dates = [task_dates(task, discharged_on, zone, calendar) for task in protocol.tasks]
    except ValueError as error:
        raise Permanent("due-date-unknown", f"The time {text!r} has no due dates: {error}.") from None
    return DischargeDates(discharged=text, tasks=tuple(_due_task(each) for each in dates))


def _discharge_date(text: str, zone: ZoneInfo) -> date:
    try:
        stated = datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
    except ValueError:
        stated = None
    if stated is None:
        raise Permanent(
            "time-unreadable",
            f"{text!r} is not a time of discharge: write 2026-11-20T14:30 or 2026-11-20, local to the zone.",
        )
    # Checked before any arithmetic: at the ends of the calendar it would overflow.
    if stated.year not in HOLIDAY_YEARS:
        known = f"{HOLIDAY_YEARS.start} to {HOLIDAY_YEARS.stop - 1}"
        raise Permanent("due-date-unknown", f"The time {text!r} has no due dates: holidays are known for {known}.")
    return stated.date() if stated.tzinfo is None else local_date(stated, zone)


def _due_task(dates: TaskDates) -> DueTask:
    return DueTask(
        kind=dates.kind,
        due_on=dates.due_on.isoformat(),
        last_on=dates.last_on.isoformat(),
        due_at=dates.due_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        work_by=dates.work_by.isoformat(),
    )


def _as_text(dates: DischargeDates, zone: str) -> str:
    return "\n".join([f"discharged {dates.discharged} ({zone})", *map(_task_line, dates.tasks)])


def _task_line(task: DueTask) -> str:
    return (
        f"  {task.kind:<8} due {_day(task.due_on)}, at the latest {_day(task.last_on)}, "
        f"work by {_day(task.work_by)}; due at {task.due_at}"
    )


def _day(iso: str) -> str:
    return date.fromisoformat(iso).strftime("%a %Y-%m-%d")
