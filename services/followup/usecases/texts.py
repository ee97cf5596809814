"""Text from outside, so that every database keeps it alike.

PostgreSQL refuses what SQLite takes: the character NUL in a text. One message with it would undo the batch that it is
in, on one of the two. Where messages and people's words come in, NUL becomes U+FFFD, on both; the bytes as received
stay as they are. Source: PostgreSQL 15, 8.3 "Character Types"; RFC 8259 §7.
"""

import re
from typing import Final

from schemas.events import AdtEvent, decode_event, encode_event

NUL: Final = "\x00"
REPLACEMENT: Final = "�"
ESCAPED_NUL: Final = b"\\u0000"
_ESCAPED: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def without_nul(text: str) -> str:
    """Return text without NUL."""
    return text.replace(NUL, REPLACEMENT)


def decode_storable(value: bytes) -> AdtEvent:
    """Return the event of a record's value, without NUL in any text.

    Raises:
        ValueError: it is not an AdtEvent v1.
    """
    if ESCAPED_NUL in value:  # hardly ever
        value = _ESCAPED.sub(rb"\1" + REPLACEMENT.encode(), value)
    return decode_event(value)


def storable(event: AdtEvent) -> AdtEvent:
    """Return an event without NUL in any text."""
    value = encode_event(event)
    return decode_storable(value) if ESCAPED_NUL in value else event
