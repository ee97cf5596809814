"""Panel files: from bytes to rows, one at a time, whatever program wrote them.

Owns delimiters, quoting, byte order marks and the header. Promise: a file of any size is read once with bounded
memory; a file that is no panel at all is refused before its first row, and anything wrong later is a row's result
that says which row. Rows are counted as spreadsheets do, the header being row 1.
Source: RFC 4180; domain §4 (dialects seen in the field); fault B41.
"""

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import BinaryIO, Final

from services.followup.usecases.panel_cells import REQUIRED_COLUMNS, CellReader
from services.followup.usecases.panel_ports import MEMBERSHIP_COLUMNS, PERSON_COLUMNS, PanelRow, RowResult
from services.runtime.errors import Permanent

COLUMNS: Final = ("patient_id", *PERSON_COLUMNS, "identifiers", *MEMBERSHIP_COLUMNS)

ROWS_MAX: Final = 5_000_000
"""The largest panel that was measured (matching.md §4)."""
LINE_BYTES_MAX: Final = 1_048_576
"""Longer than any row; it bounds what a file without line ends costs."""
COLUMNS_NAMED_MAX: Final = 10
COLUMN_NAME_CHARACTERS_MAX: Final = 40

_DELIMITERS: Final = ",;\t|"
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_SEPARATOR_LINE: Final = re.compile(r"sep=.", re.IGNORECASE)  # Excel's own first line
_NOT_OF_A_NAME: Final = re.compile(r"[^a-z0-9]+")


class _BadLineError(Exception):
    """A line that is no text; ends the file."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


class PanelFile:
    """A panel file, open and with its header understood. `stated` are its columns.

    Iterate over `rows` once; `sha256` is that of the bytes read so far.
    """

    def __init__(self, source: BinaryIO, today: date) -> None:
        self._lines = _Lines(source)
        self._row = 0
        header = self._lines.first()
        if _SEPARATOR_LINE.fullmatch(header.strip()):
            self._row += 1
            header = self._lines.first()
        self._row += 1
        delimiter = _delimiter_of(header)
        columns = _columns_of(_parted(header, delimiter))
        self.stated = frozenset(columns)
        self._cells = CellReader(columns, today)
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was read, in hexadecimal digits."""
        return self._lines.digest.hexdigest()

    def rows(self) -> Iterator[PanelRow | RowResult]:
        """Read the rows: each as a row that can be loaded, or as a rejection. Blank rows are passed over.

        What cannot even be parted into rows ends the file with a rejection that says so.
        """
        while True:
            self._row += 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except (csv.Error, _BadLineError) as error:
                yield self._ended_by(error)
                return
            if self._row > ROWS_MAX + 1:
                yield _rejected(self._row, None, "too-many-rows", f"the file has more than {ROWS_MAX} rows; divide it")
                return
            if any(cells) and any(map(str.strip, cells)):
                yield self._read(cells)

    def _read(self, cells: list[str]) -> PanelRow | RowResult:
        read = self._cells.read(self._row, cells)
        if isinstance(read, PanelRow):
            return read
        return _rejected(self._row, None, read[0].code, "; ".join(problem.text for problem in read))

    def _ended_by(self, error: csv.Error | _BadLineError) -> RowResult:
        if isinstance(error, _BadLineError):
            return _rejected(self._row, None, error.code, f"{error.text}; the rows from here on were not read")
        return _rejected(
            self._row,
            None,
            "quoting-broken",
            "a quotation mark is not closed or stands within a cell without being doubled; the rows from here on were "
            "not read",
        )


def open_panel_file(path: Path) -> BinaryIO:
    """Open a panel file.

    Raises:
        Permanent: `panel-file-unreadable`.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise Permanent("panel-file-unreadable", f"{path} cannot be read ({error.strerror})") from error


class _Lines:
    """The lines of a file as text; decoded one by one, so that the place of a wrong byte is known."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()
        self._begun = False

    def first(self) -> str:
        """Return a line that must be there and be text.

        Raises:
            Permanent: `panel-file-empty`, `panel-file-not-text`.
        """
        try:
            return next(self)
        except StopIteration:
            raise Permanent("panel-file-empty", "the file is empty; it needs a header and at least one row") from None
        except _BadLineError as error:
            raise Permanent("panel-file-not-text", f"the file cannot be read: {error.text}") from None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._source.readline(LINE_BYTES_MAX)
        if not line:
            raise StopIteration
        self.digest.update(line)
        if not self._begun:
            self._begun = True
            line = _without_mark(line)
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            raise _BadLineError("line-too-long", f"a line is longer than {LINE_BYTES_MAX} bytes")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise _BadLineError("not-utf-8", 'the text is not UTF-8; save the file as "CSV UTF-8"') from None


def _without_mark(line: bytes) -> bytes:
    if line.startswith(_WIDE_MARKS):
        raise _BadLineError("not-utf-8", 'the text is UTF-16; save the file as "CSV UTF-8"')
    return line.removeprefix(_UTF8_MARK)


def _delimiter_of(header: str) -> str:
    """Return the delimiter under which the header has the most columns that we know."""
    known = set(COLUMNS)

    def score(delimiter: str) -> int:
        return len(known.intersection(map(_column_name, _parted(header, delimiter))))

    return max(_DELIMITERS, key=score)


def _parted(header: str, delimiter: str) -> list[str]:
    if "\r" in header.rstrip("\r\n"):
        raise Permanent("panel-file-not-text", "the lines end with CR alone; save the file with Windows line ends")
    return next(csv.reader([header], delimiter=delimiter), [])


def _columns_of(cells: Sequence[str]) -> list[str]:
    """Return the columns that a header names.

    Raises:
        Permanent: `panel-header-wrong`. Cells are repeated only where this is plainly a header: in a file without
            one they would be a patient.
    """
    columns = [_column_name(cell) for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise Permanent(
            "panel-header-wrong",
            f"the first line must be a header and lacks {', '.join(missing)}; the columns are {' '.join(COLUMNS)}",
        )
    unknown = [cell for cell, name in zip(cells, columns, strict=False) if name not in COLUMNS]
    if unknown:
        named = ", ".join(repr(cell.strip()[:COLUMN_NAME_CHARACTERS_MAX]) for cell in unknown[:COLUMNS_NAMED_MAX])
        raise Permanent(
            "panel-header-wrong", f"the header has columns that are not known: {named}; known are {' '.join(COLUMNS)}"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise Permanent("panel-header-wrong", f"the header names {', '.join(twice)} twice")
    return columns


def _column_name(cell: str) -> str:
    return _NOT_OF_A_NAME.sub("_", cell.strip().lower()).strip("_")


def _rejected(row: int, patient_id: str | None, code: str, text: str) -> RowResult:
    return RowResult(row=row, patient_id=patient_id, outcome="rejected", reason=code, text=text)
