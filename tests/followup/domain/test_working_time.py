from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

THANKSGIVING = date(2026, 11, 26)
MONDAY, TUESDAY, WEDNESDAY, FRIDAY = (date(2026, 11, day) for day in (23, 24, 25, 27))
SATURDAY, NEXT_MONDAY = date(2026, 11, 28), date(2026, 11, 30)


def holidays_of(year: int) -> frozenset[date]:
    return frozenset({THANKSGIVING} if year == 2026 else ())


def calendar(*closures: date, closures_count: bool = True) -> Calendar:
    return Calendar(holidays_of=holidays_of, closures=frozenset(closures), closures_count=closures_count)


def never_open(year: int) -> frozenset[date]:
    return frozenset(date(year, 1, 1) + timedelta(days=n) for n in range(366))


DAYS = st.dates(min_value=date(2021, 1, 1), max_value=date(2032, 12, 31))
CALENDARS = st.builds(
    Calendar,
    holidays_of=st.just(holidays_of),
    closures=st.frozensets(st.dates(date(2021, 1, 1), date(2033, 2, 1)), max_size=40),
    closures_count=st.booleans(),
)


@pytest.mark.parametrize(
    ("day", "is_open", "counts"),
    [
        (WEDNESDAY, True, True),
        (THANKSGIVING, False, False),
        (FRIDAY, False, False),  # the practice's own closure
        (SATURDAY, False, False),
        (SATURDAY + timedelta(days=1), False, False),
        (NEXT_MONDAY, True, True),
    ],
)
def test_weekends_holidays_and_closures_are_neither_open_nor_counted(day: date, is_open: bool, counts: bool) -> None:
    practice = calendar(FRIDAY)
    assert practice.is_open(day) is is_open
    assert practice.is_business_day(day) is counts


def test_a_closure_that_does_not_count_is_a_business_day_on_which_nobody_works() -> None:
    practice = calendar(FRIDAY, closures_count=False)
    assert practice.is_business_day(FRIDAY)
    assert not practice.is_open(FRIDAY)
    assert not practice.is_business_day(THANKSGIVING)


@pytest.mark.parametrize(
    ("day", "count", "expected"),
    [
        (date(2026, 11, 16), 2, date(2026, 11, 18)),  # Monday
        (date(2026, 11, 19), 2, MONDAY),  # Thursday
        (date(2026, 11, 20), 2, TUESDAY),  # Friday, Saturday and Sunday: Tuesday
        (date(2026, 11, 21), 2, TUESDAY),
        (date(2026, 11, 22), 2, TUESDAY),
        (TUESDAY, 2, FRIDAY),  # over Thanksgiving
        (THANKSGIVING, 1, FRIDAY),  # a discharge on a holiday
        (WEDNESDAY, 5, date(2026, 12, 3)),
    ],
)
def test_the_day_itself_weekends_and_holidays_are_not_counted(day: date, count: int, expected: date) -> None:
    assert add_business_days(day, count, calendar()) == expected


