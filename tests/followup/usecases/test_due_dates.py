import json
from datetime import date, timedelta

import pytest

from services.followup.protocols.loading import load_protocol
from services.followup.usecases.due_dates import DischargeDates, DueTask, due_dates, run_protocols_due
from services.runtime.errors import Permanent
from tests.support import tcm_oracle

FIRST, LAST = date(2021, 1, 1), date(2032, 12, 31)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
NAME = "transitional-care"
NEW_YORK = "America/New_York"


def dates_of(*times: str, zone: str = NEW_YORK, closures: tuple[date, ...] = ()) -> list[DischargeDates]:
    return due_dates(load_protocol(NAME), zone, times, closures)


@pytest.mark.parametrize("zone", tcm_oracle.ZONES)
def test_every_day_of_twelve_years_equals_a_second_implementation(zone: str) -> None:
    times = [f"{day}T{day.toordinal() % 24:02}:30" for day in DAYS]
    given = json.loads(run_protocols_due(NAME, zone, times, as_json=True))
    assert len(given) == len(DAYS) == 4383
    for time, day, each in zip(times, DAYS, given, strict=True):
        assert each == {"discharged": time, "tasks": tcm_oracle.expected_tasks(day, zone)}


def test_dates_come_in_the_order_given_with_the_times_as_given() -> None:
    assert dates_of("2026-11-20 14:30", "2026-11-18")[0] == DischargeDates(
        discharged="2026-11-20 14:30",
        tasks=(
            DueTask(
                kind="contact",
                due_on="2026-11-24",
                last_on="2026-11-24",
                due_at="2026-11-25T05:00:00Z",
                work_by="2026-11-24",
            ),
            DueTask(
                kind="visit",
                due_on="2026-11-27",
                last_on="2026-12-04",
                due_at="2026-11-28T05:00:00Z",
                work_by="2026-11-27",
            ),
        ),
    )
    times = ["2026-11-20T14:30", "2026-11-18", "2026-11-20T14:30"]
    assert [each.discharged for each in dates_of(*times)] == times
    assert dates_of() == []


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-20",
        "2026-11-20T00:00",
        "2026-11-20T23:59:59.999999",
        "2026-11-20 08:00:00",
        "2026-11-20T05:00Z",  # midnight in New York
        "2026-11-21T04:59:59+00:00",
        "2026-11-21T13:59+0900",
        "2026-11-20T14:30-05:00",
    ],
)
def test_a_time_counts_on_its_date_in_the_zone(time: str) -> None:
    assert dates_of(time)[0].tasks == dates_of("2026-11-20")[0].tasks


def test_a_day_whose_next_midnight_is_jumped_over_ends_at_the_jump() -> None:
    contact = dates_of("2026-03-04", zone="America/Havana", closures=(date(2026, 3, 6),))[0].tasks[0]
    assert (contact.due_on, contact.due_at) == ("2026-03-09", "2026-03-10T04:00:00Z")
    visit = dates_of("2026-02-28", zone="America/Havana")[0].tasks[1]
    assert (visit.due_on, visit.due_at) == ("2026-03-07", "2026-03-08T05:00:00Z")


def test_the_practices_closures_are_no_business_days() -> None:
    contact, visit = dates_of("2026-11-17", closures=(date(2026, 11, 18), date(2026, 11, 24)))[0].tasks
    assert (contact.due_on, contact.work_by) == ("2026-11-20", "2026-11-20")
    assert (visit.due_on, visit.work_by) == ("2026-11-24", "2026-11-23")


def test_the_text_can_be_read_aloud() -> None:
    text = run_protocols_due(NAME, NEW_YORK, ["2026-11-19T14:30", "2026-12-24"], as_json=False)
    assert text == (
        "discharged 2026-11-19T14:30 (America/New_York)\n"
        "  contact  due Mon 2026-11-23, at the latest Mon 2026-11-23, work by Mon 2026-11-23; "
        "due at 2026-11-24T05:00:00Z\n"
        "  visit    due Thu 2026-11-26, at the latest Thu 2026-12-03, work by Wed 2026-11-25; "
        "due at 2026-11-27T05:00:00Z\n"
        "\n"
        "discharged 2026-12-24 (America/New_York)\n"
        "  contact  due Tue 2026-12-29, at the latest Tue 2026-12-29, work by Tue 2026-12-29; "
        "due at 2026-12-30T05:00:00Z\n"
        "  visit    due Thu 2026-12-31, at the latest Thu 2027-01-07, work by Thu 2026-12-31; "
        "due at 2027-01-01T05:00:00Z"
    )


@pytest.mark.parametrize(
    "time",
    [
        "",
        "tomorrow",
        "2026-02-30",
        "2026-11-20T25:00",
        "2026-11-20T14",
        "2026112021430",
        "202611201430",
        "20261120",
        "2026-W47-5",
        "2026-11-20T14:30+25:00",
        "2026-11-20T14:30 ",
        "\u0662\u0660\u0662\u0666-11-20",
    ],
)
def test_a_time_that_cannot_be_read_is_named(time: str) -> None:
    with pytest.raises(Permanent, match="is not a time of discharge: write 2026-11-20T14:30") as caught:
        dates_of("2026-11-20", time)
    assert caught.value.code == "time-unreadable"
    assert repr(time) in caught.value.message


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00+14:00", "1970-12-31", "2100-12-31", "2101-01-01", "9999-12-31T23:59-12:00"]
)
def test_a_year_without_holidays_is_refused_and_not_guessed(time: str) -> None:
    with pytest.raises(Permanent, match=r"has no due dates: .*holidays are known for 1971 to 2100") as caught:
        dates_of(time)
    assert caught.value.code == "due-date-unknown"
    assert repr(time) in caught.value.message


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "America", "../UTC", "EST5XDT"])
def test_an_unknown_zone_is_named(zone: str) -> None:
    with pytest.raises(Permanent, match="no time zone") as caught:
        run_protocols_due(NAME, zone, ["2026-11-20"], as_json=True)
    assert caught.value.code == "time-zone-unknown"
    assert repr(zone) in caught.value.message


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(Permanent, match=r"no protocol 'transitional'; known: .*transitional-care"):
        run_protocols_due("transitional", NEW_YORK, ["2026-11-20"], as_json=True)
