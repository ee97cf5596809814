"""HL7 timestamps as written: local time, precision, stated offset; never an instant, never an exception.

Owns the reading of TS and DTM (HL7 v2.5.1 ch. 2.A.77 and 2.A.22), with the degree-of-precision component of older
versions and what senders write instead. Promise: an impossible date gives a value without ``local`` and the finding
`NOT_A_DATE`, an impossible time of day keeps its day and an impossible offset keeps its local time, each with
a finding; the text as sent is always there. In which zone a time without an offset is read is not decided here.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

Precision = Literal["year", "month", "day", "hour", "minute", "second"]

YEAR_MIN: Final = 1800
"""Nobody alive, and no stay, is older; earlier years are slips of the pen."""
YEAR_MAX: Final = 2199
"""Later years (9999) are placeholders for "never"; it also keeps zone arithmetic away from the calendar's end."""
OFFSET_MINUTES_MAX: Final = 14 * 60
"""UTC+14, the Line Islands (IANA Pacific/Kiritimati)."""
OFFSET_MINUTES_MIN: Final = -12 * 60
"""UTC-12, the International Date Line West."""

_LENGTH_MAX: Final = 64  # characters; the longest legal form has 24
_NOT_HL7_FORM: Final = "timestamp-not-hl7-form"
NOT_A_DATE: Final = "timestamp-not-a-date"
_OFFSET: Final = r"(?P<offset>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_HL7: Final = re.compile(rf"(?P<digits>[0-9]{{4,}})(?:\.(?P<fraction>[0-9]*))?{_OFFSET}")
_ISO: Final = re.compile(
    r"(?P<digits>[0-9]{4}(?P<dash>[-/]?)[0-9]{2}(?P=dash)[0-9]{2}(?:[T ][0-9]{2}(?::?[0-9]{2}){0,2})?)"
    rf"(?:[.,](?P<fraction>[0-9]+))? ?{_OFFSET}"
)
_SEPARATORS: Final = str.maketrans("", "", "-/:T ")
# How many digits make which precision (ch. 2.A.22), and the letters of TS.2 (table 0529).
_PRECISIONS: Final[dict[int, Precision]] = {4: "year", 6: "month", 8: "day", 10: "hour", 12: "minute", 14: "second"}
_USUAL: Final[dict[int, Precision]] = {8: "day", 12: "minute", 14: "second"}
_DEGREES: Final = {"Y": 4, "L": 6, "D": 8, "H": 10, "M": 12, "S": 14}
_DAY_DIGITS: Final = 8
_SECOND_DIGITS: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampText:
    """A time as a sender wrote it, without spaces around it.

    ``local`` is the wall-clock time written, missing parts at their lowest, and ``None`` where the text is not a date;
    ``precision`` says which parts were written; ``offset_minutes`` is east of UTC, ``None`` where none was stated.
    ``findings`` are kebab-case codes.
    """

    text: str
    local: datetime | None = None
    precision: Precision | None = None
    offset_minutes: int | None = None
    findings: tuple[str, ...] = ()


def parse_timestamp(text: str, *, degree: str | None = None) -> TimestampText | None:
    """Read a timestamp; ``None`` where there is no text.

    Args:
        text: TS.1 or DTM.
        degree: TS.2, the degree of precision of versions up to 2.4 (``D``: only the day counts).
    """
    written = text.strip()
    if not written:
        return None
    usual = _read_usual(written) if degree is None else None
    if usual is not None:
        return usual
    findings: dict[str, None] = {}
    match = _match(written, findings)
    if match is None:
        return TimestampText(text=written, findings=(NOT_A_DATE,))
    digits = match["digits"].translate(_SEPARATORS)
    if match["fraction"] and len(digits) < _SECOND_DIGITS:
        findings["timestamp-malformed"] = None
    local = _read_local(digits, _usable_length(digits, degree, findings), findings)
    if local is None:
        return TimestampText(text=written, findings=(*findings, NOT_A_DATE))
    when, length = local
    fraction = match["fraction"] or digits[_SECOND_DIGITS:]
    if fraction and length == _SECOND_DIGITS:
        when = when.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    offset, faults = _read_offset(match["offset"] or "")
    return TimestampText(
        text=written,
        local=when,
        precision=_PRECISIONS[length],
        offset_minutes=offset,
        findings=tuple(dict.fromkeys((*findings, *faults))),
    )


