"""Delimiters and escape sequences of one HL7 v2 message.

Owns MSH-1 and MSH-2 (HL7 v2.5.1 ch. 2.5.4, 2.15.9.1 and .2; the truncation character of v2.7 ch. 2.5.5.2) and the
escape sequences of ch. 2.7. Promise: legal delimiters are honored however unusual, those that clash are refused, and
any text can be unescaped: what is no escape sequence stays as it is and is reported, in linear time.
"""

import dataclasses
import re
from functools import lru_cache
from typing import Final

ESCAPED_LINES_MAX: Final = 99
"""``\\.sp99\\`` at most: formatting commands of ch. 2.7.6 never make a text grow without limit."""


class Hl7SyntaxError(Exception):
    """There is no readable message header: the sender is told so (AR) and must mend the message.

    Attributes:
        code: Stable kebab-case code.
        text: Advice to an operator, without any of the message's content.
        location: Where, like ``MSH-2``.
    """

    def __init__(self, code: str, text: str, location: str) -> None:
        super().__init__(f"{code} at {location}: {text}")
        self.code = code
        self.text = text
        self.location = location


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Delimiters:
    """The characters that take a message apart; ``encoding`` is what MSH-2 of an answer says."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str | None = None
    encoding: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        marks = (self.component, self.repetition, self.escape, self.subcomponent, self.truncation or "")
        object.__setattr__(self, "encoding", "".join(marks))


DEFAULT_DELIMITERS: Final = Delimiters()

_ROLES: Final = ("component", "repetition", "escape", "subcomponent")
_DEFAULTS: Final = {"component": "^", "repetition": "~", "escape": "\\", "subcomponent": "&"}
_DEFAULT_ROLE: Final = {mark: role for role, mark in _DEFAULTS.items()}
_ENCODING_CHARACTERS: Final = len(_ROLES)
_DOUBLED_ESCAPE: Final = r"^~\\&"  # the usual MSH-2 written through a programming language's quoting


def read_delimiters(separator: str, encoding: str, rest: str) -> tuple[Delimiters, str | None]:
    """Read MSH-1 and MSH-2; return the delimiters and the code of what had to be mended, if anything.

    Args:
        separator: The character after ``MSH``.
        encoding: MSH-2, the text up to the next separator.
        rest: The remaining header, to tell an empty MSH-2 from a header of nothing but separators.

    Raises:
        Hl7SyntaxError: The separators are missing, illegal or clash.
    """
    if separator == "|" and encoding == r"^~\&":
        return DEFAULT_DELIMITERS, None
    if not separator:
        raise Hl7SyntaxError("separators-missing", "nothing follows MSH", "MSH-1")
    _refuse_illegal(separator, "MSH-1")
    if not encoding and not rest.strip(separator + " \t"):
        raise Hl7SyntaxError("separators-missing", "the header is empty", "MSH-2")
    if not encoding and rest.startswith(separator * (_ENCODING_CHARACTERS - 1)):
        raise Hl7SyntaxError("separators-clash", "the separators are all the same", "MSH-2")
    marks = encoding.strip()
    _refuse_illegal(marks, "MSH-2")
    return _assign(separator, marks)


def _refuse_illegal(marks: str, location: str) -> None:
    if any(not mark.isascii() or mark.isalnum() or not mark.isprintable() or mark == " " for mark in marks):
        raise Hl7SyntaxError("separators-illegal", "a separator must be printable ASCII punctuation", location)


def _assign(separator: str, marks: str) -> tuple[Delimiters, str | None]:
    finding = None
    if marks == _DOUBLED_ESCAPE:
        finding, marks = "encoding-characters-doubled", r"^~\&"
    elif len(marks) < _ENCODING_CHARACTERS:
        finding, marks = "encoding-characters-short", _complete(marks)
    elif len(marks) > _ENCODING_CHARACTERS + 1:
        finding = "encoding-characters-long"
    used = marks[:_ENCODING_CHARACTERS]
    if len({separator, *used}) != _ENCODING_CHARACTERS + 1:
        raise Hl7SyntaxError("separators-clash", "two separators are the same character", "MSH-2")
    truncation = marks[_ENCODING_CHARACTERS:] or None
    if truncation is not None and (len(truncation) > 1 or truncation in (separator, *used)):
        finding, truncation = "encoding-characters-long", None
    component, repetition, escape_mark, subcomponent = tuple(used)
    delimiters = Delimiters(
        field=separator,
        component=component,
        repetition=repetition,
        escape=escape_mark,
        subcomponent=subcomponent,
        truncation=truncation,
    )
    return delimiters, finding


def _complete(marks: str) -> str:
    """Fill up a short MSH-2. A usual character keeps its usual role: ``^~&`` has lost its backslash, not its last."""
    chosen: dict[str, str] = {}
    for mark in marks:
        usual = _DEFAULT_ROLE.get(mark)
        free = next(role for role in _ROLES if role not in chosen)
        chosen[usual if usual is not None and usual not in chosen else free] = mark
    return "".join(chosen.get(role, _DEFAULTS[role]) for role in _ROLES)


def escape(text: str, delimiters: Delimiters) -> str:
    """Return text that is safe inside a field: delimiters and control characters become escape sequences."""
    return text.translate(_escapes(delimiters))


@lru_cache(maxsize=64)
def _escapes(delimiters: Delimiters) -> dict[int, str]:
    mark = delimiters.escape
    sequences = {code: f"{mark}X{code:02X}{mark}" for code in (*range(0x20), 0x7F)}
    sequences |= {ord(char): f"{mark}{name}{mark}" for name, char in _named(delimiters).items() if char}
    return sequences


def _named(delimiters: Delimiters) -> dict[str, str]:
    return {
        "F": delimiters.field,
        "S": delimiters.component,
        "R": delimiters.repetition,
        "T": delimiters.subcomponent,
        "E": delimiters.escape,
        "P": delimiters.truncation or "",
    }


def unescape(text: str, delimiters: Delimiters, charset: str) -> tuple[str, tuple[str, ...]]:
    """Return text with its escape sequences resolved, and codes for what was no escape sequence and stays as it is.

    ``charset`` is the codec that hex escapes are in. Findings: ``escape-lone`` (an escape character left
    unescaped), ``escape-unknown``, ``escape-hex-malformed`` (not hex, of odd length, or no text in this charset).
    """
    mark = delimiters.escape
    pieces = text.split(mark)
    named = _named(delimiters)
    result = [pieces[0]]
    findings: dict[str, None] = {}
    position, last = 1, len(pieces) - 1
    while position <= last:
        sequence = pieces[position]
        closed = position < last
        meant = _resolve(sequence, named, charset) if closed else None
        if meant is not None:
            result += (meant, pieces[position + 1])
            position += 2
        elif closed and _LOOKS_LIKE_ESCAPE.fullmatch(sequence):
            findings["escape-hex-malformed" if sequence.startswith("X") else "escape-unknown"] = None
            result += (mark, sequence, mark, pieces[position + 1])
            position += 2
        else:
            findings["escape-lone"] = None
            result += (mark, sequence)
            position += 1
    return "".join(result), tuple(findings)


# A character set switch, a local or a malformed sequence. Anything else between two escape characters is text, and the
# second of them may begin a sequence: a sender that forgets to escape a backslash still means its others.
_LOOKS_LIKE_ESCAPE: Final = re.compile(r"[A-Z][0-9A-F]*|[XZ][0-9A-Za-z]*|\.[a-z]{2}[+-]?[0-9]*")
_COMMAND: Final = re.compile(r"\.(br|sp|ce|sk|fi|nf|in|ti)\+?(-?[0-9]{0,4})(?<!-)")
# Ch. 2.7.6. Indents, centering and word wrap are of no use in a field; their breaks are.
_COMMANDS: Final = {"br": "\n", "ce": "\n", "sp": "\n", "sk": " ", "fi": "", "nf": "", "in": "", "ti": ""}


def _resolve(sequence: str, named: dict[str, str], charset: str) -> str | None:
    if sequence in named:
        return named[sequence] or None
    if sequence in ("H", "N"):  # highlighting on and off, ch. 2.7.2
        return ""
    if sequence.startswith("X"):
        return _decode_hex(sequence[1:], charset)
    command = _COMMAND.fullmatch(sequence)
    if command is None:
        return None
    return _COMMANDS[command[1]] * min(int(command[2] or 1), ESCAPED_LINES_MAX)


def _decode_hex(digits: str, charset: str) -> str | None:
    if not digits or not _HEX.fullmatch(digits):
        return None
    try:
        return bytes.fromhex(digits).decode("utf-8" if charset in _NOT_FOR_HEX else charset)
    except UnicodeDecodeError:
        return None


_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
# One hex byte is one character of ASCII at least, which in the wide encodings it is not; plain ASCII leaves it open.
_NOT_FOR_HEX: Final = frozenset({"ascii", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
