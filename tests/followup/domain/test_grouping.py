"""Rules 5 and 6 of domain §2.5: which messages are one stay. Every case is also read backwards."""

import pytest

from services.followup.domain.grouping import group_fragments
from services.followup.domain.statements import Statement
from tests.support.stated import fragments_of, state, stays_of


def loose(trigger: str, sent: str, **said: object) -> Statement:
    return state(trigger, sent, number=None, **said)


CASES: dict[str, tuple[list[Statement], int, int]] = {
    "the repeated admit time": (
        [
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A03", "2026-11-18 14:05", admitted="2026-11-16 08:00", discharged="2026-11-18 14:00"),
        ],
        1,
        0,
    ),
    "an admit time corrected within the hour": (
        [
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A03", "2026-11-18 14:05", admitted="2026-11-16 08:40", discharged="2026-11-18 14:00"),
        ],
        1,
        0,
    ),
    "an admit more than an hour away is another stay": (
        [
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A01", "2026-11-16 12:05", admitted="2026-11-16 12:00"),
        ],
        2,
        0,
    ),
    "a change to inpatient hours later is the same stay": (
        [
            loose("A04", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A06", "2026-11-16 20:05", admitted="2026-11-16 20:00", happened="2026-11-16 20:00"),
        ],
        1,
        0,
    ),
    "a change to inpatient a day after the end is another": (
        [
            loose("A04", "2026-11-10 08:05", admitted="2026-11-10 08:00"),
            loose("A03", "2026-11-10 14:05", admitted="2026-11-10 08:00", discharged="2026-11-10 14:00"),
            loose("A06", "2026-11-16 20:05", happened="2026-11-16 20:00"),
        ],
        2,
        0,
    ),
    "a second discharge days after the first, not canceled, is another": (
        [
            loose("A01", "2026-11-10 08:05", admitted="2026-11-10 08:00"),
            loose("A03", "2026-11-11 14:05", discharged="2026-11-11 14:00"),
            loose("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00"),
        ],
        2,
        0,
    ),
    "an update with nothing known yet waits": ([loose("A08", "2026-11-16 09:00")], 0, 1),
    "a cancel with nothing to cancel waits": ([loose("A13", "2026-11-16 09:00", happened="2026-11-15 09:00")], 0, 1),
    "a canceled admission with nothing known waits": (
        [loose("A11", "2026-11-16 09:00", happened="2026-11-16 08:00")],
        0,
        1,
    ),
    "an update joins the stay begun before it": (
        [
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A08", "2026-11-17 09:00"),
        ],
        1,
        0,
    ),
    "messages without a number attach to the numbered stay of the same admit time": (
        [
            state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A03", "2026-11-18 14:05", admitted="2026-11-16 08:00", discharged="2026-11-18 14:00"),
        ],
        1,
        0,
    ),
    "another facility is another stay": (
        [
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00", facility="NORTH"),
        ],
        2,
        0,
    ),
    "a number used again after the end is another stay": (
        [
            state("A01", "2026-10-12 08:05", admitted="2026-10-12 08:00"),
            state("A03", "2026-10-14 14:05", admitted="2026-10-12 08:00", discharged="2026-10-14 14:00"),
            state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
        ],
        2,
        0,
    ),
    "a number whose end was missed and that is used again much later is another stay": (
        [
            state("A01", "2026-01-12 08:05", admitted="2026-01-12 08:00"),
            state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
        ],
        2,
        0,
    ),
    "updates without an admit time go to the stay of their day": (
        [
            state("A01", "2026-10-12 08:05", admitted="2026-10-12 08:00"),
            state("A03", "2026-10-14 14:05", admitted="2026-10-12 08:00", discharged="2026-10-14 14:00"),
            state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            state("A08", "2026-10-13 09:00"),
            state("A08", "2026-11-17 09:00"),
        ],
        2,
        0,
    ),
    "a number with updates alone is one stay": (
        [state("A08", "2026-11-16 09:00"), state("A08", "2026-11-17 09:00")],
        1,
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backwards", [False, True], ids=["as told", "backwards"])
def test_stays_and_waiting(name: str, backwards: bool) -> None:
    statements, stays, waiting = CASES[name]
    grouping = group_fragments(fragments_of(statements[::-1] if backwards else statements))
    assert (len(grouping.stays), len(grouping.waiting)) == (stays, waiting)


def test_a_cancel_without_a_number_takes_the_discharge_that_it_names() -> None:
    first, second = stays_of(
        [
            loose("A01", "2026-11-10 08:05", admitted="2026-11-10 08:00"),
            loose("A03", "2026-11-11 14:05", discharged="2026-11-11 14:00"),
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00"),
            loose("A13", "2026-11-18 15:00", happened="2026-11-11 14:00"),
        ]
    )
    assert (first.status, second.status) == ("in-progress", "finished")


def test_a_canceled_admission_without_a_number_takes_the_last_begun_before_it() -> None:
    first, second = stays_of(
        [
            loose("A01", "2026-11-10 08:05", admitted="2026-11-10 08:00"),
            loose("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00"),
            loose("A11", "2026-11-16 09:00", happened="2026-11-16 08:00"),
        ]
    )
    assert (first.status, second.status) == ("in-progress", "cancelled")
