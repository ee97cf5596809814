"""HL7 v2 text: delimiters, escapes, times, names and telephones as a given hospital writes them.

Owns the smallest pieces of a message. Source: HL7 v2.5.1 ch. 2.5 (delimiters, null), 2.7 (escapes), 2.A (data types).
Independent of the product's parser on purpose: it is the other side of the line.
"""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from services.simulator.hospitals import Hospital

Precision = Literal["second", "minute", "day"]

_ESCAPES: Final = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"})
_FORMATS: Final[dict[Precision, str]] = {"second": "%Y%m%d%H%M%S", "minute": "%Y%m%d%H%M", "day": "%Y%m%d"}


def segment(name: str, fields: dict[int, str]) -> str:
    """Return a segment with the given fields by number, each already in HL7 text."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def components(*parts: str) -> str:
    """Join components, leaving out the empty ones at the end."""
    return "^".join(parts).rstrip("^")


def escaped(text: str) -> str:
    """Return free text with the delimiters escaped."""
    return text.translate(_ESCAPES)


def spelled(text: str, hospital: Hospital) -> str:
    """Return a name or an address the way the hospital keys it in, escaped."""
    if hospital.spelling != "as-is":
        text = _ascii(text).upper()
    if hospital.spelling == "bare":
        text = text.replace("-", " ")
        text = "".join(letter for letter in text if letter.isalnum() or letter == " ")
    return escaped(text)


def encoded(text: str, hospital: Hospital) -> bytes:
    """Return the message text in the charset that the hospital declares in MSH-18."""
    match hospital.charset:
        case "UNICODE UTF-8":
            return text.encode()
        case "8859/1":
            return text.encode("latin-1")
        case _:
            return _ascii(text).encode("ascii")


def written_time(shown: datetime, precision: Precision, hospital: Hospital) -> str:
    """Return a time as its clock shows it, with a UTC offset where the hospital writes one; a day has none."""
    if precision == "day" or hospital.offsets == "none":
        return shown.strftime(_FORMATS[precision])
    written = shown.astimezone(UTC) if hospital.offsets == "utc" else shown
    return written.strftime(_FORMATS[precision] + "%z")


def written_phone(digits: str, hospital: Hospital) -> str:
    """Return a ten-digit telephone as an XTN in the hospital's format."""
    area, exchange, line = digits[:3], digits[3:6], digits[6:]
    match hospital.phones:
        case "(999)999-9999":
            return components(f"({area}){exchange}-{line}", "PRN", "PH")
        case "999-999-9999":
            return components(f"{area}-{exchange}-{line}", "PRN", "PH")
        case "components":
            return components("", "PRN", "PH", "", "1", area, f"{exchange}{line}")
        case "9999999999":
            return components(digits, "PRN", "PH")


def repeated(values: Sequence[str]) -> str:
    """Join repetitions, without the empty ones."""
    return "~".join(value for value in values if value)


def _ascii(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if ord(letter) < 128)
