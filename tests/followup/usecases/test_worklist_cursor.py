import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.usecases.worklist_cursor import (
    CURSOR_CHARS_MAX,
    START,
    Position,
    decode_cursor,
    encode_cursor,
)

microseconds = st.integers(0, 4_000_000_000_000_000)


@given(us=microseconds, task_id=st.text(max_size=40))
def test_a_cursor_gives_back_its_position_and_is_safe_in_an_address(us: int, task_id: str) -> None:
    position = Position(
        due_at=datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000), task_id=task_id
    )
    text = encode_cursor(position)
    if len(text) <= CURSOR_CHARS_MAX:
        assert decode_cursor(text) == position
    assert all(character.isalnum() or character in "-_" for character in text)


def test_an_id_of_ours_always_fits() -> None:
    assert len(encode_cursor(Position(due_at=datetime.max.replace(tzinfo=UTC), task_id="x" * 64))) <= CURSOR_CHARS_MAX


def test_the_start_comes_before_every_deadline() -> None:
    assert START.due_at < datetime(1900, 1, 1, tzinfo=UTC)
    assert START.task_id < "0"


def packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "not a cursor",
        "é",
        "\ud800",
        "A" * (CURSOR_CHARS_MAX + 1),
        packed("[]"),
        packed("[1]"),
        packed('[2, 0, "T1"]'),
        packed('[1, "0", "T1"]'),
        packed("[1, 0, 7]"),
        packed('[1, 99999999999999999999999, "T1"]'),
        packed('[1, 9223372036854775807, "T1"]'),
        packed('[1, -9223372036854775808, "T1"]'),
        packed('{"due_at": 1}'),
        packed("[" * 150),
    ],
)
def test_what_was_not_made_here_is_no_cursor(text: str) -> None:
    assert decode_cursor(text) is None


@given(st.text(max_size=CURSOR_CHARS_MAX))
def test_any_text_is_a_position_or_none(text: str) -> None:
    assert decode_cursor(text) is None or isinstance(decode_cursor(text), Position)
