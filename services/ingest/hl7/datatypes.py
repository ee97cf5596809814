"""HL7 v2 data types read from a segment's field: CX, XPN, XAD, XTN, CE/CWE, PL and TS/DTM (HL7 v2.5.1 ch. 2.A).

Owns which component means what. Promise: every reader takes whatever a sender wrote; absent, empty and null (``""``)
components are ``None`` (ask the segment's ``is_null`` about the field), a repetition with nothing in it is left out, no
field costs more than `REPETITIONS_MAX` of them, and what is wrong with a date is a finding of the message.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from services.ingest.hl7.segment import NULL_TEXT, Segment
from services.ingest.hl7.timestamps import TimestampText, parse_timestamp

REPETITIONS_MAX: Final = 1_000
"""Read of one field: a thousand identifiers cost some 4 ms (B33), and no person has as many."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CX:
    """Extended composite id (ch. 2.A.14)."""

    id: str
    """CX.1; an identifier without a value is none and is left out."""
    authority: str | None = None
    """CX.4.1, the assigning authority's namespace."""
    authority_id: str | None = None
    """CX.4.2, its universal id, such as an OID."""
    authority_id_type: str | None = None
    """CX.4.3, such as ISO."""
    type: str | None = None
    """CX.5 (table 0203)."""
    facility: str | None = None
    """CX.6.1."""
    valid_from: TimestampText | None = None
    """CX.7."""
    valid_to: TimestampText | None = None
    """CX.8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XPN:
    """Extended person name (ch. 2.A.88)."""

    family: str | None = None
    """XPN.1.1, as a rule the whole family name."""
    own_family: str | None = None
    """XPN.1.3, the person's own part of a compound family name."""
    given: str | None = None
    middle: str | None = None
    suffix: str | None = None
    prefix: str | None = None
    type: str | None = None
    """XPN.7 (table 0200)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XAD:
    """Extended address (ch. 2.A.85)."""

    street: str | None = None
    """XAD.1.1, else dwelling number .1.3 and street name .1.2."""
    other: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None
    type: str | None = None
    """XAD.7 (table 0190)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XTN:
    """Extended telecommunication number (ch. 2.A.89)."""

    number: str | None = None
    """XTN.1 as written, else XTN.12, else country, area, local number and extension."""
    use: str | None = None
    """XTN.2 (table 0201)."""
    equipment: str | None = None
    """XTN.3 (table 0202)."""
    email: str | None = None
    """XTN.4, or XTN.1 where that is an address of e-mail and so no number."""
    country: str | None = None
    area: str | None = None
    local: str | None = None
    extension: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CWE:
    """Coded element, CE as well (ch. 2.A.6 and 2.A.13)."""

    code: str | None = None
    text: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PL:
    """Person location (ch. 2.A.53)."""

    point_of_care: str | None = None
    room: str | None = None
    bed: str | None = None
    facility: str | None = None
    """PL.4.1."""


class _Row:
    """One repetition of a field, split into components."""

    __slots__ = ("_components", "_count", "_field", "_mark", "_segment")

    def __init__(self, segment: Segment, field: int, repetition: str) -> None:
        delimiters = segment.delimiters
        self._segment = segment
        self._field = field
        self._mark = delimiters.subcomponent
        self._components = repetition.split(delimiters.component)
        self._count = len(self._components)

    def whole(self, component: int) -> str | None:
        """Return a component that has no parts by its type: a subcomponent delimiter in it is text left unescaped."""
        if component > self._count:
            return None
        raw = self._components[component - 1]
        return self._segment.unescape(raw, self._field) if raw and raw != NULL_TEXT else None

    def part(self, component: int, subcomponent: int = 1) -> str | None:
        if component > self._count:
            return None
        raw = self._components[component - 1]
        if self._mark in raw:
            parts = raw.split(self._mark, subcomponent)
            raw = parts[subcomponent - 1] if subcomponent <= len(parts) else ""
        elif subcomponent > 1:
            return None
        return self._segment.unescape(raw, self._field) if raw and raw != NULL_TEXT else None

    def timestamp(self, component: int) -> TimestampText | None:
        text = self.part(component)
        return _noted(parse_timestamp(text), self._segment, self._field) if text is not None else None


def read_cx(segment: Segment, field: int) -> tuple[CX, ...]:
    """Read identifiers, in the order written."""
    return _read_all(segment, field, _cx)


