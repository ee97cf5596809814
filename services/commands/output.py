"""What verbs write: data on standard output, talk on standard error.

Promises: nothing but data is ever on standard output, so that it can be piped; text from outside cannot steer the
terminal (control characters are shown as escapes); bold only on a terminal, and not where NO_COLOR is set
(https://no-color.org).
"""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

_BOLD: Final = "\x1b[1m{}\x1b[0m"
_GAP: Final = "  "


def write_json(value: object) -> None:
    """Write a value as indented JSON: instants RFC 3339, dates ISO 8601, names as in the value."""
    write_text(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_text(text: str) -> None:
    """Write data lines."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """Say something that is not data."""
    sys.stderr.write(f"afterstay: {text}\n")


def write_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows under a header, in columns as wide as they need."""
    cells = [list(header), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for index, row in enumerate(cells):
        line = _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        write_text(bold(line) if index == 0 else line)


def write_facts(facts: Mapping[str, object]) -> None:
    """Write names and values, one a line."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        write_text(f"{name.ljust(width)}{_GAP}{shown(value)}".rstrip())


def shown(value: object) -> str:
    """Return a value as a person reads it: `-` for nothing, instants to the second in UTC, no control characters."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = str(value)
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def bold(text: str) -> str:
    """Return text that stands out, where standard output is a terminal that may be styled."""
    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return _BOLD.format(text) if styled else text
