"""HL7 v2 data types read from a segment's field: CX, XPN, XAD, XTN, CE/CWE, PL and TS/DTM (HL7 v2.5.1 ch. 2.A).

Owns which component means what. Promise: every reader takes whatever a sender wrote; absent, empty and null (``""``)
components are ``None`` (ask the segment's ``is_null`` about the field), a repetition with nothing in it is left out, no
field costs more than `REPETITIONS_MAX` of them, and what is wrong with a date is a finding of the message.

The types are tuples and plain text has a way of its own (`_Plain`): reading them is most of what intake costs.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from services.ingest.hl7.segment import NULL_TEXT, Segment
from services.ingest.hl7.timestamps import TimestampText, parse_timestamp

REPETITIONS_MAX: Final = 1_000
"""Read of one field: a thousand identifiers cost some 4 ms (B33), and no person has as many."""

_T = TypeVar("_T")


class CX(NamedTuple):
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


class XPN(NamedTuple):
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


class XAD(NamedTuple):
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


class XTN(NamedTuple):
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


class CWE(NamedTuple):
    """Coded element, CE as well (ch. 2.A.6 and 2.A.13)."""

    code: str | None = None
    text: str | None = None
    system: str | None = None


class PL(NamedTuple):
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


_Plain = list[str]
"""The components of a repetition without escapes, subcomponents and nulls, padded: nine in ten are of this kind."""
_PADDING: Final = ("",) * 12  # XTN.12 is the last component that is read


def read_cx(segment: Segment, field: int) -> tuple[CX, ...]:
    """Read identifiers, in the order written."""
    return _read_all(segment, field, _cx, _plain_cx)


def read_xpn(segment: Segment, field: int) -> tuple[XPN, ...]:
    """Read names, in the order written."""
    return _read_all(segment, field, _xpn, _plain_xpn)


def read_xad(segment: Segment, field: int) -> tuple[XAD, ...]:
    """Read addresses, in the order written."""
    return _read_all(segment, field, _xad, _plain_xad)


def read_xtn(segment: Segment, field: int) -> tuple[XTN, ...]:
    """Read telephone numbers and addresses of e-mail, in the order written."""
    return _read_all(segment, field, _xtn, _plain_xtn)


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


def _read_all(
    segment: Segment,
    field: int,
    read: Callable[[_Row], _T | None],
    read_plain: Callable[[_Plain, Segment, int], _T | None] | None = None,
) -> tuple[_T, ...]:
    text = segment.field(field)
    if not text:
        return ()
    marks = segment.delimiters
    written = text.split(marks.repetition) if marks.repetition in text else [text]
    if len(written) > REPETITIONS_MAX:
        segment.note("repetitions-left-out", field)
        del written[REPETITIONS_MAX:]
    if read_plain is None or marks.escape in text or marks.subcomponent in text or NULL_TEXT[0] in text:
        nothing = marks.component + marks.subcomponent + NULL_TEXT[0]
        rows = [_Row(segment, field, one) for one in written if one.strip(nothing)]
        return tuple([value for row in rows if (value := read(row)) is not None])
    mark = marks.component
    values: list[_T] = []
    for one in written:
        if one.strip(mark):
            row = one.split(mark)
            row += _PADDING
            if (value := read_plain(row, segment, field)) is not None:
                values.append(value)
    return tuple(values)


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


def _plain_cx(row: _Plain, segment: Segment, field: int) -> CX | None:
    if not row[0]:
        return None
    return CX(
        row[0],
        row[3] or None,
        None,
        None,
        row[4] or None,
        row[5] or None,
        _noted(parse_timestamp(row[6]), segment, field) if row[6] else None,
        _noted(parse_timestamp(row[7]), segment, field) if row[7] else None,
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


def _plain_xpn(row: _Plain, _segment: Segment, _field: int) -> XPN:
    return XPN(row[0] or None, None, row[1] or None, row[2] or None, row[3] or None, row[4] or None, row[6] or None)


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


def _plain_xad(row: _Plain, _segment: Segment, _field: int) -> XAD:
    return XAD(
        row[0] or None,
        row[1] or None,
        row[2] or None,
        row[3] or None,
        row[4] or None,
        row[5] or None,
        row[6] or None,
    )


def _xtn(row: _Row) -> XTN:
    return _dialable([row.whole(component) or "" for component in range(1, len(_PADDING) + 1)])


def _plain_xtn(row: _Plain, _segment: Segment, _field: int) -> XTN:
    return _dialable(row)


def _dialable(row: _Plain) -> XTN:
    written, email = row[0], row[3]
    if "@" in written:
        email, written = email or written, ""
    return XTN(
        written or row[11] or _dialed(*row[4:8]),
        row[1] or None,
        row[2] or None,
        email or None,
        row[4] or None,
        row[5] or None,
        row[6] or None,
        row[7] or None,
    )


def _dialed(country: str, area: str, local: str, extension: str) -> str | None:
    """Write a number given in parts, ``+1 217 5550100 x12``; there is none without its local part."""
    if not local:
        return None
    prefix = f"+{country.removeprefix('+')}" if country else ""
    suffix = f"x{extension}" if extension else ""
    return " ".join(part for part in (prefix, area, local, suffix) if part)


def _cwe(row: _Row) -> CWE:
    return CWE(code=row.part(1), text=row.whole(2), system=row.whole(3))


def _pl(row: _Row) -> PL:
    return PL(point_of_care=row.part(1), room=row.whole(2), bed=row.whole(3), facility=row.part(4))
