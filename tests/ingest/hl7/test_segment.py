"""Goal: a value is read as HL7's rules for fields, repetitions, components and null say, and reading never fails."""

import pytest

from services.ingest.hl7.delimiters import DEFAULT_DELIMITERS, Delimiters
from services.ingest.hl7.segment import FINDINGS_MAX, NULL, Finding, HeaderSegment, Reading, Segment, Value


def _segment(line: str, *, number: int = 1) -> Segment:
    return Segment(Reading(DEFAULT_DELIMITERS, "utf-8"), line[:3], line, number)


@pytest.mark.parametrize(
    ("field", "at", "expected"),
    [
        # (component, subcomponent, repetition)
        ("abc", (1, 1, 0), "abc"),
        ("abc", (2, 1, 0), None),
        ("abc", (1, 2, 0), None),
        ("abc", (1, 1, 1), None),
        ("abc", (0, 0, 0), "abc"),
        ("a b", (1, 1, 0), "a b"),
        ("a b", (2, 1, 0), None),
        ("a b", (1, 2, 0), None),
        ("a b", (1, 1, 1), None),
        ("", (1, 1, 0), None),
        ("a^b^c", (1, 1, 0), "a"),
        ("a^b^c", (2, 1, 0), "b"),
        ("a^b^c", (3, 1, 0), "c"),
        ("a^b^c", (4, 1, 0), None),
        ("^b", (1, 1, 0), None),
        ("a^^c", (2, 1, 0), None),
        ("a&b^c&d&e", (1, 1, 0), "a"),
        ("a&b^c&d&e", (1, 2, 0), "b"),
        ("a&b^c&d&e", (2, 3, 0), "e"),
        ("a&b^c&d&e", (2, 4, 0), None),
        ("a&b^c&d&e", (3, 1, 0), None),
        ("a^b~c^d", (1, 1, 0), "a"),
        ("a^b~c^d", (1, 1, 1), "c"),
        ("a^b~c^d", (2, 1, 1), "d"),
        ("a^b~c^d", (1, 1, 2), None),
        ("~c", (1, 1, 0), None),
        ("~c", (1, 1, 1), "c"),
        # whole repetitions and components, for delimiters that a sender left unescaped
        ("Smith & Sons", (1, 1, 0), "Smith "),
        ("Smith & Sons", (1, 0, 0), "Smith & Sons"),
        ("a^Smith & Sons", (2, 0, 0), "Smith & Sons"),
        ("up ^ down & out~x", (0, 0, 0), "up ^ down & out"),
        ("up ^ down & out~x", (0, 1, 0), "up ^ down & out"),
        # null is not empty
        ('""', (1, 1, 0), NULL),
        ('a^""', (2, 1, 0), NULL),
        ('a~""', (1, 1, 1), NULL),
        ('a^b&""', (2, 2, 0), NULL),
        ('"a"', (1, 1, 0), '"a"'),
        # escapes are resolved after splitting
        (r"a\S\b^c", (1, 1, 0), "a^b"),
        (r"A \T\ B", (1, 1, 0), "A & B"),
        ("half\\", (1, 1, 0), "half\\"),
    ],
)
def test_a_value_is_read_by_position(field: str, at: tuple[int, int, int], expected: Value) -> None:
    component, subcomponent, repetition = at
    segment = _segment(f"ZZZ|x|{field}|y")
    assert segment.value(2, component, subcomponent, repetition) == expected
    text = expected if isinstance(expected, str) else ""
    assert segment.component(2, component, subcomponent=subcomponent, repetition=repetition) == text


def test_a_field_beyond_the_end_is_absent() -> None:
    segment = _segment("PID|1")
    assert segment.value(2) is None
    assert segment.field(2) == ""
    assert segment.repetitions(2) == []
    assert not segment.is_null(2)
    assert len(segment) == 1


def test_a_segment_of_nothing_but_its_name_has_no_fields() -> None:
    segment = _segment("PID")
    assert len(segment) == 0
    assert segment.value(1) is None


def test_raw_text_is_given_as_it_was_sent() -> None:
    segment = _segment(r"PID|1||A\T\B^^^X&1~C||")
    assert segment.field(3) == r"A\T\B^^^X&1~C"
    assert segment.repetitions(3) == [r"A\T\B^^^X&1", "C"]
    assert segment.repetitions(4) == []
    assert len(segment) == 5


@pytest.mark.parametrize(
    ("field", "null"),
    [
        ('""', True),
        ('""^""', True),
        ('""~""', True),
        ('""&', True),
        ("", False),
        ('""^a', False),
        ("a", False),
        ('"', False),
    ],
)
def test_a_field_is_null_where_it_holds_nulls_and_nothing_else(field: str, null: bool) -> None:
    assert _segment(f"PV1|{field}").is_null(1) is null


def test_a_broken_escape_is_found_when_it_is_looked_at() -> None:
    reading = Reading(DEFAULT_DELIMITERS, "utf-8")
    segment = Segment(reading, "NK1", "NK1|1|Do\\e^Jo\\", 2)
    assert segment.value(1) == "1"
    assert not reading.findings
    assert segment.value(2) == "Do\\e"
    assert segment.value(2, 2) == "Jo\\"
    assert reading.findings == (Finding(code="escape-lone", where="NK1[2]-2"),)


def test_findings_are_kept_once_and_no_more_than_the_limit() -> None:
    reading = Reading(DEFAULT_DELIMITERS, "ascii")
    for number in range(2 * FINDINGS_MAX):
        reading.note("escape-lone", f"ZZZ-{number}")
        reading.note("escape-lone", "ZZZ-0")
    assert len(reading.findings) == FINDINGS_MAX


def test_the_header_counts_its_separator_as_field_1_and_never_splits_field_2() -> None:
    header = HeaderSegment(Reading(DEFAULT_DELIMITERS, "ascii"), r"MSH|^~\&|APP^1|FAC")
    assert header.id == "MSH"
    assert [header.value(field) for field in (1, 2, 3, 4, 5)] == ["|", r"^~\&", "APP", "FAC", None]
    assert [header.component(field) for field in (1, 2, 3)] == ["|", r"^~\&", "APP"]
    assert header.repetitions(1) == ["|"]
    assert header.repetitions(2) == [r"^~\&"]
    assert header.repetitions(3) == ["APP^1"]
    assert header.value(3, 2) == "1"
    assert len(header) == 4


def test_unusual_delimiters_take_the_segment_apart() -> None:
    delimiters = Delimiters(field="#", component="!", repetition="@", escape="%", subcomponent="*")
    segment = Segment(Reading(delimiters, "ascii"), "PID", "PID#a!b*c@d%T%|^~")
    assert segment.value(1) == "a"
    assert segment.value(1, 2, 2) == "c"
    assert segment.value(1, repetition=1) == "d*|^~"


def test_a_segment_shows_nothing_of_its_content() -> None:
    assert "DOE" not in repr(_segment("PID|DOE"))
