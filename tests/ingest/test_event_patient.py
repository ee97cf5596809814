"""Goal: who the patient is, in what senders write, and nothing guessed."""

from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.events import Address, Contact, Identifier, Patient, PersonName, Phone
from services.ingest.event_patient import CONTACTS_MAX
from tests.support.hl7_text import FEED, Fields, codes_of, event_of


def patient(fields: Fields, **segments: Any) -> Patient:
    return event_of(PID=fields, **segments).patient


def findings(fields: Fields) -> dict[str, str | None]:
    return codes_of(event_of(PID={3: "1001"} | fields))


def test_without_a_pid_there_is_nobody() -> None:
    event = event_of(PID=[])
    assert event.patient == Patient()
    assert event.intake.reason == "patient-not-identified"


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({3: "1", 2: "2", 4: "3"}, "1"),
        ({2: "2", 4: "3"}, "2"),
        ({4: "3"}, "3"),
        ({3: "000", 2: "2"}, "2"),
    ],
)
def test_identifiers_are_in_pid_3_else_2_else_4(fields: Fields, value: str) -> None:
    assert patient(fields).identifiers == (Identifier(value=value, authority="MERCY"),)


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("RIVERA^ANA^M^JR^^^L", (PersonName(family="RIVERA", given="ANA", middle="M", suffix="JR", use="L"),)),
        (" RIVERA ^ ANA ", (PersonName(family="RIVERA", given="ANA"),)),
        ("VAN DYKE&VAN&DYKE^JAN", (PersonName(family="VAN DYKE", given="JAN"),)),
        ("&VAN&DYKE^JAN", (PersonName(family="VAN", given="JAN"),)),
        ("RIVERA", (PersonName(family="RIVERA"),)),
        ("^ANA", (PersonName(given="ANA"),)),
        (r"O\T\D^A & B", (PersonName(family="O&D", given="A & B"),)),
        (
            "RIVERA^ANA~^^^^^^S~DOE^JANE^^^^^A",
            (PersonName(family="RIVERA", given="ANA"), PersonName(family="DOE", given="JANE", use="A")),
        ),
        ("^^^^^^L", ()),
        (" ^ ", ()),
        ('""', ()),
    ],
)
def test_names(field: str, names: tuple[PersonName, ...]) -> None:
    assert patient({5: field}).names == names


@pytest.mark.parametrize(
    ("field", "expected", "code"),
    [
        ("19520314", date(1952, 3, 14), None),
        ("195203142359", date(1952, 3, 14), None),
        ("19520314000000-0500", date(1952, 3, 14), None),
        ("1952-03-14", date(1952, 3, 14), "timestamp-not-hl7-form"),
        ("195203", None, "birth-date-partial"),
        ("1952", None, "birth-date-partial"),
        ("19520230", None, "timestamp-not-a-date"),
        ("UNKNOWN", None, "timestamp-not-a-date"),
        ("", None, None),
        ('""', None, None),
    ],
)
def test_a_birth_date_is_a_whole_date_or_none(field: str, expected: date | None, code: str | None) -> None:
    assert patient({7: field}).birth_date == expected
    assert findings({7: field}).get(code or "") == ("PID-7" if code else None)


@pytest.mark.parametrize(
    ("field", "phones"),
    [
        ("(217)555-0142^PRN^PH", (Phone(number="(217)555-0142", use="PRN"),)),
        ("^PRN^PH^^1^217^5550142^12", (Phone(number="+1 217 5550142 x12", use="PRN"),)),
        ("^PRN^PH^^+1^217^5550142", (Phone(number="+1 217 5550142", use="PRN"),)),
        ("^^^^^217^5550142^^^^^2175550142", (Phone(number="2175550142"),)),
        ("^^^^^217", ()),
        ("^NET^Internet^jo@example.org", ()),
        ("jo@example.org^NET", ()),
        ("N/A", (Phone(number="N/A"),)),
        ("1~2^WPN", (Phone(number="1"), Phone(number="2", use="WPN"))),
        ('""', ()),
        (" ", ()),
    ],
)
def test_phones_are_as_given_and_addresses_of_email_are_none(field: str, phones: tuple[Phone, ...]) -> None:
    assert patient({13: field}).phones == phones
    assert patient({14: field}).phones == phones
    assert patient({13: "0", 14: field}).phones == (Phone(number="0"), *phones)


def test_addresses() -> None:
    assert patient({11: "12 OAK ST&OAK&12^APT 4^SPRINGFIELD^IL^62701^USA^H~^^^^~^^^^05602"}).addresses == (
        Address(street="12 OAK ST", city="SPRINGFIELD", state="IL", zip="62701", use="H"),
        Address(zip="05602"),
    )


