"""The place in a worklist where a page ends: opaque text for clients, a deadline and an id for us.

Promise: pages follow the order (`due_at`, `id`), so rows that come or go between two pages neither repeat nor hide
another row. What was not made here is refused, whatever it is.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

CURSOR_CHARS_MAX: Final = 200  # twice what an id of 64 characters takes

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The last task seen: its deadline (UTC) and id."""

    due_at: datetime
    task_id: str


START: Final = Position(due_at=datetime.min.replace(tzinfo=UTC), task_id="")
"""Before every task. A page always starts after a position, so that it is always one search in the index."""

_Cursor = tuple[Literal[1], int, str]  # the version of this notation, microseconds since 1970, id


def encode_cursor(position: Position) -> str:
    """Return the text that stands for a position."""
    due_us = (position.due_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(msgspec.json.encode((1, due_us, position.task_id))).decode().rstrip("=")


def decode_cursor(text: str) -> Position | None:
    """Return the position that a text stands for, or `None` if it stands for none."""
    if len(text) > CURSOR_CHARS_MAX:
        return None
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        _, due_us, task_id = msgspec.json.decode(packed, type=_Cursor)
        return Position(due_at=_EPOCH + timedelta(microseconds=due_us), task_id=task_id)
    except (binascii.Error, ValueError, OverflowError):
        return None
