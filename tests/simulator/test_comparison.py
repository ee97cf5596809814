from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from services.simulator.comparison import Books, OpenTask, balance, compare_tasks
from services.simulator.truth import ExpectedTask, task_counts

CONTACT = ExpectedTask(
    patient_id="P1",
    kind="contact",
    status="requested",
    facility_code="MERCY",
    discharged_on=date(2026, 11, 20),
    priority="routine",
    story="home",
)
VISIT = replace(CONTACT, kind="visit")
FOUND_CONTACT = OpenTask(
    patient_id="P1",
    kind="contact",
    status="requested",
    facility_code="MERCY",
    discharged_on="2026-11-20",
    priority="routine",
)
FOUND_VISIT = replace(FOUND_CONTACT, kind="visit")
STRANGERS = replace(FOUND_CONTACT, patient_id="P9")
HELD = replace(FOUND_CONTACT, status="on-hold")


@pytest.mark.parametrize(
    ("expected", "found", "problems"),
    [
        ((), (), []),
        ((CONTACT, VISIT), (FOUND_VISIT, FOUND_CONTACT), []),
        ((CONTACT, VISIT), (FOUND_CONTACT,), [("missing", "home")]),
        ((CONTACT,), (FOUND_CONTACT, FOUND_VISIT), [("unexpected", "home")]),
        ((), (STRANGERS,), [("unexpected", None)]),
        ((CONTACT,), (HELD,), [("different", "home")]),
        ((CONTACT,), (replace(FOUND_CONTACT, discharged_on="2026-11-21"),), [("different", "home")]),
        ((CONTACT,), (replace(FOUND_CONTACT, facility_code="LMC"),), [("different", "home")]),
        ((CONTACT,), (replace(FOUND_CONTACT, priority="urgent"),), [("different", "home")]),
        ((CONTACT,), (replace(FOUND_CONTACT, status="accepted"),), [("different", "home")]),
        ((CONTACT,), (FOUND_CONTACT, FOUND_CONTACT), [("unexpected", "home")]),
        ((CONTACT,), (HELD, HELD), [("different", "home"), ("unexpected", "home")]),
        ((CONTACT,), (STRANGERS,), [("missing", "home"), ("unexpected", None)]),
    ],
)
def test_tasks_are_held_against_the_expected_ones(
    expected: tuple[ExpectedTask, ...], found: tuple[OpenTask, ...], problems: list[tuple[str, str | None]]
) -> None:
    differences = compare_tasks(expected, found, stories={"P1": "home"})
    assert [(one.problem, one.story) for one in differences] == problems


def test_a_difference_shows_both_sides() -> None:
    (difference,) = compare_tasks((CONTACT,), (HELD,), stories={})
    assert difference.expected == FOUND_CONTACT
    assert difference.found == HELD


BALANCED = Books(
    received=10, acknowledged={"AA": 10, "AE": 0}, pending=0, effect=6, no_effect=2, review=1, dead_letter=1
)


def test_balanced_books_say_nothing() -> None:
    assert balance(BALANCED, sent=10, answered={"AA": 10}, dead_letters=1) == ()


@pytest.mark.parametrize(
    ("books", "answered", "dead_letters", "said"),
    [
        (replace(BALANCED, received=9), {"AA": 10}, 1, "9 received, 10 sent"),
        (replace(BALANCED, received=11), {"AA": 10}, 1, "11 received, 10 sent"),
        (replace(BALANCED, acknowledged={"AA": 9}), {"AA": 10}, 1, "9 acknowledged, 10 sent"),
        (replace(BALANCED, acknowledged={"AA": 9, "AE": 1}), {"AA": 10}, 1, "9 acknowledged AA, 10 answered AA"),
        (BALANCED, {"AA": 9, "AE": 1}, 1, "9 answered AA, 10 sent"),
        (BALANCED, {"AA": 9, "out-of-step": 1}, 1, "9 answered AA, 10 sent"),
        (replace(BALANCED, pending=1), {"AA": 10}, 1, "1 pending, 0 that should be"),
        (replace(BALANCED, effect=5), {"AA": 10}, 1, "9 with an outcome, 10 sent"),
        (BALANCED, {"AA": 10}, 2, "1 dead letters, 2 from senders that no feed names"),
    ],
)
def test_each_hole_in_the_books_is_named(
    books: Books, answered: Mapping[str, int], dead_letters: int, said: str
) -> None:
    assert said in balance(books, sent=10, answered=answered, dead_letters=dead_letters)


def test_expected_tasks_are_counted_as_status_counts_them() -> None:
    held = replace(VISIT, status="on-hold")
    assert task_counts((CONTACT, VISIT, held)) == {
        "contact": {"requested": 1},
        "visit": {"on-hold": 1, "requested": 1},
    }
    assert task_counts(()) == {"contact": {}, "visit": {}}
