"""Acknowledgements in original mode (HL7 v2.5.1 ch. 2.9.2, MSA 2.15.8, ERR 2.15.5; tables 0008 and 0357).

Owns the bytes of the one answer to a message. Promises:

- The answer is in the sender's delimiters and in the charset the message was decoded with.
- MSA-2 is the sender's MSH-10 as it was sent, and so are the other fields echoed: already escaped, never escaped twice.
- Nothing a sender wrote can forge a segment, a field or the end of a frame: field separators and segment ends cannot be
  in a field, and control characters (an MLLP end byte before our CR would end the frame) are taken out.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from services.ingest.hl7.delimiters import DEFAULT_DELIMITERS, Delimiters, escape
from services.ingest.hl7.message import Message

AckCode = Literal["AA", "AE", "AR"]
"""Table 0008: accepted, error, rejected."""
Refusal = Literal["AE", "AR"]

ERROR_TEXTS: Final = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""Table 0357."""

_ERR_1_BEFORE: Final = (2, 5)  # ERR-1 is what there is up to 2.4; ERR-2 to ERR-4 came with 2.5
_VERSION: Final = re.compile(r"\s*([0-9]+)\.([0-9]+)")
_LOCATION: Final = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[([0-9]+)\])?(?:-([0-9]+))?")
# C0, DEL, C1 and Unicode's line and paragraph separators, at which some receivers split lines too.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_REFUSED_VERSION: Final = "2.5.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AckError:
    """What is wrong with a message: a code of table 0357, where (``PID-3``, ``NK1[2]-5``, ``MSH``), and advice."""

    code: str
    location: str | None = None
    text: str | None = None


def build_ack(
    message: Message,
    *,
    code: AckCode,
    control_id: str,
    sent_at: datetime,
    error: AckError | None = None,
    text: str | None = None,
) -> bytes:
    """Return the acknowledgement of a message, segments ended by CR, without a frame.

    Args:
        message: The message that is answered.
        code: MSA-1.
        control_id: Our own MSH-10.
        sent_at: MSH-7; aware.
        error: What the ERR segment of a refusal says.
        text: MSA-3.
    """
    assert sent_at.tzinfo is not None, "MSH-7 states its offset"
    raw = message.header.field
    marks = message.delimiters
    separator = marks.field
    trigger = raw(9).partition(marks.repetition)[0].split(marks.component, 2)[1:2]
    kind = f"ACK{marks.component}{trigger[0]}" if trigger and trigger[0] else "ACK"
    head = separator.join(
        (
            f"MSH{separator}{marks.encoding}",
            raw(5),
            raw(6),
            raw(3),
            raw(4),
            sent_at.strftime("%Y%m%d%H%M%S%z"),
            "",
            kind,
            control_id,
            raw(11),
            raw(12),
        )
    )
    charset_label = raw(18)
    if charset_label:
        head += separator * 6 + charset_label
    answer = f"MSA{separator}{code}{separator}{raw(10)}"
    if text:
        answer += separator + escape(text, marks)
    segments = [head, answer]
    if error is not None:
        segments.append(_build_err(error, marks, raw(12)))
    return _encode(segments, message.charset)


def build_bare_refusal(
    *, control_id: str, sent_at: datetime, error: AckError, code: Refusal = "AR", text: str | None = None
) -> bytes:
    """Return the refusal of what has no readable header: usual delimiters, nobody addressed, MSA-2 empty."""
    assert sent_at.tzinfo is not None, "MSH-7 states its offset"
    marks = DEFAULT_DELIMITERS
    time = sent_at.strftime("%Y%m%d%H%M%S%z")
    segments = [
        f"MSH|{marks.encoding}|||||{time}||ACK|{control_id}|P|{_REFUSED_VERSION}",
        f"MSA|{code}||{escape(text, marks)}" if text else f"MSA|{code}|",
        _build_err(error, marks, _REFUSED_VERSION),
    ]
    return _encode(segments, "ascii")


def _encode(segments: list[str], charset: str) -> bytes:
    # A header has no control characters but by mischief: look first, it is ten times cheaper than taking them out.
    if not all(map(str.isprintable, segments)):
        segments = [_CONTROLS.sub("", segment) for segment in segments]
    # What the sender wrote is in its charset; only words of ours may not be, and those are advice.
    return "\r".join((*segments, "")).encode(charset, errors="replace")


def _build_err(error: AckError, marks: Delimiters, version: str) -> str:
    found = _LOCATION.fullmatch(error.location or "")
    segment, sequence, field = found.groups(default="") if found else ("", "", "")
    place = [segment, sequence or ("1" if segment else ""), field]
    words = escape(ERROR_TEXTS.get(error.code, ""), marks)
    if _version_of(version) < _ERR_1_BEFORE:
        coded = marks.subcomponent.join((error.code, words, "HL70357"))
        return f"ERR{marks.field}{marks.component.join((*place, coded))}"
    coded = marks.component.join((error.code, words, "HL70357"))
    place = place[: 3 if field else 2] if segment else []
    fields = ["ERR", "", marks.component.join(place), coded, "E"]
    if error.text:
        fields += ["", "", "", escape(error.text, marks)]  # ERR-8, the message for the user
    return marks.field.join(fields)


def _version_of(text: str) -> tuple[int, int]:
    """Read MSH-12.1; what cannot be read counts as 2.5."""
    found = _VERSION.match(text)
    return (int(found[1]), int(found[2])) if found else _ERR_1_BEFORE
