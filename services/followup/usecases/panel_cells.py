"""From the cells of a panel file to a row that can be loaded, or to everything that is wrong with it.

Owns the dialects of dates, sexes and identifiers found in real rosters (domain §4). Promise: any cells give a row or
reasons, and reasons are codes and advice that never repeat what a cell said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final, TypeVar

from services.followup.domain.demographics import Identifier
from services.followup.usecases.panel_ports import PanelRow

REQUIRED_COLUMNS: Final = ("patient_id", "family", "given", "birth_date")

CHARACTERS_MAX: Final = 200
"""Of a cell; no name, street or telephone is longer."""
PATIENT_ID_CHARACTERS_MAX: Final = 64
IDENTIFIERS_CHARACTERS_MAX: Final = 4_000
IDENTIFIERS_MAX: Final = 40
BIRTH_YEAR_MIN: Final = 1880
"""Nobody born earlier is on a panel; 1900-01-01, which stands for "unknown", is left to the matching."""

_ISO: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]00:00(?::00(?:\.0+)?)?)?", re.ASCII)
_COMPACT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_AMERICAN: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: 0?0:00(?::00)?)?", re.ASCII)
_CONTROLS: Final = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))
_MANGLED: Final = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.ASCII | re.IGNORECASE)  # how Excel shows a long number
_SSN_REST: Final = re.compile(r"(?:[X*]{3}-?[X*]{2}-?|\d{3}-?\d{2}-?)?(\d{1,4})", re.ASCII | re.IGNORECASE)
_SEXES: Final = {
    "M": "M", "F": "F", "U": "U", "O": "O", "1": "M", "2": "F", "9": "U",
    "MALE": "M", "FEMALE": "F", "UNKNOWN": "U", "OTHER": "O",
}  # fmt: skip
_ANSWERS: Final = {
    "Y": True, "YES": True, "TRUE": True, "T": True, "1": True,
    "N": False, "NO": False, "FALSE": False, "F": False, "0": False,
}  # fmt: skip
_SSN_TYPES: Final = frozenset({"SS", "SSN"})
_NEEDS_NO_AUTHORITY: Final = frozenset({"MC", "MBI"}) | _SSN_TYPES
_Chosen = TypeVar("_Chosen", str, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with a row: a stable kebab-case code, and advice that names the column."""

    code: str
    text: str


class CellReader:
    """Reads rows of one file, whose columns stand in the order of its header."""

    def __init__(self, columns: Sequence[str], today: date) -> None:
        self._columns = tuple(columns)
        self._today = today

    def read(self, row: int, cells: list[str]) -> PanelRow | list[Problem]:
        """Return the row, or everything that is wrong with it."""
        width = len(self._columns)
        while len(cells) > width and not cells[-1].strip():
            cells = cells[:-1]  # a spreadsheet wrote separators for columns that are not there
        if len(cells) != width:
            return [Problem(code="wrong-width", text=f"has {len(cells)} cells where the header has {width}")]
        cell = _Cells(self._columns, cells)
        found = self._row(row, cell)
        return cell.problems or found

    def _row(self, row: int, cell: "_Cells") -> PanelRow:
        identifiers, ssn4_beside = cell.identifiers()
        effective_from, effective_to = cell.day("effective_from"), cell.day("effective_to")
        if effective_from and effective_to and effective_to < effective_from:
            cell.wrong("period-reversed", "effective_to lies before effective_from")
        return PanelRow(
            row=row,
            patient_id=cell.required("patient_id", PATIENT_ID_CHARACTERS_MAX),
            family=cell.required("family"),
            given=cell.required("given"),
            middle=cell.text("middle"),
            suffix=cell.text("suffix"),
            birth_date=cell.birth_date(self._today),
            sex=cell.choice("sex", _SEXES, "M, F, U, O, 1, 2 or 9"),
            street=cell.text("street"),
            city=cell.text("city"),
            state=cell.text("state"),
            zip=cell.text("zip"),
            phone=cell.text("phone"),
            ssn4=cell.ssn4() or ssn4_beside,
            language=cell.text("language"),
            interpreter=cell.choice("interpreter", _ANSWERS, "yes or no"),
            guardian_name=cell.text("guardian_name"),
            guardian_relation=cell.text("guardian_relation"),
            guardian_phone=cell.text("guardian_phone"),
            identifiers=identifiers,
            effective_from=effective_from,
            effective_to=effective_to,
            practice=cell.text("practice"),
            pcp=cell.text("pcp"),
            program=cell.text("program"),
        )


