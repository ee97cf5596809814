"""From an event to what it states: whose source patient, which visit, which time."""

import pytest

from schemas.events import AdtEvent
from services.followup.usecases.statements import source_key, statement_of
from services.ingest.hl7.message import parse
from services.ingest.normalize import normalize
from tests.support.adt import adt
from tests.support.household import FEEDS, local

NOW = local("2026-11-19 12:00")


def event(trigger: str = "A08", **fields: object) -> AdtEvent:
    raw = adt(trigger, sent="20261118140500", control_id="M1", **fields)  # type: ignore[arg-type]  # builder's own words
    return normalize(parse(raw), FEEDS.find("EPIC", "MERCY"), received_at=NOW)


@pytest.mark.parametrize(
    ("mrn", "expected"),
    [
        ("1001^^^MERCY^MR", "MERCY|record|1001"),
        ("1001", "MERCY|record|1001"),
        ("1001^^^^PI", "MERCY|record|1001"),
        ("E7^^^EPI^PI~1001^^^MERCY^MR", "MERCY|record|1001"),
        ("1001^^^MERCY^MR~77^^^STJOHN^MR", "MERCY|record|1001"),
        ("1EG4TE5MK73^^^CMS^MC~1001^^^MERCY^MR", "MERCY|record|1001"),
        ("1EG4TE5MK73^^^CMS^MC", "CMS|MC|1EG4TE5MK73"),
    ],
)
def test_a_source_patient_is_a_record_number_within_its_authority(mrn: str, expected: str) -> None:
    assert source_key(event(mrn=mrn)) == expected


def test_without_any_number_a_source_patient_is_name_and_birth_date_within_the_feed() -> None:
    assert source_key(event(mrn="")) == "feed:mercy|name|RIVERA,ANA|1952-03-14"


def test_a_visit_number_without_authority_takes_that_of_the_first_record_number() -> None:
    stated = statement_of(event(mrn="1EG4TE5MK73^^^CMS^MC~1001^^^MERCY^MR"))
    assert (stated.visit_authority, stated.visit_number) == ("MERCY", "V1001")
    assert statement_of(event(number="V1^^^STJOHN")).visit_authority == "STJOHN"
    assert statement_of(event(mrn="1EG4TE5MK73^^^CMS^MC")).visit_authority == "feed:mercy"
    assert statement_of(event(number="")).visit_number is None


def test_a_class_change_without_a_class_names_it_by_its_meaning() -> None:
    assert statement_of(event("A06", **{"class": ""})).fields["class"] == "IMP\t"
    assert "class" not in statement_of(event("A08", **{"class": ""})).fields


def test_what_the_sender_emptied_is_none_and_what_it_left_out_is_not_there() -> None:
    fields = statement_of(event(disposition='""')).fields
    assert fields["disposition"] is None
    assert "reason" not in fields


def test_a_cancel_repeats_no_disposition() -> None:
    assert "disposition" not in statement_of(event("A13", disposition="20")).fields
    assert statement_of(event("A03", disposition="20")).fields["disposition"] == "20\t20\t"


def test_an_emptied_discharge_time_is_a_deletion_and_an_empty_one_is_not() -> None:
    assert statement_of(event(discharged='""')).discharge_deleted
    assert not statement_of(event()).discharge_deleted


def test_a_month_alone_is_no_time_of_a_stay() -> None:
    assert statement_of(event(admitted="202611")).admit_time is None


def test_a_stated_offset_is_kept_and_the_second_is_not() -> None:
    time = statement_of(event(discharged="20261118140559-0600")).discharge_time
    assert time is not None
    assert (time.local, time.offset_minutes) == ("2026-11-18T14:05", -360)


def test_the_order_of_a_statement_follows_its_clock_then_its_trigger_then_its_number() -> None:
    earlier, later = (statement_of(event("A03")).order, statement_of(event("A13")).order)
    assert earlier < later
    assert later.sent_us == earlier.sent_us
