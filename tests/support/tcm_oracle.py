"""A second implementation of the dates of transitional care, written from the text of the rules.

Shares nothing with the product: federal holidays are computed from 5 U.S.C. 6103 and its Saturday and Sunday rule,
offsets from 15 U.S.C. 260a (daylight time from the second Sunday of March to the first of November, at 2 a.m.), and
days are counted one at a time. Knows the years from 2021 (Juneteenth) and four zones, and no practice closures.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache

_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6

# Hours behind UTC in standard time, and whether the zone keeps daylight time.
ZONES = {
    "America/New_York": (5, True),
    "America/Chicago": (6, True),
    "America/Phoenix": (7, False),
    "Pacific/Honolulu": (10, False),
}


def expected_tasks(discharged_on: date, zone: str) -> list[dict[str, str]]:
    """Return what `afterstay protocols due transitional-care` has to say."""
    contact = discharged_on
    counted = 0
    while counted < 2:
        contact += timedelta(days=1)
        if is_business_day(contact):
            counted += 1
    visit = discharged_on + timedelta(days=7)
    return [
        _task("contact", contact, contact, zone),
        _task("visit", visit, discharged_on + timedelta(days=14), zone),
    ]


def is_business_day(day: date) -> bool:
    """Monday to Friday, except a federal holiday as observed."""
    return day.weekday() not in (_SATURDAY, _SUNDAY) and day not in observed_holidays(day.year)


@cache
def observed_holidays(year: int) -> frozenset[date]:
    """The weekdays of a year on which federal offices are closed."""
    days = {
        _nth(year, 1, _MONDAY, 3),  # Birthday of Martin Luther King, Jr.
        _nth(year, 2, _MONDAY, 3),  # Washington's Birthday
        _last_monday_of_may(year),  # Memorial Day
        _nth(year, 9, _MONDAY, 1),  # Labor Day
        _nth(year, 10, _MONDAY, 2),  # Columbus Day
        _nth(year, 11, _THURSDAY, 4),  # Thanksgiving Day
    }
    fixed = [(year, 1, 1), (year, 6, 19), (year, 7, 4), (year, 11, 11), (year, 12, 25), (year + 1, 1, 1)]
    days |= {_observed(date(*ymd)) for ymd in fixed}
    return frozenset(day for day in days if day.year == year)


def _task(kind: str, due_on: date, last_on: date, zone: str) -> dict[str, str]:
    work_by = due_on
    while not is_business_day(work_by):
        work_by -= timedelta(days=1)
    return {
        "kind": kind,
        "due_on": str(due_on),
        "last_on": str(last_on),
        "due_at": _midnight_utc(due_on + timedelta(days=1), zone).isoformat().replace("+00:00", "Z"),
        "work_by": str(work_by),
    }


def _midnight_utc(day: date, zone: str) -> datetime:
    """The instant at which `day` begins; clocks change at 2 a.m., after it."""
    hours_behind, has_daylight_time = ZONES[zone]
    if has_daylight_time and _nth(day.year, 3, _SUNDAY, 2) < day <= _nth(day.year, 11, _SUNDAY, 1):
        hours_behind -= 1
    return datetime(day.year, day.month, day.day, hours_behind, tzinfo=UTC)


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    matching = [day for day in range(1, 29 + 2) if _weekday(year, month, day) == weekday]
    return date(year, month, matching[n - 1])


def _weekday(year: int, month: int, day: int) -> int | None:
    try:
        return date(year, month, day).weekday()
    except ValueError:  # 30 February
        return None


def _last_monday_of_may(year: int) -> date:
    return next(date(year, 5, day) for day in range(31, 24, -1) if date(year, 5, day).weekday() == _MONDAY)


def _observed(day: date) -> date:
    if day.weekday() == _SATURDAY:
        return day - timedelta(days=1)
    if day.weekday() == _SUNDAY:
        return day + timedelta(days=1)
    return day
