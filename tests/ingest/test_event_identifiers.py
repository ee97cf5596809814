"""Goal: an identifier never gets an authority that is not its own, and a filler is nobody's."""

import time

import pytest

from schemas.events import Identifier
from services.ingest.event_identifiers import read_identifier, read_identifiers, supplied_authority
from services.ingest.feeds import FacilityProfile, FeedProfile
from tests.support.hl7_text import FEED, codes_of, event_of, message_of


def identifiers(field: str) -> list[tuple[str, str | None, str | None]]:
    pid = message_of(PID={3: field}).first("PID")
    assert pid is not None
    return [(one.value, one.authority, one.type) for one in read_identifiers(pid, 3, "OURS")]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("1001^^^mercy ^mr", ("1001", "MERCY", "MR")),
        ("1001^^^MERCY&1.2.3&ISO^MR", ("1001", "MERCY", "MR")),
        ("1001^^^&1.2.3&ISO^MR", ("1001", "1.2.3", "MR")),
        ("1001", ("1001", "OURS", None)),
        ("1001^^^^MR", ("1001", "OURS", "MR")),
        ("1001^^^^MRN", ("1001", "OURS", "MRN")),
        ("1001^^^^PI", ("1001", "OURS", "PI")),
        ("1001^^^^U", ("1001", "OURS", "U")),
        ('1001^^^""^MR', ("1001", "OURS", "MR")),
        ("219094431^^^^SS", ("219094431", None, "SS")),
        ("1EG4TE5MK73^^^^MC", ("1EG4TE5MK73", None, "MC")),
        ("1EG4TE5MK73^^^^MBI", ("1EG4TE5MK73", None, "MC")),
        ("1eg4-te5-mk73^^^CMS^MB", ("1eg4-te5-mk73", "CMS", "MC")),
        ("W7781^^^PLAN^MB", ("W7781", "PLAN", "MB")),
        ("AB123456^^^^DL", ("AB123456", None, "DL")),
        ("A1^^^^AN", ("A1", None, "AN")),
        (" 0048213 ^^^MERCY^MR", ("0048213", "MERCY", "MR")),
        (r"A\T\B^^^M\S\N^MR", ("A&B", "M^N", "MR")),
        ("N123^^^^MR", ("N123", "OURS", "MR")),
        ("9999^^^^MR", ("9999", "OURS", "MR")),
    ],
)
def test_an_identifier_keeps_its_spelling_and_gets_an_authority_only_where_it_may(
    field: str, expected: tuple[str, str | None, str | None]
) -> None:
    assert identifiers(field) == [expected]


@pytest.mark.parametrize(
    "field",
    [
        "0",
        "000000^^^M^MR",
        "000-00-0000^^^^SS",
        "999999",
        "999999999^^^^SS",
        "999-99-9999^^^^SS",
        "N/A",
        "na",
        "unknown",
        "NONE",
        "null",
    ],
)
def test_a_filler_is_dropped_with_a_finding(field: str) -> None:
    message = message_of(PID={3: f"{field}~1001"})
    pid = message.first("PID")
    assert pid is not None
    assert [one.value for one in read_identifiers(pid, 3, None)] == ["1001"]
    assert [(one.code, one.where) for one in message.findings] == [("identifier-filler", "PID-3")]


@pytest.mark.parametrize("field", ["", '""', "^^^MERCY^MR", "~~", " ", '""^^^MERCY^MR'])
def test_an_identifier_without_a_value_is_none(field: str) -> None:
    assert identifiers(field) == []


def test_an_identifier_said_twice_is_one() -> None:
    assert identifiers("1^^^A^MR~1^^^a^mr~1^^^B^MR") == [("1", "A", "MR"), ("1", "B", "MR")]


def test_a_thousand_identifiers_are_read_in_bounded_time_and_the_rest_is_left_out() -> None:
    started = time.process_time()
    event = event_of(PID={3: "~".join(f"{number}^^^M{number}^MR" for number in range(1, 5_001))})
    assert time.process_time() - started < 1  # some 5 ms
    assert len(event.patient.identifiers) == 1_000
    assert codes_of(event) == {"repetitions-left-out": "PID-3"}


def test_a_visit_number_keeps_to_the_authority_that_it_names() -> None:
    assert event_of(PV1={19: "V1"}).visit.number == Identifier(value="V1")
    assert event_of(PV1={19: "V1^^^mercy^vn"}).visit.number == Identifier(value="V1", authority="MERCY", type="VN")
    assert event_of(PV1={19: "V1^^^&1.2&ISO~V2"}).visit.number == Identifier(value="V1", authority="1.2")
    assert event_of(PV1={19: "0000"}).visit.number is None
    assert event_of(PV1={19: ""}).visit.number is None
    assert event_of(PV1={19: "^^^M"}).visit.number is None


def test_the_authority_supplied_is_the_facilitys_before_the_feeds() -> None:
    west = FacilityProfile(code="W", zone=FEED.zone, authority="WEST")
    plain = FacilityProfile(code="P", zone=FEED.zone)
    assert supplied_authority(FEED, None) == "MERCY"
    assert supplied_authority(FEED, west) == "WEST"
    assert supplied_authority(FEED, plain) == "MERCY"
    assert supplied_authority(FeedProfile(name="none", zone=FEED.zone), plain) is None


def test_an_account_is_read_like_a_visit_number() -> None:
    pid = message_of(PID={18: "A1^^^mercy^an"}).first("PID")
    assert pid is not None
    assert read_identifier(pid, 18) == Identifier(value="A1", authority="MERCY", type="AN")
