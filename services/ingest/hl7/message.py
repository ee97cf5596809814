"""One HL7 v2 message: a lossless, tolerant, lazy view over its bytes (HL7 v2.5.1 ch. 2.5, 2.6 and 2.10).

Owns the way from bytes to segments. Nothing is taken apart before it is asked for, because intake reads some forty
fields of a message that has hundreds.

Promises:

- `parse` gives a `Message` or raises `Hl7SyntaxError`, and that only where no message header can be read. Reading a
  message never raises. Time and memory are linear in its length.
- ``Message.raw`` is what was received, byte for byte. Whatever was tolerated, guessed or left out of the view stands in
  ``Message.findings``, without any of the message's content.
- HL7's null (``""``: the sender deletes the value) is kept apart from an empty field (no change): `segment.NULL`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from services.ingest.hl7.charset import (
    DecodedText,
    charset_of_ascii,
    declared_label,
    decode_bytes,
    detect_wide,
)
from services.ingest.hl7.delimiters import (
    DEFAULT_DELIMITERS,
    Delimiters,
    Hl7SyntaxError,
    read_delimiters,
)
from services.ingest.hl7.segment import Finding, HeaderSegment, Reading, Segment

_UTF8_MARK: Final = b"\xef\xbb\xbf"
_LEADING: Final = re.compile(rb"(?:\xef\xbb\xbf|[\t-\r \x1c])*+")
_FRAMING: Final = "\x0b\x1c"  # MLLP's start and end byte
_BLANKS: Final = " \t\r\n\x0c\x00"
_TRAILING: Final = "\r\n" + _FRAMING
_ENVELOPES: Final = (b"FHS", b"BHS", b"BTS", b"FTS")  # ch. 2.10.3: a batch, which is no message
_SEGMENT_ID: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
# Only a shortcut: any name of this form is a segment.
_USUAL_IDS: Final = frozenset(("MSH", "EVN", "PID", "PD1", "NK1", "PV1", "PV2", "ROL", "DG1", "GT1", "IN1", "OBX"))
_CHARSET_FIELD: Final = 18
_BUILT_TOGETHER_MAX: Final = 100  # more segments of one name than any real message has of those that are read

_Notes = dict[tuple[str, str | None], None]
_Index = dict[str, list[str]]


class Message:
    """One message, its segments built when first asked for.

    Attributes:
        raw: The bytes as received.
        header: Its MSH segment.
        charset: The Python codec that decoded it.
        delimiters: From MSH-1 and MSH-2.
    """

    __slots__ = ("_built", "_index", "_lines", "_reading", "charset", "delimiters", "header", "raw")

    def __init__(self, *, raw: bytes, reading: Reading, header: HeaderSegment, lines: list[str], index: _Index) -> None:
        self.raw = raw
        self.header = header
        self.charset = reading.charset
        self.delimiters = reading.delimiters
        self._reading = reading
        self._lines = lines
        self._index = index
        self._built: dict[str, tuple[Segment, ...]] = {"MSH": (header,)}

    def first(self, segment_id: str) -> Segment | None:
        """Return the first segment of that name."""
        found: Sequence[Segment] | None = self._built.get(segment_id)
        if found is None:
            lines = self._index.get(segment_id)
            if lines is None:
                return None
            if len(lines) > _BUILT_TOGETHER_MAX:
                return Segment(self._reading, segment_id, lines[0])
            found = self.all(segment_id)
        return found[0] if found else None

    def count(self, segment_id: str) -> int:
        """Return how many segments of that name there are."""
        return len(self._index.get(segment_id, ()))

    def some(self, segment_id: str, limit: int) -> Sequence[Segment]:
        """Return the first ``limit`` segments of that name; of a hostile message the rest is never built."""
        if self.count(segment_id) <= limit:
            return self.all(segment_id)
        numbered = enumerate(self._index[segment_id][:limit], 1)
        return [Segment(self._reading, segment_id, line, number) for number, line in numbered]

    def all(self, segment_id: str) -> Sequence[Segment]:
        """Return the segments of that name, in order."""
        built = self._built.get(segment_id)
        if built is None:
            lines = self._index.get(segment_id, ())
            reading = self._reading
            if len(lines) == 1:
                built = (Segment(reading, segment_id, lines[0]),)
            else:
                numbered = enumerate(lines, 1)
                built = tuple([Segment(reading, segment_id, line, number) for number, line in numbered])
            self._built[segment_id] = built
        return built

    def __iter__(self) -> Iterator[Segment]:
        """Every segment, in order."""
        waiting = {segment_id: iter(self.all(segment_id)) for segment_id in self._index}
        return (next(waiting[line[:3].upper()]) for line in self._lines)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was tolerated or guessed so far; reading values may add to it."""
        return self._reading.findings


