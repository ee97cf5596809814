"""Character sets: which one a message is in, and its text, never with a silent replacement.

Owns the reading of MSH-18 (HL7 v2.5.1 ch. 2.15.9.18, table 0211) and of what senders write instead, and the choice of
another charset where the declared one is missing or contradicts the bytes.

Promise: `decode_bytes` always gives a text, and whatever was guessed stands in ``findings``. Decoding is strict, so no
byte is ever replaced; the last resort, ISO 8859-1, has a character for each byte. A message is decoded as a whole
before it is split, because the double-byte text of ISO-2022-JP, GB 18030 and Big5 contains the bytes of delimiters.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LAST_RESORT: Final = "iso8859-1"
_JAPANESE_7BIT: Final = "iso2022_jp_ext"  # ISO IR14, IR13, IR87 and IR159, switched to by escape sequences
_DOUBLE_BYTE_SHIFT: Final = b"\x1b$"  # ISO 2022: what follows is double-byte text

_CODECS: Final[dict[str, str]] = {
    # Keys are labels in capitals without punctuation and without a leading ISO; table 0211 first.
    "ASCII": "ascii",
    **{f"8859{part}": f"iso8859-{part}" for part in range(1, 17) if part != 12},
    "IR6": "ascii",
    "IR13": _JAPANESE_7BIT,
    "IR14": _JAPANESE_7BIT,
    "IR87": _JAPANESE_7BIT,
    "IR159": _JAPANESE_7BIT,
    "GB180302000": "gb18030",
    "KSX1001": "cp949",
    "BIG5": "cp950",
    "UNICODE": "utf-8",  # says only ISO 10646; among ASCII-compatible bytes that is UTF-8
    "UNICODEUTF8": "utf-8",
    "UNICODEUTF16": "utf-16",
    "UNICODEUTF32": "utf-32",
    # What senders write instead.
    "USASCII": "ascii",
    "LATIN1": "iso8859-1",
    "IR100": "iso8859-1",
    "LATIN9": "iso8859-15",
    "ANSI": "cp1252",
    **{f"{prefix}{page}": f"cp{page}" for prefix in ("CP", "WINDOWS", "WIN") for page in range(1250, 1259)},
    "UTF8": "utf-8",
    "UTF16": "utf-16",
    "UTF16LE": "utf-16",
    "UTF16BE": "utf-16",
    "UTF32": "utf-32",
    "2022JP": _JAPANESE_7BIT,
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "EUCJP": "euc_jp",
    "GB18030": "gb18030",
    "GB2312": "gb18030",
    "GBK": "gb18030",
    "EUCKR": "cp949",
    "KSC5601": "cp949",
}

_WIDE_STARTS: Final = (
    # Byte-order marks first, the longer before the one it contains; then "M", or "MS", with its zero bytes.
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"M\0\0\0", "utf-32-le"),
    (b"\0\0\0M", "utf-32-be"),
    (b"M\0S\0", "utf-16-le"),
    (b"\0M\0S", "utf-16-be"),
)

WIDE: Final = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
"""Codecs whose bytes are not a superset of ASCII."""

# In these, 0x80-0xBF are controls, signs and a few rare letters, so text of theirs that is valid UTF-8 is UTF-8.
# Not so in, say, 8859/2, where the Polish surname written JOZWIAK with its accents is valid UTF-8 for something else.
_WESTERN: Final = frozenset({"iso8859-1", "iso8859-9", "iso8859-15", "cp1252"})
_C1_CONTROLS: Final = re.compile(rb"[\x80-\x9f]")

_LINE_END: Final = re.compile(rb"[\r\n]")

# Anything else separates repetitions of MSH-18, whatever the sender's own delimiters are.
_LABEL: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z /_.:-]*")
_PUNCTUATION: Final = re.compile(r"[^0-9A-Z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedText:
    """Text with the Python codec that gave it, and codes for what had to be guessed."""

    text: str
    charset: str
    findings: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def resolve_charset(label: str) -> str | None:
    """Return the Python codec for the raw text of MSH-18 or a profile's ``charset``; ``None`` for one unknown.

    The first repetition counts, except that the Japanese sets are named in a later one (``~ISO IR87``).
    """
    names = [_PUNCTUATION.sub("", name.upper()).removeprefix("ISO") for name in _LABEL.findall(label)]
    codecs = [_CODECS.get(name) for name in names]
    if _JAPANESE_7BIT in codecs:
        return _JAPANESE_7BIT
    return codecs[0] if codecs else None


def detect_wide(raw: bytes) -> str | None:
    """Return the codec of a message in UTF-16 or UTF-32, by its byte-order mark or by the zeros around ``MSH``."""
    return next((codec for start, codec in _WIDE_STARTS if raw.startswith(start)), None)


def declared_label(body: bytes) -> str:
    """Return the raw text of MSH-18 of a message not yet decoded; empty where there is none.

    Double-byte text earlier in the header may contain bytes that look like separators. They can only push MSH-18 to
    the right, so the first field from there on that names a charset is it.
    """
    header = _LINE_END.split(body, maxsplit=1)[0]
    if len(header) == len(b"MSH"):
        return ""
    labels = [field.decode(LAST_RESORT) for field in header.split(header[3:4])[17:]]
    if header.isascii() and b"\x1b" not in header:
        return labels[0] if labels else ""
    return next((label for label in labels if resolve_charset(label)), "")


@lru_cache(maxsize=256)
def charset_of_ascii(label: str) -> tuple[str, tuple[str, ...]]:
    """Return the codec, and findings, for a message of ASCII bytes alone: the declared one, as it has ASCII in it."""
    declared = resolve_charset(label)
    if declared is None:
        return "ascii", ("charset-unknown",) if label else ()
    if declared in WIDE:
        return "ascii", ("charset-mismatch",)
    return declared, ()


def decode_bytes(data: bytes, label: str) -> DecodedText:
    """Decode a message of ASCII-compatible bytes by its declared charset, or by the best strict alternative.

    Findings: ``charset-unknown`` (a label we do not know), ``charset-guessed`` (nothing known was declared and there
    is text beyond ASCII), ``charset-mismatch`` (the bytes contradict the declaration).
    """
    declared = resolve_charset(label)
    if declared is not None and not _contradicts(data, declared):
        return DecodedText(text=data.decode(declared), charset=declared)
    text, charset = _guess(data)
    if declared is not None:
        return DecodedText(text=text, charset=charset, findings=("charset-mismatch",))
    unknown = ("charset-unknown",) if label else ()
    guessed = ("charset-guessed",) if charset != "ascii" else ()
    return DecodedText(text=text, charset=charset, findings=unknown + guessed)


def _contradicts(data: bytes, declared: str) -> bool:
    if declared in ("ascii", "utf-8"):
        return _DOUBLE_BYTE_SHIFT in data or _decode_strictly(data, declared) is None
    if declared in _WESTERN and not data.isascii():
        return (
            _decode_strictly(data, "utf-8") is not None
            or (declared != "cp1252" and _C1_CONTROLS.search(data) is not None)
            or _decode_strictly(data, declared) is None
        )
    # A message that could be read up to here is neither UTF-16 nor UTF-32.
    return declared in WIDE or _decode_strictly(data, declared) is None


def _guess(data: bytes) -> tuple[str, str]:
    japanese = (_JAPANESE_7BIT,) if _DOUBLE_BYTE_SHIFT in data else ()
    for charset in (*japanese, "ascii", "utf-8", "cp1252"):
        text = _decode_strictly(data, charset)
        if text is not None:
            return text, charset
    return data.decode(LAST_RESORT), LAST_RESORT


def _decode_strictly(data: bytes, charset: str) -> str | None:
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        return None