@pytest.mark.parametrize(
    ("fields", "expected", "code"),
    [
        ({19: "219-09-4431"}, "219094431", None),
        ({19: "219094431"}, "219094431", None),
        ({19: "XXX-XX-4431"}, "4431", None),
        ({19: "4431"}, "4431", None),
        ({3: "1001~219-09-4431^^^SSA^SS"}, "219094431", None),
        ({3: "1001~219-09-4431^^^SSA^SS", 19: "999-99-9999"}, "219094431", "PID-19"),
        ({19: "000-00-0000"}, None, "PID-19"),
        ({19: "123-45-6789"}, None, "PID-19"),
        ({19: "111111111"}, None, "PID-19"),
        ({19: "12345"}, None, "PID-19"),
        ({19: "219-09-4431" + " " * 20 + "or so he says"}, None, "PID-19"),
        ({3: "1001~55^^^^SS"}, None, "PID-3"),
        ({19: "NONE"}, None, None),
        ({}, None, None),
    ],
)
def test_a_social_security_number_is_nine_digits_or_the_last_four(
    fields: Fields, expected: str | None, code: str | None
) -> None:
    assert patient({3: "1001"} | fields).ssn == expected
    assert findings(fields).get("ssn-unusable") == code


@pytest.mark.parametrize(
    ("fields", "deceased", "codes"),
    [
        ({30: "Y"}, True, set()),
        ({30: "yes"}, True, set()),
        ({30: "N"}, False, set()),
        ({30: "NO "}, False, set()),
        ({29: "20261101"}, True, set()),
        ({29: "2026"}, True, set()),
        ({29: "20261101", 30: "Y"}, True, set()),
        ({29: "20261101", 30: "N"}, True, {"death-contradictory"}),
        ({29: "LAST WEEK"}, None, {"timestamp-not-a-date"}),
        ({29: "00000000", 30: "N"}, False, {"timestamp-placeholder"}),
        ({30: "?"}, None, {"yes-or-no-unknown"}),
        ({}, None, set()),
    ],
)
def test_a_death_is_what_either_field_says(fields: Fields, deceased: bool | None, codes: set[str]) -> None:
    assert patient({3: "1001"} | fields).deceased is deceased
    assert set(findings(fields)) == codes


def test_the_time_of_death_is_read_in_the_zone_of_the_facility() -> None:
    died = patient({29: "202611010930"}).died_at
    assert died is not None
    assert died.at.isoformat() == "2026-11-01T14:30:00+00:00"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({24: "Y"}, True), ({24: "N"}, False), ({25: "2"}, True), ({24: "N", 25: "1"}, False), ({}, None)],
)
def test_one_of_several_born_together_is_known_by_either_field(fields: Fields, expected: bool | None) -> None:
    assert patient({3: "1001"} | fields).multiple_birth is expected


def test_single_fields() -> None:
    read = patient({8: "f", 15: "spa^Spanish", 18: "A1^^^MERCY^AN", 21: "55^^^^MR"}, PD1={4: "PC1^HALVORSEN^INGRID"})
    assert (read.sex, read.language, read.pcp) == ("F", "spa", "INGRID HALVORSEN")
    assert read.account == Identifier(value="A1", authority="MERCY", type="AN")
    assert read.mother == (Identifier(value="55", authority="MERCY", type="MR"),)
    assert patient({15: "^Spanish"}).language == "Spanish"
    assert patient({}, PD1={4: "PC1"}).pcp == "PC1"
    assert patient({}, PD1={4: "^HALVORSEN"}).pcp == "HALVORSEN"
    assert patient({}, PD1={4: ""}).pcp is None


def test_contacts_are_next_of_kin_and_guarantors() -> None:
    read = patient(
        {},
        NK1=[
            {2: "RIVERA^LUZ", 3: "MTH^Mother^HL70063", 5: "^NET^Internet^l@example.org~217-555-0101", 7: "C"},
            {2: "", 5: ""},
            {3: "FTH", 5: "217-555-0102"},
        ],
        GT1={3: "RIVERA^JO", 6: "217-555-0103", 7: "X", 11: "SEL"},
    )
    assert read.contacts == (
        Contact(
            source="NK1",
            name=PersonName(family="RIVERA", given="LUZ"),
            relation="Mother",
            phone="217-555-0101",
            role="C",
        ),
        Contact(source="NK1", relation="FTH", phone="217-555-0102"),
        Contact(source="GT1", name=PersonName(family="RIVERA", given="JO"), relation="SEL", phone="217-555-0103"),
    )


@pytest.mark.parametrize(("kin", "guarantors"), [(CONTACTS_MAX + 10, 0), (CONTACTS_MAX, 5), (3, CONTACTS_MAX)])
def test_more_contacts_than_anybody_has_are_left_out_with_a_finding(kin: int, guarantors: int) -> None:
    event = event_of(NK1=[{2: f"KIN{n}"} for n in range(kin)], GT1=[{3: f"GUARANTOR{n}"} for n in range(guarantors)])
    assert len(event.patient.contacts) == CONTACTS_MAX
    assert "contacts-left-out" in codes_of(event)


def test_content_times_follow_the_facility_not_the_feed() -> None:
    feed = replace(FEED, zone=ZoneInfo("America/Los_Angeles"))
    died = event_of(feed=feed, PID={3: "1", 29: "202611010930"}).patient.died_at
    assert died is not None
    assert died.zone == "America/Los_Angeles"