def parse(raw: bytes, *, charset_override: str | None = None) -> Message:
    """Read one message.

    Args:
        raw: The content of one frame.
        charset_override: A feed profile's charset (a label of table 0211 or a usual name), instead of MSH-18.

    Raises:
        Hl7SyntaxError: There is no readable header: this is not HL7, or its separators are missing, illegal or clash.
    """
    notes: _Notes = {}
    decoded = None
    if raw.startswith(b"MSH") and raw.isascii() and b"\x1b" not in raw:
        text = raw.decode("ascii")
    else:
        decoded = _decode(raw, charset_override, notes)
        text = decoded.text
    lines = _split_lines(text, notes)
    top = lines[0]
    separator = top[3:4]
    delimiters = _read_delimiters(top, separator, notes)
    index = _index(lines, separator)
    if index is None:
        lines, index = _mend(lines, separator, notes)
    reading = Reading(delimiters, "ascii")
    header = HeaderSegment(reading, lines[0])
    if decoded is None:
        label = charset_override or header.field(_CHARSET_FIELD)
        reading.charset, charset_findings = charset_of_ascii(label)
    else:
        reading.charset, charset_findings = decoded.charset, decoded.findings
    for code in charset_findings:
        notes[code, "MSH-18"] = None
    for code, where in notes:
        reading.note(code, where)
    return Message(raw=raw, reading=reading, header=header, lines=lines, index=index)


def _read_delimiters(top: str, separator: str, notes: _Notes) -> Delimiters:
    if top.startswith("|^~\\&|", 3):
        return DEFAULT_DELIMITERS
    encoding, _, rest = top[4:].partition(separator or "|")
    delimiters, finding = read_delimiters(separator, encoding, rest)
    if finding is not None:
        notes[finding, "MSH-2"] = None
    return delimiters


def _decode(raw: bytes, override: str | None, notes: _Notes) -> DecodedText:
    """Decode what is not plain ASCII from its first byte on; the text begins with MSH."""
    leading = _LEADING.match(raw)
    assert leading is not None, "matches the empty string"
    start = leading.end()
    body = raw[start:]
    _note_leading(raw[:start], notes)
    wide = detect_wide(body)
    if wide is not None:
        decoded = _decode_wide(body, wide, notes)
    elif body[:3].upper() == b"MSH":
        marked = "UTF-8" if _UTF8_MARK in raw[:start] else None
        decoded = decode_bytes(body, override or marked or declared_label(body))
    else:
        raise _not_a_message(body)
    text = decoded.text
    if not text.startswith("MSH"):
        notes["segment-id-lower-case", "MSH"] = None
        text = "MSH" + text[3:]
    return DecodedText(text=text, charset=decoded.charset, findings=decoded.findings)


def _decode_wide(body: bytes, codec: str, notes: _Notes) -> DecodedText:
    try:
        text = body.decode(codec)
    except UnicodeDecodeError:
        raise Hl7SyntaxError("charset-undecodable", "looks like UTF-16 or UTF-32 but is not", "MSH") from None
    if not body.startswith((b"M", b"\0M", b"\0\0\0M")):
        notes["byte-order-mark", None] = None
    text = text.lstrip(" \t\r\n" + _FRAMING)
    if text[:3].upper() != "MSH":
        raise _not_a_message(b"?")
    return DecodedText(text=text, charset=codec)


