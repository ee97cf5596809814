from datetime import date, timedelta

import pytest

from services.followup.domain.protocol_rules import BusinessDays
from services.followup.protocols.calendars import HOLIDAY_YEARS, calendar_for, us_federal_holidays
from tests.support import tcm_oracle

FEDERAL = BusinessDays(holidays="us-federal", closures_count=True)


def weekdays(days: frozenset[date]) -> set[date]:
    return {day for day in days if day.weekday() < 5}


@pytest.mark.parametrize("year", range(2021, HOLIDAY_YEARS.stop - 1))
def test_the_package_gives_the_federal_list_as_observed_and_nothing_else(year: int) -> None:
    assert weekdays(us_federal_holidays(year)) == tcm_oracle.observed_holidays(year)


@pytest.mark.parametrize(
    ("day", "is_closed"),
    [
        (date(2021, 12, 31), True),  # 1 January 2022 was a Saturday
        (date(2022, 1, 3), False),
        (date(2023, 1, 2), True),  # 1 January 2023 was a Sunday
        (date(2021, 6, 18), True),  # Juneteenth since 2021
        (date(2020, 6, 19), False),
        (date(2025, 1, 9), False),  # a day of mourning is an executive order, no legal holiday
        (date(2025, 1, 20), True),  # Martin Luther King, Jr.
        (date(2021, 1, 20), False),  # Inauguration Day is for the District of Columbia
        (date(2026, 11, 27), False),  # the day after Thanksgiving
        (date(2026, 12, 24), False),
        (date(2026, 7, 3), True),
    ],
)
def test_days_that_are_often_taken_for_holidays_or_forgotten(day: date, is_closed: bool) -> None:
    assert calendar_for(FEDERAL).is_business_day(day) is (not is_closed and day.weekday() < 5)


@pytest.mark.parametrize("year", [1970, 2101])
def test_a_year_without_a_holiday_table_is_refused(year: int) -> None:
    with pytest.raises(ValueError, match=f"known for 1971 to 2100, not for {year}"):
        calendar_for(FEDERAL).is_business_day(date(year, 6, 1))


def test_closures_are_added_to_the_table() -> None:
    closure = date(2026, 11, 27)
    practice = calendar_for(FEDERAL, iter([closure]))
    assert not practice.is_business_day(closure)
    assert not practice.is_open(closure)
    assert practice.is_open(closure + timedelta(days=3))


def test_a_protocol_may_keep_to_the_table_and_leave_closures_out() -> None:
    closure = date(2026, 11, 27)
    rule = BusinessDays(holidays="us-federal", closures_count=False)
    assert calendar_for(rule, [closure]).is_business_day(closure)
    assert not calendar_for(rule, [closure]).is_open(closure)


def test_a_protocol_may_count_without_holidays() -> None:
    assert calendar_for(BusinessDays(holidays="none", closures_count=True)).is_business_day(date(2026, 11, 26))