class _Cells:
    """The cells of one row by column; notes what is wrong instead of raising, so that all of it is reported."""

    __slots__ = ("_plain", "_values", "problems")

    def __init__(self, columns: Sequence[str], cells: Sequence[str]) -> None:
        self._values = dict(zip(columns, map(str.strip, cells), strict=True))
        self.problems: list[Problem] = []
        # Looked at once for the whole row: nearly all rows are plain, and a panel has a million of them.
        self._plain = "".join(cells).isprintable() and max(map(len, cells)) <= PATIENT_ID_CHARACTERS_MAX

    def wrong(self, code: str, text: str) -> None:
        self.problems.append(Problem(code=code, text=text))

    def text(self, column: str, characters_max: int = CHARACTERS_MAX) -> str | None:
        value = self._values.get(column)
        if self._plain or not value:
            return value or None
        if not value.isprintable():
            if "\0" in value:
                self.wrong("nul-character", f"{column} contains a NUL character")
                return None
            value = " ".join(value.split()).translate(_CONTROLS)  # line ends within quotes; the rest says nothing
        if len(value) > characters_max:
            self.wrong("too-long", f"{column} is longer than {characters_max} characters")
            return None
        return value or None

    def required(self, column: str, characters_max: int = CHARACTERS_MAX) -> str:
        value = self.text(column, characters_max)
        if value is None:
            self.wrong("value-missing", f"{column} is empty")
            return ""
        if column == "patient_id" and _MANGLED.fullmatch(value):
            self.wrong("number-mangled", f"{column} was turned into powers of ten by a spreadsheet; export it as text")
        return value

    def day(self, column: str) -> date | None:
        value = self.text(column)
        if value is None:
            return None
        found = read_date(value)
        if found is None:
            self.wrong(
                f"{column.replace('_', '-')}-unreadable",
                f"{column} is not a date as YYYY-MM-DD, YYYYMMDD or MM/DD/YYYY",
            )
        return found

    def birth_date(self, today: date) -> date:
        found = self.day("birth_date")
        if found is None:
            if self.text("birth_date") is None:
                self.wrong("value-missing", "birth_date is empty")
            return date.min
        if found > today:
            self.wrong("birth-date-in-future", "birth_date lies in the future")
        elif found.year < BIRTH_YEAR_MIN:
            self.wrong("birth-date-impossible", f"birth_date lies before {BIRTH_YEAR_MIN}")
        return found

    def choice(self, column: str, words: dict[str, _Chosen], asked: str) -> _Chosen | None:
        value = self.text(column)
        if value is None:
            return None
        found = words.get(value.upper())
        if found is None:
            self.wrong(f"{column}-unknown", f"{column} is none of {asked}")
        return found

    def ssn4(self) -> str | None:
        value = self.text("ssn4")
        if value is None:
            return None
        found = _SSN_REST.fullmatch(value)
        if found is None:
            self.wrong("ssn4-unreadable", "ssn4 is not the last four digits of a Social Security number")
            return None
        return found[1].zfill(4)  # a spreadsheet drops leading zeros

    def identifiers(self) -> tuple[tuple[Identifier, ...], str | None]:
        """Return the identifiers, and the last four digits of a Social Security number among them, which goes."""
        value = self.text("identifiers", IDENTIFIERS_CHARACTERS_MAX)
        if value is None:
            return (), None
        read = [self._identifier(text) for text in value.split("~") if text.strip()]
        if len(read) > IDENTIFIERS_MAX:
            self.wrong("too-many-identifiers", f"identifiers has more than {IDENTIFIERS_MAX} of them")
        kept = {one for one in read if one is not None and one.type not in _SSN_TYPES}
        ssns = [one.value[-4:] for one in read if one is not None and one.type in _SSN_TYPES]
        ordered = sorted(kept, key=lambda one: (one.authority or "", one.type or "", one.value))
        return tuple(ordered), next((ssn4 for ssn4 in ssns if ssn4.isdecimal() and len(ssn4) == 4), None)

    def _identifier(self, text: str) -> Identifier | None:
        """Read a CX: value.1, assigning authority .4 (its first subcomponent that says something), type .5."""
        parts = [part.strip() for part in text.split("^")]
        parts += [""] * (5 - len(parts))
        value, type_ = parts[0], parts[4].upper() or None
        authority = next((part.strip() for part in parts[3].split("&") if part.strip()), None)
        if not value:
            self.wrong("identifier-empty", "identifiers has one without a value; write VALUE^^^AUTHORITY^TYPE")
        elif _MANGLED.fullmatch(value):
            self.wrong(
                "number-mangled", "identifiers was turned into powers of ten by a spreadsheet; export it as text"
            )
        elif authority is None and type_ not in _NEEDS_NO_AUTHORITY:
            self.wrong(
                "identifier-without-authority",
                "identifiers has one without an assigning authority; write VALUE^^^AUTHORITY^TYPE, as 1001^^^MERCY^MR",
            )
        else:
            return Identifier(authority=authority, value=value, type=type_)
        return None


@lru_cache(maxsize=65_536)
def read_date(text: str) -> date | None:
    """Read a date as people and their spreadsheets write it; two-digit years are refused, they mean two centuries."""
    if found := _AMERICAN.fullmatch(text):
        month, day, year = map(int, found.groups())
    elif found := _ISO.fullmatch(text) or _COMPACT.fullmatch(text):
        year, month, day = map(int, found.groups())
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None
