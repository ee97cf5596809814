"""Days as a deadline counts them: business days, open days, and the instant at which a local day ends.

Owns the arithmetic between dates and instants that follow-up needs. Promise: pure; the calendar and the zone
are arguments, and the same arguments give the same answer on any machine with the same zone data.
Source: CMS Transitional Care Management (CPT 99495/99496): a business day is Monday to Friday except
holidays, whatever the practice's office hours are (domain.md §1.1).
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SATURDAY = 5  # date.weekday()

# A calendar that is closed for a whole year is a mistake in its data; without a limit it would hang us.
SEARCH_DAYS_MAX = 366

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The days that count toward a deadline, and the days on which the practice can work.

    The two differ only where a protocol counts business days without regard to the practice's own closures
    (`closures_count=False`): then a closure is still no day to plan work on.
    """

    holidays_of: Callable[[int], frozenset[date]]  # the holidays of a year, as observed
    closures: frozenset[date] = frozenset()
    closures_count: bool = True

    def is_open(self, day: date) -> bool:
        """Tell whether the practice works on `day`."""
        return self._is_working_day(day) and day not in self.closures

    def is_business_day(self, day: date) -> bool:
        """Tell whether `day` counts toward a deadline in business days."""
        return self._is_working_day(day) and not (self.closures_count and day in self.closures)

    def _is_working_day(self, day: date) -> bool:
        return day.weekday() < SATURDAY and day not in self.holidays_of(day.year)


def add_business_days(day: date, count: int, calendar: Calendar) -> date:
    """Return the `count`-th business day after `day`; `day` itself is never counted.

    Raises:
        ValueError: `count` is not positive, or the calendar has no business day within a year.
    """
    if count < 1:
        raise ValueError(f"business days are counted from 1, not {count}")
    for _ in range(count):
        day = _next_business_day(day, calendar)
    return day


def _next_business_day(day: date, calendar: Calendar) -> date:
    for ahead in range(1, SEARCH_DAYS_MAX + 1):
        if calendar.is_business_day(day + timedelta(days=ahead)):
            return day + timedelta(days=ahead)
    raise ValueError(f"the calendar has no business day within {SEARCH_DAYS_MAX} days of {day}")


def same_day_or_next_open(day: date, latest: date, calendar: Calendar) -> date:
    """Return `day` if the practice is open on it, else its next open day up to `latest`, else `latest`."""
    forward = (day + timedelta(days=ahead) for ahead in range((latest - day).days + 1))
    return next((each for each in forward if calendar.is_open(each)), latest)


def last_open_day(earliest: date, latest: date, calendar: Calendar) -> date:
    """Return the last open day from `earliest` to `latest`, both included, else `latest`."""
    backward = (latest - timedelta(days=back) for back in range((latest - earliest).days + 1))
    return next((each for each in backward if calendar.is_open(each)), latest)


def zone_named(key: str) -> ZoneInfo:
    """Return the zone of an IANA key such as `America/New_York`.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {key!r}; use an IANA name such as America/New_York") from None


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the calendar date that `zone` shows at `instant` (aware)."""
    require_aware(instant)
    return instant.astimezone(zone).date()


def end_of_local_day(day: date, zone: ZoneInfo) -> datetime:
    """Return, in UTC, the first instant at which `zone` shows a date after `day`.

    That is the next local midnight, or, where the clock jumps over it, the instant of the jump. A date that a
    zone left out altogether (Apia, 2011-12-30) ends when the date before it ends.
    """
    # fold=0 is the first of two midnights where clocks go back over one (Havana: both are on the next date).
    midnight = datetime.combine(day + ONE_DAY, time.min, tzinfo=zone)
    instant = midnight.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return instant
    # No such midnight. Read with the offset from before the jump, it lies at the jump or after it; read with
    # the offset from after the jump, before it. Jumps in zone data are on whole seconds.
    before = midnight.replace(fold=1).astimezone(UTC)
    seconds = range(int((instant - before).total_seconds()) + 1)
    jump = bisect_left(seconds, True, key=lambda s: local_date(before + timedelta(seconds=s), zone) > day)
    return before + timedelta(seconds=jump)


def start_of_local_day(day: date, zone: ZoneInfo) -> datetime:
    """Return, in UTC, the first instant at which `zone` shows `day` or a later date."""
    return end_of_local_day(day - ONE_DAY, zone)


def require_aware(instant: datetime) -> None:
    """Refuse a datetime without an offset.

    Raises:
        ValueError: it is naive.
    """
    if instant.utcoffset() is None:
        raise ValueError("a point in time needs a UTC offset")
