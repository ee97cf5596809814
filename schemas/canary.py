"""The canary: a message that goes all the way, from a sender to the database, and can never make a task.

It cannot by construction, and not by a check that somebody might forget: its message type is no ADT, so intake makes an
event of its header alone (no patient, no visit, kind ``other``, not for us), and such an event is never joined into
anything. The name of its type only decides how it is counted. So nothing is won by forging one either: a message that
says it is a canary is one that nobody would have followed up anyway.

HL7 v2.5.1 ch. 2.11: message types and triggers that begin with Z are for local use.
"""

from datetime import datetime
from typing import Final

from schemas.events import AdtEvent

CANARY_TYPE: Final = "ZCN"
"""MSH-9.1."""
CANARY_TRIGGER: Final = "Z01"
CANARY_APPLICATION: Final = "AFTERSTAY"
"""MSH-3.1; with the facility it names a sender that no feed should."""
CANARY_FACILITY: Final = "CANARY"
TOKEN_CHARS: Final = 16
"""Hexadecimal digits: nobody guesses one, and MSH-10 holds 20 characters up to v2.7."""

_CONTROL_PREFIX: Final = "ASC-"


def canary_control_id(token: str) -> str:
    """Return the control id (MSH-10) of the canary with this token."""
    assert len(token) == TOKEN_CHARS, "a token has the length that MSH-10 leaves"
    return f"{_CONTROL_PREFIX}{token}"


def canary_message(control_id: str, sent_at: datetime) -> bytes:
    """Return a canary as it goes into a frame."""
    fields = (
        "MSH", "^~\\&", CANARY_APPLICATION, CANARY_FACILITY, "", "", sent_at.strftime("%Y%m%d%H%M%S%z"), "",
        f"{CANARY_TYPE}^{CANARY_TRIGGER}", control_id, "P", "2.5.1",
    )  # fmt: skip
    return ("|".join(fields) + "\r").encode("ascii")


def is_canary(event: AdtEvent) -> bool:
    """Tell whether an event is that of a canary; it is then not for us, and of no patient."""
    return (
        event.message_type == CANARY_TYPE
        and event.intake.outcome == "not_for_us"
        and (event.control_id or "").startswith(_CONTROL_PREFIX)
    )