@pytest.mark.parametrize("count", [0, -1])
def test_business_days_are_counted_from_one(count: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        add_business_days(MONDAY, count, calendar())


def test_a_calendar_without_business_days_is_refused_and_does_not_hang() -> None:
    with pytest.raises(ValueError, match="no business day within 366 days"):
        add_business_days(MONDAY, 1, Calendar(holidays_of=never_open))


@given(day=DAYS, count=st.integers(1, 6), practice=CALENDARS)
def test_exactly_the_counted_business_days_lie_after_the_day(day: date, count: int, practice: Calendar) -> None:
    end = add_business_days(day, count, practice)
    between = [day + timedelta(days=n) for n in range(1, (end - day).days + 1)]
    assert sum(practice.is_business_day(each) for each in between) == count
    assert practice.is_business_day(end)


@given(day=DAYS, later=st.integers(0, 40), practice=CALENDARS)
def test_a_later_day_is_never_due_earlier(day: date, later: int, practice: Calendar) -> None:
    assert add_business_days(day, 2, practice) <= add_business_days(day + timedelta(days=later), 2, practice)


@pytest.mark.parametrize(
    ("day", "latest", "expected"),
    [
        (WEDNESDAY, FRIDAY, WEDNESDAY),
        (THANKSGIVING, NEXT_MONDAY, FRIDAY),
        (SATURDAY, NEXT_MONDAY, NEXT_MONDAY),
        (SATURDAY, SATURDAY, SATURDAY),  # nothing open in time: the deadline itself
    ],
)
def test_the_same_day_is_asked_for_or_the_next_open_one_in_time(day: date, latest: date, expected: date) -> None:
    assert same_day_or_next_open(day, latest, calendar()) == expected


@pytest.mark.parametrize(
    ("earliest", "latest", "expected"),
    [
        (MONDAY, WEDNESDAY, WEDNESDAY),
        (MONDAY, THANKSGIVING, WEDNESDAY),
        (MONDAY, SATURDAY + timedelta(days=1), FRIDAY),
        (THANKSGIVING, THANKSGIVING, THANKSGIVING),  # nothing open in time: the deadline itself
    ],
)
def test_work_is_planned_for_the_last_open_day_in_time(earliest: date, latest: date, expected: date) -> None:
    assert last_open_day(earliest, latest, calendar()) == expected


@given(day=DAYS, length=st.integers(0, 20), practice=CALENDARS)
def test_planned_days_lie_within_their_bounds_and_are_open_if_any_day_is(
    day: date, length: int, practice: Calendar
) -> None:
    latest = day + timedelta(days=length)
    first = same_day_or_next_open(day, latest, practice)
    last = last_open_day(day, latest, practice)
    days = [day + timedelta(days=n) for n in range(length + 1)]
    open_days = [each for each in days if practice.is_open(each)]
    assert (first, last) == ((open_days[0], open_days[-1]) if open_days else (latest, latest))


@pytest.mark.parametrize(
    ("zone", "day", "ends_at"),
    [
        ("America/New_York", date(2026, 11, 24), "2026-11-25T05:00:00+00:00"),
        ("America/New_York", date(2026, 7, 1), "2026-07-02T04:00:00+00:00"),
        ("America/New_York", date(2026, 3, 8), "2026-03-09T04:00:00+00:00"),  # 23 hours long
        ("America/New_York", date(2026, 11, 1), "2026-11-02T05:00:00+00:00"),  # 25 hours long
        ("America/Phoenix", date(2026, 7, 1), "2026-07-02T07:00:00+00:00"),
        ("America/Havana", date(2026, 3, 7), "2026-03-08T05:00:00+00:00"),  # midnight is jumped over
        ("America/Havana", date(2026, 10, 31), "2026-11-01T04:00:00+00:00"),  # midnight comes twice: the first
        ("America/Santiago", date(2026, 9, 5), "2026-09-06T04:00:00+00:00"),
        ("Africa/Cairo", date(2026, 4, 23), "2026-04-23T22:00:00+00:00"),
        ("America/Toronto", date(1919, 3, 30), "1919-03-31T04:30:00+00:00"),  # 23:30 jumps to 00:30
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-30T10:00:00+00:00"),  # no 30 December there
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00+00:00"),
        ("America/St_Johns", date(2010, 11, 6), "2010-11-07T02:30:00+00:00"),  # 00:01 goes back to 23:01
        ("Asia/Kathmandu", date(2026, 1, 1), "2026-01-01T18:15:00+00:00"),
    ],
)
def test_a_local_day_ends_at_the_first_instant_of_a_later_date(zone: str, day: date, ends_at: str) -> None:
    assert end_of_local_day(day, ZoneInfo(zone)).isoformat() == ends_at


@given(zone=st.sampled_from(sorted(available_timezones())), day=st.dates(date(1990, 1, 1), date(2050, 1, 1)))
def test_just_before_its_end_a_local_day_or_an_earlier_one_is_shown(zone: str, day: date) -> None:
    at = end_of_local_day(day, ZoneInfo(zone))
    assert at.utcoffset() == timedelta()
    assert local_date(at, ZoneInfo(zone)) > day
    assert local_date(at - timedelta(microseconds=1), ZoneInfo(zone)) <= day


@given(zone=st.sampled_from(sorted(available_timezones())), day=st.dates(date(1990, 1, 1), date(2050, 1, 1)))
def test_a_day_begins_when_the_one_before_ends(zone: str, day: date) -> None:
    starts_at = start_of_local_day(day, ZoneInfo(zone))
    assert starts_at == end_of_local_day(day - timedelta(days=1), ZoneInfo(zone))
    assert local_date(starts_at, ZoneInfo(zone)) >= day


def test_a_date_is_the_one_that_the_zone_shows() -> None:
    instant = datetime(2026, 11, 24, 4, 59, tzinfo=UTC)
    assert local_date(instant, ZoneInfo("America/New_York")) == date(2026, 11, 23)
    assert local_date(instant + timedelta(minutes=1), ZoneInfo("America/New_York")) == date(2026, 11, 24)
    assert local_date(instant, ZoneInfo("Pacific/Honolulu")) == date(2026, 11, 23)


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC offset"):
        local_date(datetime(2026, 11, 24, 4, 59), ZoneInfo("UTC"))  # noqa: DTZ001 - the case
    require_aware(datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize("key", ["", "America", "Mars/Olympus", "../UTC", "/etc/localtime", "US\x00"])
def test_an_unknown_zone_is_named_in_the_refusal(key: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone") as caught:
        zone_named(key)
    assert repr(key) in str(caught.value)


def test_a_known_zone_is_found() -> None:
    assert zone_named("America/New_York") is ZoneInfo("America/New_York")