def _read_usual(text: str) -> TimestampText | None:
    """Read what nine in ten are, a sound YYYYMMDD[HHMM[SS]][+ZZZZ], at a third of the cost; ``None`` for any other."""
    digits, offset = (text[:-5], text[-5:]) if text[-5:-4] in ("+", "-") else (text, "")
    precision = _USUAL.get(len(digits))
    sound = text.isascii() and (digits + offset[1:]).isdigit()
    if precision is None or not sound or digits[8:10] == "24":
        return None
    try:
        local = datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}" if len(digits) > _DAY_DIGITS else digits)
    except ValueError:
        return None
    offset_minutes, faults = _read_offset(offset)
    if faults or not YEAR_MIN <= local.year <= YEAR_MAX:
        return None
    return TimestampText(text=text, local=local, precision=precision, offset_minutes=offset_minutes)


def _match(written: str, findings: dict[str, None]) -> re.Match[str] | None:
    if len(written) > _LENGTH_MAX:
        return None
    match = _HL7.fullmatch(written)
    if match is None:
        match = _ISO.fullmatch(written)
        findings[_NOT_HL7_FORM] = None
    return match


def _usable_length(digits: str, degree: str | None, findings: dict[str, None]) -> int:
    """Return how many digits to read: whole pairs, no more than the degree says, noting what is left over."""
    length = min(len(digits) - len(digits) % 2, _SECOND_DIGITS)
    if length != len(digits):
        findings["timestamp-malformed"] = None
    return min(length, _DEGREES.get(degree or "S", _SECOND_DIGITS))


def _read_local(digits: str, length: int, findings: dict[str, None]) -> tuple[datetime, int] | None:
    """Return the local time and how many digits of it are sound; ``None`` where not even the date is."""
    year, month, day = int(digits[:4]), int(digits[4:6] or 1), int(digits[6:8] or 1)
    if length < _DAY_DIGITS:
        day = 1
    if len(digits) in (5, 7) or not YEAR_MIN <= year <= YEAR_MAX:
        return None
    try:
        midnight = datetime(year, month if length > 4 else 1, day)  # noqa: DTZ001 - as written; the zone is not known here
    except ValueError:
        return None
    hour, minute, second = (int(digits[at : at + 2]) if length > at else 0 for at in (8, 10, 12))
    if (hour, minute, second) == (24, 0, 0):
        findings["timestamp-hour-24"] = None
        return midnight + timedelta(days=1), length
    if second == 60:
        findings["timestamp-leap-second"] = None  # kept on its own day
        second = 59
    if hour > 23 or minute > 59 or second > 59:
        findings["timestamp-time-impossible"] = None
        return midnight, _DAY_DIGITS
    return midnight.replace(hour=hour, minute=minute, second=second), length


@lru_cache(maxsize=256)
def _read_offset(offset: str) -> tuple[int | None, tuple[str, ...]]:
    """Return minutes east of UTC, ``None`` where none is stated or it is impossible, and findings."""
    if not offset:
        return None, ()
    if offset == "Z":
        return 0, (_NOT_HL7_FORM,)
    digits = offset[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    signed = (hours * 60 + minutes) * (-1 if offset.startswith("-") else 1)
    if minutes > 59 or not OFFSET_MINUTES_MIN <= signed <= OFFSET_MINUTES_MAX:
        return None, ("timestamp-offset-impossible",)
    return signed, () if offset[1:].isdigit() and len(offset) == len("+ZZZZ") else (_NOT_HL7_FORM,)