def _not_a_message(body: bytes) -> Hl7SyntaxError:
    if not body:
        return Hl7SyntaxError("message-empty", "there is nothing in the frame", "MSH")
    if body.startswith(_ENVELOPES):
        return Hl7SyntaxError("batch-envelope", "a batch is not accepted here; send its messages one by one", "MSH")
    return Hl7SyntaxError("header-missing", "a message must begin with an MSH segment", "MSH")


def _note_leading(leading: bytes, notes: _Notes) -> None:
    if _UTF8_MARK in leading:
        notes["byte-order-mark", None] = None
    rest = leading.replace(_UTF8_MARK, b"")
    if rest.strip(b" \t\r\n\x0c"):
        notes["stray-framing", None] = None
    if rest.strip(b"\x0b\x1c"):
        notes["leading-whitespace", None] = None


def _split_lines(text: str, notes: _Notes) -> list[str]:
    """Split at CR, LF and CRLF. Only CR is legal (ch. 2.5.2), and a sender that knows it may have LF in its text."""
    body = text.rstrip(_TRAILING)
    if "\x1c" in text[len(body) :]:
        notes["stray-framing", None] = None
    if "\n" not in body:
        return body.split("\r")
    crlf = body.count("\r\n")
    lf = body.count("\n") - crlf
    cr = body.count("\r") - crlf
    if cr and lf:
        notes["line-ends-mixed", None] = None
        return _split_at_segments(body, notes)
    notes["line-ends-mixed" if crlf and (cr or lf) else "line-ends-crlf" if crlf else "line-ends-lf", None] = None
    return body.replace("\r\n", "\r").replace("\n", "\r").split("\r")


def _split_at_segments(body: str, notes: _Notes) -> list[str]:
    """Split a message that has both CR and LF: an LF ends a segment only where another, or nothing, follows."""
    segment = rf"[A-Za-z][A-Za-z0-9]{{2}}(?:{re.escape(body[3:4])}|\Z)"
    ends = re.compile(rf"(?<!\n)\n++(?=[ \t]*(?:{segment}|\Z))")
    lines: list[str] = []
    for line in body.replace("\r\n", "\r").split("\r"):
        if "\n" in line and not line.isspace():
            lines += ends.split(line)
        else:
            lines.append(line)
    if any("\n" in line.strip() for line in lines):
        notes["line-break-in-field", None] = None
    return lines


def _index(lines: list[str], separator: str) -> _Index | None:
    """Return the lines by segment name, or nothing if one of them is no plain segment."""
    index: _Index = {}
    for line in lines:
        if line[3:4] != separator:
            return None
        segment_id = line[:3]
        same = index.get(segment_id)
        if same is not None:
            same.append(line)
        elif segment_id in _USUAL_IDS or _SEGMENT_ID.fullmatch(segment_id):
            index[segment_id] = [line]
        else:
            return None
    return index if len(index["MSH"]) == 1 else None


def _mend(lines: list[str], separator: str, notes: _Notes) -> tuple[list[str], _Index]:
    """Keep what can be read as a segment, and note the rest.

    A second header begins another message: reading on would give its patient's data to the first.
    """
    kept = lines[:1]
    index: _Index = {"MSH": lines[:1]}
    filled = list(filter(None, lines))
    if len(filled) < len(lines):
        notes["blank-line", None] = None
    for line in filled[1:]:
        bare = line.lstrip(_BLANKS + _FRAMING)
        segment_id = bare[:3].upper()
        if segment_id == "MSH":
            notes["several-messages", "MSH"] = None
            break
        if bare[3:4] in ("", separator) and (segment_id in index or _SEGMENT_ID.fullmatch(segment_id)):
            if bare != line:
                notes["segment-indented", segment_id] = None
            if not bare.startswith(segment_id):
                notes["segment-id-lower-case", segment_id] = None
            kept.append(bare)
            index.setdefault(segment_id, []).append(bare)
        else:
            notes[_describe(line, bare), None] = None
    return kept, index


def _describe(line: str, bare: str) -> str:
    if bare:
        return "junk-line"
    return "stray-framing" if line.strip(_BLANKS) else "blank-line"
