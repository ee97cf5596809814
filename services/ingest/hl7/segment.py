"""One segment of an HL7 v2 message: fields, repetitions, components, subcomponents (HL7 v2.5.1 ch. 2.5 and 2.6).

Owns the reading of values out of one line of text. Promise: a segment is split into fields when it is first read and no
further than asked; reading never raises, and what looks like an escape sequence but is none is kept and reported.

Positions count from 1, as HL7 does; repetitions count from 0.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.ingest.hl7.delimiters import Delimiters, unescape

FINDINGS_MAX: Final = 100
"""Findings kept for one message: more say nothing new, and a hostile message must not grow our memory."""

ROWS_MAX: Final = 1_000
"""Repetitions read of one field: a thousand identifiers cost some 2 ms (B33), and no person has as many."""

ESCAPES_MAX: Final = 20_000
"""Escape characters resolved in one message: they cost some 10 ms; a megabyte of them would cost half a second."""

ROW_COMPONENTS: Final = 12
"""What a row of components is padded to: XTN.12 is the last that is read."""

NULL_TEXT: Final = '""'


class Null(enum.Enum):
    """HL7's null, ``""``: the sender deletes the value (ch. 2.5.3). Use the constant `NULL`."""

    NULL = NULL_TEXT


NULL: Final = Null.NULL

Value = str | Null | None
"""A value as read: text, `NULL` where the sender deletes it, ``None`` where it is absent or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was tolerated, guessed or out of order: a stable kebab-case code and where, like ``PID-7``."""

    code: str
    where: str | None = None


