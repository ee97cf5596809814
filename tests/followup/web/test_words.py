from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.followup.domain.tasks import OPEN
from services.followup.usecases.worklist_items import WorklistItem
from services.followup.web import words
from tests.support.items import an_item

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)  # Monday, 10 AM in New York


def due(due_on: date, now: datetime = NOW, **task: Any) -> tuple[str, str]:
    return words.due_words(an_item(task={"due_on": due_on, **task}), now)


@pytest.mark.parametrize(
    ("due_on", "expected"),
    [
        (date(2026, 11, 25), ("due Wed Nov 25 · 2 days left", "later")),
        (date(2026, 11, 24), ("due Tue Nov 24 · 1 day left", "later")),
        (date(2026, 11, 23), ("due today, Mon Nov 23", "today")),
        (date(2026, 11, 22), ("overdue 1 day · was due Sun Nov 22", "overdue")),
        (date(2026, 11, 20), ("overdue 3 days · was due Fri Nov 20", "overdue")),
        (date(2027, 1, 4), ("due Mon Jan 4, 2027 · 42 days left", "later")),
    ],
)
def test_when_a_task_is_due_in_words(due_on: date, expected: tuple[str, str]) -> None:
    assert due(due_on) == expected


def test_a_day_is_over_when_it_is_over_at_the_facility() -> None:
    monday = date(2026, 11, 23)
    still_monday_in_new_york = datetime(2026, 11, 24, 4, 59, tzinfo=UTC)
    tuesday_there = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
    assert due(monday, still_monday_in_new_york)[1] == "today"
    assert due(monday, tuesday_there)[1] == "overdue"
    assert due(monday, tuesday_there, zone="Pacific/Honolulu")[1] == "today"


def test_a_closed_task_is_never_overdue() -> None:
    assert due(date(2026, 11, 20), status="completed") == ("was due Fri Nov 20", "none")


def test_other_dates_are_said_where_they_differ_and_still_lie_ahead() -> None:
    def dates(**task: Any) -> list[str]:
        return words.extra_dates(
            an_item(task={"due_on": date(2026, 11, 27), "last_on": date(2026, 11, 27), **task}), NOW
        )

    friday = date(2026, 11, 27)
    assert dates(work_by=friday) == []
    assert dates(work_by=date(2026, 11, 25)) == ["work by Wed Nov 25"]
    assert dates(work_by=date(2026, 11, 20)) == []
    assert dates(work_by=friday, last_on=date(2026, 12, 4)) == ["last date Fri Dec 4"]
    assert dates(work_by=friday, last_on=date(2026, 12, 4), status="completed") == []


@pytest.mark.parametrize(
    ("born", "age"),
    [
        (date(1952, 3, 9), "74 years old"),
        (date(2024, 11, 23), "2 years old"),
        (date(2024, 11, 24), "23 months old"),
        (date(2026, 10, 23), "1 month old"),
        (date(2026, 10, 24), "30 days old"),
        (date(2026, 11, 22), "1 day old"),
        (date(2026, 11, 23), "0 days old"),
        (date(2026, 12, 1), "not born yet"),
    ],
)
def test_an_age_in_words(born: date, age: str) -> None:
    assert words.age_words(born, date(2026, 11, 23)) == age


def test_a_patient_in_words() -> None:
    assert words.patient_words(an_item().patient, NOW, "UTC") == "born Mar 9, 1952, 74 years old, female"
    assert words.patient_words(an_item(sex="X").patient, NOW, "UTC") == "born Mar 9, 1952, 74 years old"


@pytest.mark.parametrize(
    ("stay", "expected"),
    [
        ({}, "Fri Nov 20, 2:30 PM EST, after 3 days"),
        ({"admitted_at": None}, "Fri Nov 20, 2:30 PM EST"),
        ({"admitted_at": datetime(2026, 11, 20, 12, tzinfo=UTC)}, "Fri Nov 20, 2:30 PM EST"),
        ({"admitted_at": datetime(2026, 11, 25, 12, tzinfo=UTC)}, "Fri Nov 20, 2:30 PM EST"),
        ({"discharged_at": None}, "Fri Nov 20, after 3 days"),
        ({"discharged_at": None, "discharged_on": None}, "not discharged"),
    ],
)
def test_the_end_of_a_stay_in_words(stay: dict[str, Any], expected: str) -> None:
    assert words.discharged_words(an_item(stay=stay).stay, "America/New_York", NOW) == expected


@pytest.mark.parametrize(("instant", "time"), [((2026, 11, 23, 5, 5), "12:05 AM"), ((2026, 11, 23, 17, 0), "12:00 PM")])
def test_noon_and_midnight_are_twelve(instant: tuple[int, int, int, int, int], time: str) -> None:
    from_utc = datetime(*instant, tzinfo=UTC)
    assert time in words.tried_words(_tried(from_utc), NOW)


def test_what_was_tried_in_words() -> None:
    assert words.tried_words(an_item(), NOW) == "not tried yet"
    tried = words.tried_words(_tried(datetime(2026, 11, 21, 21, 10, tzinfo=UTC)), NOW)
    assert tried == "tried 2 times, last Sat Nov 21, 4:10 PM EST: no answer"
    assert words.tried_words(an_item(task={"attempt_count": 1}), NOW) == "tried 1 time"


def test_codes_without_words_are_shown_as_they_are() -> None:
    assert words.outcome_words("moved-away") == "moved-away"
    assert words.outcome_words(None) == "unknown"
    assert words.kind_words("med-rec") == "med-rec"
    assert words.warning_words("verify destination") == "verify destination"
    assert words.stay_words(an_item(stay={"class_code": None}).stay) == "Stay"


@pytest.mark.parametrize("status", sorted(OPEN | {"completed", "failed", "cancelled", "entered-in-error"}))
def test_every_status_has_words(status: str) -> None:
    assert words.status_words(an_item(task={"status": status}))


def _tried(at: datetime) -> WorklistItem:
    return an_item(task={"attempt_count": 2, "last_attempt_at": at, "last_attempt_outcome": "no-answer"})
