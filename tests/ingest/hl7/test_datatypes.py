"""Goal: each data type's components land in the right place, and odd ones never fail."""

import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.hl7.datatypes import (
    CWE,
    CX,
    PL,
    REPETITIONS_MAX,
    XAD,
    XPN,
    XTN,
    read_cwe,
    read_cx,
    read_pl,
    read_timestamp,
    read_xad,
    read_xpn,
    read_xtn,
)
from services.ingest.hl7.message import Message, parse
from services.ingest.hl7.segment import Finding, Segment


def _read(field: str) -> tuple[Message, Segment]:
    message = parse(f"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rZZZ|{field}|\r".encode())
    segment = message.first("ZZZ")
    assert segment is not None
    return message, segment


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", ()),
        ('""', ()),
        ("^^^", ()),
        ("~~", ()),
        ("^^^MERCY^MR", ()),
        ('""^^^MERCY^MR', ()),
        ("1001", (CX(id="1001"),)),
        ("1001^^^MERCY^MR", (CX(id="1001", authority="MERCY", type="MR"),)),
        (
            "1001^9^M10^MERCY&1.2.3&ISO^MR^WEST&4.5&ISO",
            (
                CX(
                    id="1001",
                    authority="MERCY",
                    authority_id="1.2.3",
                    authority_id_type="ISO",
                    type="MR",
                    facility="WEST",
                ),
            ),
        ),
        ("1^^^&1.2.3&ISO", (CX(id="1", authority_id="1.2.3", authority_id_type="ISO"),)),
        ('1^^^""^""', (CX(id="1"),)),
        ("1^^^A~~2^^^B^PI", (CX(id="1", authority="A"), CX(id="2", authority="B", type="PI"))),
        (r"1\T\2^^^A\S\B^X & Y", (CX(id="1&2", authority="A^B", type="X & Y"),)),
        ("1^2^3^4^5^6^^^9^10^11^12", (CX(id="1", authority="4", type="5", facility="6"),)),
    ],
)
def test_identifiers(field: str, expected: tuple[CX, ...]) -> None:
    assert read_cx(_read(field)[1], 1) == expected


def test_the_validity_of_an_identifier_is_read_as_time() -> None:
    message, segment = _read("1^^^MERCY^MR^^20200101^2026023")
    (identifier,) = read_cx(segment, 1)
    assert identifier.valid_from is not None
    assert identifier.valid_from.local == datetime.fromisoformat("2020-01-01")
    assert identifier.valid_to is not None
    assert identifier.valid_to.local is None
    assert message.findings == (
        Finding(code="timestamp-malformed", where="ZZZ-1"),
        Finding(code="timestamp-not-a-date", where="ZZZ-1"),
    )


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("DOE", (XPN(family="DOE"),)),
        (
            "DOE^JANE^Q^JR^MS^MD^L",
            (XPN(family="DOE", given="JANE", middle="Q", suffix="JR", prefix="MS", type="L"),),
        ),
        ("VAN DYKE&VAN&DYKE^JAN", (XPN(family="VAN DYKE", own_family="DYKE", given="JAN"),)),
        ("&&DYKE^JAN", (XPN(own_family="DYKE", given="JAN"),)),
        ("^JANE", (XPN(given="JANE"),)),
        ('""^JANE^""', (XPN(given="JANE"),)),
        ("DOE^JANE^^^^^L~ROE^^^^^^A", (XPN(family="DOE", given="JANE", type="L"), XPN(family="ROE", type="A"))),
        (r"O\T\D^A & B", (XPN(family="O&D", given="A & B"),)),
        ('"Bob"', (XPN(family='"Bob"'),)),
    ],
)
def test_names(field: str, expected: tuple[XPN, ...]) -> None:
    assert read_xpn(_read(field)[1], 1) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (
            "12 MAIN ST^APT 4^SPRINGFIELD^IL^62701^USA^H",
            (
                XAD(
                    street="12 MAIN ST",
                    other="APT 4",
                    city="SPRINGFIELD",
                    state="IL",
                    zip="62701",
                    country="USA",
                    type="H",
                ),
            ),
        ),
        ("12 MAIN ST&MAIN ST&12", (XAD(street="12 MAIN ST"),)),
        ("&MAIN ST&12^^X", (XAD(street="12 MAIN ST", city="X"),)),
        ("&MAIN ST", (XAD(street="MAIN ST"),)),
        ("^^BRYN & MAWR", (XAD(city="BRYN & MAWR"),)),
        ("^^^^62701", (XAD(zip="62701"),)),
    ],
)
def test_addresses(field: str, expected: tuple[XAD, ...]) -> None:
    assert read_xad(_read(field)[1], 1) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("(217)555-0100", (XTN(number="(217)555-0100"),)),
        ("(217)555-0100X12^PRN^PH", (XTN(number="(217)555-0100X12", use="PRN", equipment="PH"),)),
        (
            "^PRN^PH^^1^217^5550100^12",
            (
                XTN(
                    number="+1 217 5550100 x12",
                    use="PRN",
                    equipment="PH",
                    country="1",
                    area="217",
                    local="5550100",
                    extension="12",
                ),
            ),
        ),
        ("^^^^+1^217^5550100", (XTN(number="+1 217 5550100", country="+1", area="217", local="5550100"),)),
        ("^^^^^217^5550100", (XTN(number="217 5550100", area="217", local="5550100"),)),
        ("^^^^^217", (XTN(area="217"),)),
        ("^^^^^217^5550100^^^^^+12175550100", (XTN(number="+12175550100", area="217", local="5550100"),)),
        ("^NET^Internet^jo@example.org", (XTN(use="NET", equipment="Internet", email="jo@example.org"),)),
        ("jo@example.org^NET", (XTN(email="jo@example.org", use="NET"),)),
        ("x@example.org^NET^^jo@example.org", (XTN(email="jo@example.org", use="NET"),)),
        ("N/A", (XTN(number="N/A"),)),
        ('""', ()),
        ("1~2", (XTN(number="1"), XTN(number="2"))),
    ],
)
def test_telephone_numbers_and_addresses_of_email(field: str, expected: tuple[XTN, ...]) -> None:
    assert read_xtn(_read(field)[1], 1) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("01", (CWE(code="01"),)),
        ("J44.1^COPD & more^I10", (CWE(code="J44.1", text="COPD & more", system="I10"),)),
        ("^Exacerbation", (CWE(text="Exacerbation"),)),
        ("SPO^Spouse^HL70063^X^Y^Z", (CWE(code="SPO", text="Spouse", system="HL70063"),)),
    ],
)
def test_coded_values(field: str, expected: tuple[CWE, ...]) -> None:
    assert read_cwe(_read(field)[1], 1) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("4W^412^A^MERCY&1.2&ISO^^N^MAIN^4", (PL(point_of_care="4W", room="412", bed="A", facility="MERCY"),)),
        ("ED", (PL(point_of_care="ED"),)),
        ("^^^MERCY", (PL(facility="MERCY"),)),
    ],
)
def test_locations(field: str, expected: tuple[PL, ...]) -> None:
    assert read_pl(_read(field)[1], 1) == expected


