"""Rules 1 to 4 of domain §2.5: which discharge stands. Every case is also read backwards."""

from zoneinfo import ZoneInfo

import pytest

from services.followup.domain.statements import Statement
from tests.support.stated import ZONE, only_stay, state

A01 = state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00", class_="IMP")
A03 = state("A03", "2026-11-18 14:05", admitted="2026-11-16 08:00", discharged="2026-11-18 14:00", disposition="01")


def a08(sent: str, discharged: str, **said: object) -> Statement:
    return state("A08", sent, admitted="2026-11-16 08:00", discharged=discharged, **said)


def a13(sent: str, **said: object) -> Statement:
    return state("A13", sent, admitted="2026-11-16 08:00", **said)


CASES: dict[str, tuple[list[Statement], str | None]] = {
    "an admission alone is no discharge": ([A01], None),
    "A03 discharges": ([A01, A03], "2026-11-18T14:00"),
    "a later A03 corrects the time": (
        [A01, A03, state("A03", "2026-11-19 09:00", admitted="2026-11-16 08:00", discharged="2026-11-18 10:00")],
        "2026-11-18T10:00",
    ),
    "A08 with a time not ahead of it discharges": (
        [A01, a08("2026-11-18 14:05", "2026-11-18 14:00")],
        "2026-11-18T14:00",
    ),
    "A08 with a time ahead of it only expects": ([A01, a08("2026-11-17 09:00", "2026-11-18 14:00")], None),
    "A08 recorded with the admission's own time but sent after the discharge discharges": (
        [A01, a08("2026-11-18 14:05", "2026-11-18 14:00", recorded="2026-11-16 08:05")],
        "2026-11-18T14:00",
    ),
    "an expected time does not become a discharge by ageing": (
        [A01, a08("2026-11-17 09:00", "2026-11-18 14:00"), a08("2026-11-19 09:00", "2026-11-18 14:00")],
        None,
    ),
    "an expected time with a disposition, once it has come, is one": (
        [
            A01,
            a08("2026-11-17 09:00", "2026-11-18 14:00"),
            a08("2026-11-19 09:00", "2026-11-18 14:00", disposition="01"),
        ],
        "2026-11-18T14:00",
    ),
    "PV1-45 of an admission is an expectation": (
        [
            state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00", discharged="2026-11-18 14:00"),
            a08("2026-11-19 09:00", "2026-11-18 14:00"),
        ],
        None,
    ),
    "another time than the expected one is a discharge": (
        [
            state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00", discharged="2026-11-18 14:00"),
            a08("2026-11-19 09:00", "2026-11-18 15:30"),
        ],
        "2026-11-18T15:30",
    ),
    "an A02 that repeats a past discharge later does not undo it": (
        [A01, A03, state("A02", "2026-11-18 15:00", admitted="2026-11-16 08:00", discharged="2026-11-18 14:00")],
        "2026-11-18T14:00",
    ),
    "A13 clears the discharge": ([A01, A03, a13("2026-11-18 16:00")], None),
    "A13 clears it even where its own PV1-45 is still filled": (
        [A01, A03, a13("2026-11-18 16:00", discharged="2026-11-18 14:00")],
        None,
    ),
    "after A13 an A08 that repeats the time does not discharge": (
        [A01, A03, a13("2026-11-18 16:00"), a08("2026-11-18 17:00", "2026-11-18 14:00", disposition="01")],
        None,
    ),
    "after A13 an A08 with another time does": (
        [A01, A03, a13("2026-11-18 16:00"), a08("2026-11-20 12:00", "2026-11-20 11:00")],
        "2026-11-20T11:00",
    ),
    "after A13 an A03 with the same time does": (
        [A01, A03, a13("2026-11-18 16:00"), state("A03", "2026-11-18 18:00", discharged="2026-11-18 14:00")],
        "2026-11-18T14:00",
    ),
    "A13 stated before the A03 does not touch it": ([A01, a13("2026-11-17 16:00"), A03], "2026-11-18T14:00"),
    "A08 with an emptied PV1-45 is a cancel": (
        [A01, A03, state("A08", "2026-11-18 16:00", admitted="2026-11-16 08:00", discharge_deleted=True)],
        None,
    ),
    "A08 with an empty PV1-45 erases nothing": (
        [A01, A03, state("A08", "2026-11-18 16:00", admitted="2026-11-16 08:00")],
        "2026-11-18T14:00",
    ),
    "in one second a cancel takes only the time that it names": (
        [
            A01,
            A03,
            a13("2026-11-18 16:00", happened="2026-11-18 14:00"),
            state("A03", "2026-11-18 16:00", discharged="2026-11-18 15:00"),
        ],
        "2026-11-18T15:00",
    ),
    "in one second a cancel that names nothing means what was stated before": (
        [A01, A03, a13("2026-11-18 16:00"), state("A03", "2026-11-18 16:00", discharged="2026-11-18 15:00")],
        "2026-11-18T15:00",
    ),
    "in one second a cancel that names nothing follows its only target": ([A01, A03, a13("2026-11-18 14:05")], None),
    "a cancel by movement id takes only that movement": (
        [
            A01,
            state("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00", movement="M7"),
            a13("2026-11-18 16:00", movement="M6"),
        ],
        "2026-11-18T14:00",
    ),
    "a cancel by movement id takes that movement": (
        [
            A01,
            state("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00", movement="M7"),
            a13("2026-11-18 16:00", movement="M7"),
        ],
        None,
    ),
    "a return to the same visit reopens it": (
        [A01, A03, state("A01", "2026-11-18 20:05", happened="2026-11-18 20:00")],
        None,
    ),
    "an A06 after the end reopens it": (
        [A01, A03, state("A06", "2026-11-18 20:05", happened="2026-11-18 20:00")],
        None,
    ),
    "an A06 that repeats the end changes the class only": (
        [A01, A03, state("A06", "2026-11-21 09:00", discharged="2026-11-18 14:00", class_="IMP")],
        "2026-11-18T14:00",
    ),
    "a resent admission does not reopen": (
        [A01, A03, state("A01", "2026-11-18 20:05", admitted="2026-11-16 08:00")],
        "2026-11-18T14:00",
    ),
    "A03 without any time of discharge counts by EVN-2": (
        [A01, state("A03", "2026-11-18 14:05")],
        "2026-11-18T14:05",
    ),
    "of two such A03 the first counts": (
        [A01, state("A03", "2026-11-18 14:05"), state("A03", "2026-11-19 09:00")],
        "2026-11-18T14:05",
    ),
    "a time taken from EVN-2 gives way to a better one": (
        [A01, state("A03", "2026-11-18 14:05"), a08("2026-11-19 09:00", "2026-11-18 13:00")],
        "2026-11-18T13:00",
    ),
    "EVN-6 of an A03 is its time where PV1-45 is empty": (
        [A01, state("A03", "2026-11-18 14:05", happened="2026-11-18 13:30")],
        "2026-11-18T13:30",
    ),
    "still a patient, stated at the discharge, denies it": (
        [A01, state("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00", disposition="30")],
        None,
    ),
    "still a patient, stated before the discharge, does not": (
        [
            state("A01", "2026-11-16 08:05", admitted="2026-11-16 08:00", disposition="30"),
            state("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00"),
        ],
        "2026-11-18T14:00",
    ),
    "A11 cancels the visit and its discharge": (
        [A01, A03, state("A11", "2026-11-18 18:00", admitted="2026-11-16 08:00")],
        None,
    ),
    "A11 followed by an A03 revives it": (
        [
            A01,
            state("A11", "2026-11-16 09:00", admitted="2026-11-16 08:00"),
            state("A03", "2026-11-18 14:05", admitted="2026-11-16 08:00", discharged="2026-11-18 14:00"),
        ],
        "2026-11-18T14:00",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backwards", [False, True], ids=["as told", "backwards"])
def test_discharge_that_stands(name: str, backwards: bool) -> None:
    statements, expected = CASES[name]
    stay = only_stay(statements[::-1] if backwards else statements)
    shown = (
        None if stay.discharged_at is None else stay.discharged_at.astimezone(ZoneInfo(ZONE)).strftime("%Y-%m-%dT%H:%M")
    )
    assert shown == expected


def test_a_canceled_death_is_none() -> None:
    died = state("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00", disposition="20")
    stay = only_stay([A01, died, a13("2026-11-18 15:00")])
    assert (stay.status, stay.disposition_code) == ("in-progress", None)


def test_a_canceled_visit_says_so() -> None:
    assert only_stay([A01, state("A11", "2026-11-16 09:00")]).status == "cancelled"


def test_learned_at_is_the_earliest_receipt_of_a_live_statement_of_the_day() -> None:
    early = state("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00", received=900_000_000)
    late = state("A03", "2026-11-19 09:00", discharged="2026-11-18 15:00", received=500_000_000)
    stay = only_stay([A01, early, late])
    assert stay.learned_at is not None
    assert stay.learned_at.timestamp() == 500


def test_a_date_only_discharge_has_a_day_and_no_instant() -> None:
    stay = only_stay([A01, state("A03", "2026-11-18 14:05", discharged="2026-11-18")])
    assert (stay.discharged_at, str(stay.discharged_on)) == (None, "2026-11-18")


def test_a_discharge_stated_only_by_messages_not_admitted_makes_no_task() -> None:
    stay = only_stay([A01, state("A03", "2026-11-18 14:05", discharged="2026-11-18 14:00", live=False)])
    assert stay.status == "finished"
    assert not stay.makes_tasks
