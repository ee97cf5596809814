"""Goal: a repeating field as rows of components, fast for plain text and right for any."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.hl7.message import Message, parse
from services.ingest.hl7.segment import ESCAPES_MAX, ROW_COMPONENTS, ROWS_MAX, Segment


def read(field: str, separators: str = "|^~\\&") -> tuple[Message, Segment]:
    mark = separators[0]
    message = parse(f"MSH{separators}{mark}A\rZZZ{mark}{field}\r".encode())
    segment = message.first("ZZZ")
    assert segment is not None
    return message, segment


def rows(field: str, *parted: int) -> list[list[str]]:
    """Return the rows of a field without their padding."""
    found = read(field)[1].rows(1, frozenset(parted))
    assert all(len(row) >= ROW_COMPONENTS for row in found)
    return ["^".join(row).rstrip("^").split("^") for row in found]


@pytest.mark.parametrize(
    ("field", "parted", "expected"),
    [
        ("", (), []),
        ("A", (), [["A"]]),
        ("A^B^^D", (), [["A", "B", "", "D"]]),
        ("A~B^C", (), [["A"], ["B", "C"]]),
        ("~A", (), [[""], ["A"]]),
        ('""', (), [[""]]),
        ('A^""^C', (), [["A", "", "C"]]),
        ('"Bob"', (), [['"Bob"']]),
        ("A & B^C&D", (), [["A & B", "C&D"]]),
        ("A & B^C&D", (2,), [["A & B", "C"]]),
        ("X^&D&E", (2,), [["X", "D"]]),
        ('X^""&D', (2,), [["X", "D"]]),
        ("X^&", (2,), [["X"]]),
        (r"A\T\B^C", (1,), [["A&B", "C"]]),
        (r"A\R\B", (), [["A~B"]]),
    ],
)
def test_rows(field: str, parted: tuple[int, ...], expected: list[list[str]]) -> None:
    assert rows(field, *parted) == expected


def test_an_escaped_separator_is_text() -> None:
    assert read(r"A\S\B")[1].rows(1)[0][:2] == ["A^B", ""]


def test_what_is_not_there_has_no_rows() -> None:
    assert list(read("A")[1].rows(7)) == []


def test_a_wrong_escape_is_kept_and_noted() -> None:
    message, segment = read("A\\Q~B")
    assert [row[0] for row in segment.rows(1)] == ["A\\Q", "B"]
    assert [one.where for one in message.findings] == ["ZZZ-1"]


def test_unusual_separators_take_rows_apart() -> None:
    _, segment = read("1!2@3*4!5", "#!@%*")
    assert [row[:2] for row in segment.rows(1, frozenset({1}))] == [["1", "2"], ["3", "5"]]


def test_endless_repetitions_are_read_up_to_a_limit_in_bounded_time() -> None:
    message, segment = read("1~" * 500_000)
    started = time.process_time()
    assert len(segment.rows(1)) == ROWS_MAX
    assert time.process_time() - started < 1  # some 2 ms
    assert [one.code for one in message.findings] == ["repetitions-left-out"]


def test_more_escapes_than_any_message_has_are_left_in_and_noted() -> None:
    message, segment = read("\\T\\" * ESCAPES_MAX)
    assert segment.component(1) == "\\T\\" * ESCAPES_MAX
    assert [(one.code, one.where) for one in message.findings] == [("escapes-left-in", "ZZZ-1")]
    assert read("\\T\\" * (ESCAPES_MAX // 2))[1].component(1) == "&" * (ESCAPES_MAX // 2)


def test_the_first_segments_of_a_name_are_built_without_the_rest() -> None:
    message = parse(b"MSH|^~\\&|A\r" + b"".join(b"NK1|%d\r" % number for number in range(500)))
    assert message.count("NK1") == 500
    assert message.count("PID") == 0
    assert [one.field(1) for one in message.some("NK1", 3)] == ["0", "1", "2"]
    assert [one.number for one in message.some("NK1", 3)] == [1, 2, 3]
    assert len(message.some("NK1", 1_000)) == 500
    assert list(message.some("PID", 3)) == []
    first = message.first("NK1")
    assert first is not None
    assert first.field(1) == "0"


@given(st.text(alphabet='ab1^~\\&|"TXE .+-', max_size=60))
def test_rows_say_what_single_values_say(field: str) -> None:
    _, segment = read(field)
    for number, row in enumerate(segment.rows(1)):
        for component in range(1, 5):
            assert row[component - 1] == segment.component(1, component, subcomponent=0, repetition=number)