@pytest.mark.parametrize(
    ("field", "repetition", "local", "precision", "codes"),
    [
        ("20260308", 0, "2026-03-08T00:00", "day", []),
        ("20260308023015^D", 0, "2026-03-08T00:00", "day", []),
        ("20260308~20260309", 1, "2026-03-09T00:00", "day", []),
        ("20260308~20260309^L", 1, "2026-03-01T00:00", "month", []),
        ("2026-03-08", 0, "2026-03-08T00:00", "day", ["timestamp-not-hl7-form"]),
        ("20260230", 0, None, None, ["timestamp-not-a-date"]),
    ],
)
def test_a_time_is_read_with_what_is_wrong_with_it(
    field: str, repetition: int, local: str | None, precision: str | None, codes: list[str]
) -> None:
    message, segment = _read(field)
    timestamp = read_timestamp(segment, 1, repetition=repetition)
    assert timestamp is not None
    assert timestamp.local == (datetime.fromisoformat(local) if local else None)
    assert timestamp.precision == precision
    assert [(finding.code, finding.where) for finding in message.findings] == [(code, "ZZZ-1") for code in codes]


@pytest.mark.parametrize("field", ["", '""', "^D", "   "])
def test_a_field_without_a_time_has_none(field: str) -> None:
    assert read_timestamp(_read(field)[1], 1) is None


def test_a_field_of_endless_repetitions_is_read_up_to_a_limit_in_bounded_time() -> None:
    message, segment = _read("1~" * 500_000)
    started = time.process_time()
    assert len(read_cx(segment, 1)) == REPETITIONS_MAX
    assert time.process_time() - started < 1  # some 5 ms; without the limit two seconds
    assert message.findings == (Finding(code="repetitions-left-out", where="ZZZ-1"),)


def test_unusual_delimiters_take_data_types_apart() -> None:
    message = parse(b"MSH#!@%*#A##########\rZZZ#1!!!M*2!MR@2!!!N%T%O\r")
    segment = message.first("ZZZ")
    assert segment is not None
    assert read_cx(segment, 1) == (
        CX(id="1", authority="M", authority_id="2", type="MR"),
        CX(id="2", authority="N*O"),
    )


@given(st.text(alphabet='ab1@^~\\&"|TXE .+-20', max_size=60))
def test_any_field_can_be_read_as_any_type(field: str) -> None:
    _, segment = _read(field)
    for read in (read_cx, read_xpn, read_xad, read_xtn, read_cwe, read_pl):
        assert len(read(segment, 1)) <= len(segment.repetitions(1))
    read_timestamp(segment, 1)