def read_xpn(segment: Segment, field: int) -> tuple[XPN, ...]:
    """Read names, in the order written."""
    return _read_all(segment, field, _xpn)


def read_xad(segment: Segment, field: int) -> tuple[XAD, ...]:
    """Read addresses, in the order written."""
    return _read_all(segment, field, _xad)


def read_xtn(segment: Segment, field: int) -> tuple[XTN, ...]:
    """Read telephone numbers and addresses of e-mail, in the order written."""
    return _read_all(segment, field, _xtn)


def read_cwe(segment: Segment, field: int) -> tuple[CWE, ...]:
    """Read coded values, in the order written."""
    return _read_all(segment, field, _cwe)


def read_pl(segment: Segment, field: int) -> tuple[PL, ...]:
    """Read locations, in the order written."""
    return _read_all(segment, field, _pl)


def read_timestamp(segment: Segment, field: int, *, repetition: int = 0) -> TimestampText | None:
    """Read a TS or DTM field; ``None`` where it is absent, empty or null. What is wrong with it is noted."""
    text = segment.value(field, repetition=repetition)
    if not isinstance(text, str):
        return None
    degree = segment.component(field, 2, repetition=repetition) or None
    return _noted(parse_timestamp(text, degree=degree), segment, field)


def _read_all(segment: Segment, field: int, read: Callable[[_Row], _T | None]) -> tuple[_T, ...]:
    nothing = segment.delimiters.component + segment.delimiters.subcomponent + NULL_TEXT[0]
    written = segment.repetitions(field)
    if len(written) > REPETITIONS_MAX:
        segment.note("repetitions-left-out", field)
        del written[REPETITIONS_MAX:]
    rows = [_Row(segment, field, text) for text in written if text.strip(nothing)]
    return tuple([value for row in rows if (value := read(row)) is not None])


def _noted(timestamp: TimestampText | None, segment: Segment, field: int) -> TimestampText | None:
    if timestamp is not None:
        for code in timestamp.findings:
            segment.note(code, field)
    return timestamp


def _cx(row: _Row) -> CX | None:
    identifier = row.part(1)
    if identifier is None:
        return None
    return CX(
        id=identifier,
        authority=row.part(4),
        authority_id=row.part(4, 2),
        authority_id_type=row.part(4, 3),
        type=row.whole(5),
        facility=row.part(6),
        valid_from=row.timestamp(7),
        valid_to=row.timestamp(8),
    )


def _xpn(row: _Row) -> XPN:
    return XPN(
        family=row.part(1),
        own_family=row.part(1, 3),
        given=row.whole(2),
        middle=row.whole(3),
        suffix=row.whole(4),
        prefix=row.whole(5),
        type=row.whole(7),
    )


def _xad(row: _Row) -> XAD:
    dwelling = " ".join(part for part in (row.part(1, 3), row.part(1, 2)) if part)
    return XAD(
        street=row.part(1) or dwelling or None,
        other=row.whole(2),
        city=row.whole(3),
        state=row.whole(4),
        zip=row.whole(5),
        country=row.whole(6),
        type=row.whole(7),
    )


def _xtn(row: _Row) -> XTN:
    written = row.whole(1)
    email = row.whole(4)
    country, area, local, extension = (row.whole(component) for component in (5, 6, 7, 8))
    if written is not None and "@" in written:
        email, written = email or written, None
    number = written or row.whole(12) or _dialed(country, area, local, extension)
    return XTN(
        number=number,
        use=row.whole(2),
        equipment=row.whole(3),
        email=email,
        country=country,
        area=area,
        local=local,
        extension=extension,
    )


def _dialed(country: str | None, area: str | None, local: str | None, extension: str | None) -> str | None:
    """Write a number given in parts, ``+1 217 5550100 x12``; there is none without its local part."""
    if local is None:
        return None
    prefix = f"+{country.removeprefix('+')}" if country else None
    suffix = f"x{extension}" if extension else None
    return " ".join(part for part in (prefix, area, local, suffix) if part)


def _cwe(row: _Row) -> CWE:
    return CWE(code=row.part(1), text=row.whole(2), system=row.whole(3))


def _pl(row: _Row) -> PL:
    return PL(point_of_care=row.part(1), room=row.whole(2), bed=row.whole(3), facility=row.part(4))