class Reading:
    """What the segments of one message share: its delimiters, the charset it was decoded with, and its findings."""

    __slots__ = ("_noted", "charset", "delimiters", "escapes", "marks")

    def __init__(self, delimiters: Delimiters, charset: str) -> None:
        self.delimiters = delimiters
        self.marks = (delimiters.component, delimiters.repetition, delimiters.escape, delimiters.subcomponent)
        self.charset = charset
        self.escapes = 0  # escape characters in what was read so far
        self._noted: dict[tuple[str, str | None], None] = {}

    def note(self, code: str, where: str | None) -> None:
        """Record a finding once."""
        if len(self._noted) < FINDINGS_MAX:
            self._noted[code, where] = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, in the order it was found."""
        return tuple(Finding(code=code, where=where) for code, where in self._noted)


class Segment:
    """A segment, split into fields when first read.

    Attributes:
        id: Its name in capitals, like ``PID``.
        number: Which one of its name it is, from 1.
    """

    __slots__ = ("_fields", "_line", "_marks", "_reading", "id", "number")

    def __init__(self, reading: Reading, segment_id: str, line: str, number: int = 1) -> None:
        self.id = segment_id
        self.number = number
        self._marks = reading.marks
        self._reading = reading
        self._line = line
        self._fields: list[str] | None = None

    @property
    def delimiters(self) -> Delimiters:
        """The message's delimiters."""
        return self._reading.delimiters

    def _split(self) -> list[str]:
        self._fields = fields = self._line.split(self._reading.delimiters.field)
        return fields

    def __len__(self) -> int:
        """The number of fields."""
        return len(self._fields or self._split()) - 1

    def field(self, field: int) -> str:
        """Return the raw text of a field, all repetitions, nothing unescaped; empty where absent."""
        fields = self._fields or self._split()
        return fields[field] if field < len(fields) else ""

    def repetitions(self, field: int) -> list[str]:
        """Return the raw text of each repetition, empty ones too; none where the field is empty."""
        text = self.field(field)
        return text.split(self._reading.delimiters.repetition) if text else []

    def value(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 0) -> Value:
        """Return an unescaped value: ``None`` where absent or empty, `NULL` for ``""``.

        A field of one component is its component 1, a component of one subcomponent is its subcomponent 1
        (ch. 2.10). ``component=0`` asks for the whole repetition and ``subcomponent=0`` for the whole component, for
        text in which a sender left delimiters unescaped.
        """
        # The hot path of intake: few calls. No delimiter is a letter or digit (delimiters.py), and most values are.
        fields = self._fields or self._split()
        if field >= len(fields) or not (text := fields[field]):
            return None
        if text.isalnum():
            return text if component <= 1 and subcomponent <= 1 and not repetition else None
        component_mark, repetition_mark, escape_mark, subcomponent_mark = self._marks
        if repetition_mark in text or repetition:
            text = _pick(text, repetition_mark, repetition)
        if component:
            if component_mark in text:
                parts = text.split(component_mark, component)
                text = parts[component - 1] if component <= len(parts) else ""
            elif component > 1:
                return None
            if subcomponent_mark in text or subcomponent > 1:
                text = _pick(text, subcomponent_mark, subcomponent - 1) if subcomponent else text
        if escape_mark in text:
            return self.unescape(text, field)
        return (NULL if text == NULL_TEXT else text) if text else None

    def component(self, field: int, component: int = 1, *, repetition: int = 0, subcomponent: int = 1) -> str:
        """Return an unescaped value as text: empty where it is absent, empty or null."""
        value = self.value(field, component, subcomponent, repetition)
        return value if isinstance(value, str) else ""

    def texts(self, *fields: int) -> list[str]:
        """Return several fields by their first component, each as `component` gives it, trimmed."""
        # One call for the many fields of a message that are empty or one word.
        mine = self._fields or self._split()
        count = len(mine)
        return [
            ("" if field >= count else text if (text := mine[field]).isalnum() or not text else self._trimmed(field))
            for field in fields
        ]

    def _trimmed(self, field: int) -> str:
        return self.component(field).strip()

    def rows(self, field: int, parted: frozenset[int] = frozenset()) -> Sequence[list[str]]:
        """Return the repetitions of a field as their components, unescaped: empty where absent, empty or null.

        A row is padded to `ROW_COMPONENTS` components, so that any of them can be asked for; component 1 is ``row[0]``.
        ``parted`` names those (from 1) that have subcomponents by their type, of which the first filled one is given;
        in any other a subcomponent delimiter is text that was left unescaped. Beyond `ROWS_MAX` nothing is read.
        """
        # As hot as `value`: what has no escape, subcomponent or null in it, which is nearly all, is only split.
        fields = self._fields or self._split()
        if field >= len(fields) or not (text := fields[field]):
            return ()
        component_mark, repetition_mark, escape_mark, subcomponent_mark = self._marks
        if repetition_mark in text:
            written = text.split(repetition_mark, ROWS_MAX)
            if len(written) > ROWS_MAX:
                self.note("repetitions-left-out", field)
                written.pop()
        else:
            written = [text]
        plain = escape_mark not in text and subcomponent_mark not in text and NULL_TEXT not in text
        rows = []
        for one in written:
            row = one.split(component_mark)
            if not plain:
                row = [self._read_component(part, field, parted=place in parted) for place, part in enumerate(row, 1)]
            row += _PADDING
            rows.append(row)
        return rows

    def _read_component(self, raw: str, field: int, *, parted: bool) -> str:
        if parted:
            parts = raw.split(self.delimiters.subcomponent)
            raw = next((part for part in parts if part and part != NULL_TEXT), "")
        return "" if raw == NULL_TEXT else self.unescape(raw, field)

    def is_null(self, field: int) -> bool:
        """Say whether the sender deletes the whole field: ``""`` in it and nothing else."""
        text = self.field(field)
        if NULL_TEXT not in text:
            return False
        marks = self.delimiters
        return not text.replace(NULL_TEXT, "").strip(marks.repetition + marks.component + marks.subcomponent)

    def unescape(self, raw: str, field: int) -> str:
        """Return raw text of this field with its escape sequences resolved; what is none is noted and kept."""
        delimiters, reading = self._reading.delimiters, self._reading
        if delimiters.escape not in raw:
            return raw
        reading.escapes += raw.count(delimiters.escape)
        if reading.escapes > ESCAPES_MAX:
            self.note("escapes-left-in", field)
            return raw
        text, faults = unescape(raw, delimiters, reading.charset)
        for code in faults:
            self.note(code, field)
        return text

    def note(self, code: str, field: int) -> None:
        """Record a finding about a field of this segment."""
        self._reading.note(code, self.locate(field))

    def locate(self, field: int) -> str:
        """Return where a field is, in the form of findings: ``PID-7``, or ``NK1[2]-5`` in the second of its name."""
        occurrence = f"[{self.number}]" if self.number > 1 else ""
        return f"{self.id}{occurrence}-{field}"


class HeaderSegment(Segment):
    """MSH, whose field 1 is the field separator and whose field 2 is never taken apart (ch. 2.15.9.1 and .2)."""

    __slots__ = ()

    def __init__(self, reading: Reading, line: str) -> None:
        super().__init__(reading, "MSH", line)
        self._split().insert(1, reading.delimiters.field)

    def repetitions(self, field: int) -> list[str]:
        """Return the raw text of each repetition; MSH-1 and MSH-2 are one."""
        return [self.field(field)] if field <= _ENCODING_CHARACTERS else super().repetitions(field)

    def value(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 0) -> Value:
        """Return an unescaped value, as any segment does; MSH-1 and MSH-2 as they are."""
        if field <= _ENCODING_CHARACTERS:
            return self.field(field) or None
        return super().value(field, component, subcomponent, repetition)


_ENCODING_CHARACTERS: Final = 2
_PADDING: Final = ("",) * ROW_COMPONENTS


def _pick(text: str, mark: str, index: int) -> str:
    parts = text.split(mark, index + 1)
    return parts[index] if index < len(parts) else ""
