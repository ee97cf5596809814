"""Texts about a person made comparable: case, accents, punctuation, the ways to write a street or a telephone.

Promise: any text gives a result or `None`, never an error, in time linear in a capped length; normalizing a result
again changes nothing. `None` means "says nothing": empty, unreadable, or a filler (`placeholders`).
Sources: domain §2.4 (11, 12, 15, 18), §4; matching.md §1 (standardizing name and address is what lifts sensitivity);
USPS Publication 28, appendices B, C1 and C2; North American Numbering Plan.
"""

import re
import unicodedata
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

from services.followup.domain.placeholders import (
    is_filler_address,
    is_filler_birth_date,
    is_filler_number,
    is_filler_phone,
    is_filler_ssn,
)

TEXT_CHARACTERS_MAX: Final = 200
"""What is compared of one field; the longest real names and street lines are half of that (fault B17)."""
NAMES_CACHED_MAX: Final = 20_000
"""Half of all people share that many family names, so that their words are worth keeping."""

# These vanish instead of parting a word: O'Brien, J.R., P.O. Box.
_JOINING: Final = "'’‘`´ʼ.\x00"  # noqa: RUF001 - all the ways to write an apostrophe
_ASCII: Final = "".join(chr(code).upper() if chr(code).isalnum() else " " for code in range(128)).encode() + bytes(128)
_ASCII_JOINING: Final = b"'`.\0"
_JOINING_TABLE: Final = dict.fromkeys(map(ord, _JOINING))
# Letters that Unicode does not take apart into a base letter and an accent.
_LETTERS: Final = str.maketrans({"Ł": "L", "Ø": "O", "Đ": "D", "Ð": "D", "Æ": "AE", "Œ": "OE", "Þ": "TH", "ẞ": "SS"})
_WORD: Final = re.compile(r"[^\W_]+")
_NICKNAME: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]|\"[^\"]*\"|“[^”]*”")  # ROBERT (BOB): noted beside the name
_QUOTING: Final = re.compile(r"[(\[\"“]")

_GENERATIONS: Final = {
    "JR": "JR", "JUNIOR": "JR", "SR": "SR", "SENIOR": "SR", "II": "II", "2ND": "II", "III": "III", "3RD": "III",
    "IV": "IV", "4TH": "IV", "V": "V", "5TH": "V",
}  # fmt: skip
# As part of a name field only what is no word of a name: JUNIOR, SENIOR and V are.
_GENERATIONS_IN_NAMES: Final = frozenset({"JR", "SR", "II", "III", "IV", "2ND", "3RD", "4TH"})

_STREET_WORDS: Final = {
    "STREET": "ST", "STR": "ST", "AVENUE": "AVE", "AV": "AVE", "AVEN": "AVE", "ROAD": "RD", "DRIVE": "DR",
    "DRV": "DR", "BOULEVARD": "BLVD", "BOUL": "BLVD", "LANE": "LN", "COURT": "CT", "CRT": "CT", "PLACE": "PL",
    "CIRCLE": "CIR", "CIRC": "CIR", "TERRACE": "TER", "TERR": "TER", "PARKWAY": "PKWY", "PKY": "PKWY",
    "HIGHWAY": "HWY", "SQUARE": "SQ", "TRAIL": "TRL", "TURNPIKE": "TPKE", "EXPRESSWAY": "EXPY", "CRESCENT": "CRES",
    "CROSSING": "XING", "HEIGHTS": "HTS", "MOUNT": "MT", "FORT": "FT", "SAINT": "ST", "ROUTE": "RTE", "RT": "RTE",
    "NORTH": "N", "SOUTH": "S", "EAST": "E", "WEST": "W", "NORTHEAST": "NE", "NORTHWEST": "NW", "SOUTHEAST": "SE",
    "SOUTHWEST": "SW",
    "FIRST": "1ST", "SECOND": "2ND", "THIRD": "3RD", "FOURTH": "4TH", "FIFTH": "5TH", "SIXTH": "6TH",
    "SEVENTH": "7TH", "EIGHTH": "8TH", "NINTH": "9TH", "TENTH": "10TH",
    "APARTMENT": "#", "APT": "#", "UNIT": "#", "SUITE": "#", "STE": "#", "ROOM": "#", "RM": "#",
}  # fmt: skip
_POST_BOX: Final = re.compile(r"\b(?:PO|POST OFFICE|P O) ?BOX\b")
_DIGIT: Final = re.compile(r"\d")
_EXTENSION: Final = re.compile(r"(?:EXT?|X|#|;)[^0-9]*[0-9]*\s*$", re.IGNORECASE)
_PHONE_PUNCTUATION: Final = b" ()-.+/"
_NOT_A_DIGIT: Final = re.compile(r"[^0-9]+")
_NOT_OF_A_NUMBER: Final = re.compile(r"[^0-9A-Z]+")
_PHONE_DIGITS: Final = 10
_ZIP_DIGITS: Final = 5
_SSN_DIGITS: Final = 9


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text, upper case, without accents, punctuation or anything invisible."""
    return tuple(_fold(text).split())


@lru_cache(maxsize=NAMES_CACHED_MAX)
def name_part(text: str | None) -> tuple[tuple[str, ...], str | None]:
    """Return the words of a family or given name, and apart from them a generation written behind: SMITH JR."""
    words = name_words(text)
    if len(words) > 1 and words[-1] in _GENERATIONS_IN_NAMES:
        return words[:-1], _GENERATIONS[words[-1]]
    return words, None


def name_words(text: str | None) -> tuple[str, ...]:
    """Return the words of a name field; nicknames in brackets or quotes are left out."""
    if not text:
        return ()
    plain = _NICKNAME.sub(" ", text[:TEXT_CHARACTERS_MAX]) if _QUOTING.search(text) else text
    return words_of(plain)


def generation_of(text: str | None) -> str | None:
    """Return the generation that a suffix field names (JR, SR, II …); degrees and titles say nothing."""
    return next((_GENERATIONS[word] for word in name_words(text) if word in _GENERATIONS), None)


def comparable_sex(text: str | None) -> Literal["F", "M"] | None:
    """Return F or M; everything else says nothing about who somebody is."""
    match (text or "").strip().upper():
        case "F" | "FEMALE":
            return "F"
        case "M" | "MALE":
            return "M"
    return None


def comparable_birth_date(birth_date: date | None) -> date | None:
    """Return the birth date unless it is one that stands for "unknown"."""
    return None if birth_date is None or is_filler_birth_date(birth_date) else birth_date


def comparable_phone(text: str | None) -> str | None:
    """Return the last ten digits, without extension and country code."""
    if not text:
        return None
    main = text[:TEXT_CHARACTERS_MAX]
    digits = main.encode("utf-8", "replace").translate(None, _PHONE_PUNCTUATION).decode()
    if not (digits.isascii() and digits.isdigit()):
        digits = _NOT_A_DIGIT.sub("", _EXTENSION.sub("", unicodedata.normalize("NFKC", main)))
    if len(digits) < _PHONE_DIGITS:
        return None
    domestic = len(digits) == _PHONE_DIGITS or (len(digits) == _PHONE_DIGITS + 1 and digits[0] == "1")
    number = digits[-_PHONE_DIGITS:]
    return None if is_filler_phone(number, domestic=domestic) else number


def comparable_zip(text: str | None) -> str | None:
    """Return the five digits of a ZIP or ZIP+4 code; a leading zero that a spreadsheet dropped is put back."""
    digits = _NOT_A_DIGIT.sub("", (text or "")[:TEXT_CHARACTERS_MAX])
    if len(digits) in {_ZIP_DIGITS - 1, _ZIP_DIGITS + 3}:
        digits = "0" + digits
    if len(digits) not in {_ZIP_DIGITS, _ZIP_DIGITS + 4} or len(set(digits[:_ZIP_DIGITS])) == 1:
        return None
    return digits[:_ZIP_DIGITS]


def comparable_street(text: str) -> str | None:
    """Return a street line in postal abbreviations; `None` where it names no house or post box.

    Words of letters run together (MAC ARTHUR, MACARTHUR); numbers stay apart (1 23RD ST is not 12 3RD ST).
    """
    folded = " ".join(words_of(text[:TEXT_CHARACTERS_MAX].replace("#", " UNIT ")))
    if "BOX" in folded:
        folded = _POST_BOX.sub("POBOX", folded)
    words = [_STREET_WORDS.get(word, word) for word in folded.split()]
    if not _DIGIT.search(folded) or is_filler_address(words):
        return None
    line = [""]
    for before, word in pairwise(("", *words)):
        if word.isalpha() and before.isalpha():
            line[-1] += word
        elif word != before or word != "#":
            line.append(word)
    return " ".join(line[1:])


def comparable_ssn4(text: str | None) -> str | None:
    """Return the last four digits of a Social Security number, or of what is left of one."""
    digits = _NOT_A_DIGIT.sub("", (text or "")[:TEXT_CHARACTERS_MAX])
    if len(digits) not in {4, _SSN_DIGITS} or is_filler_ssn(digits):
        return None
    return digits[-4:]


def comparable_number(text: str) -> str | None:
    """Return an identifier's value without punctuation, and without the zeros that pad a number."""
    folded = text[:TEXT_CHARACTERS_MAX].upper()
    number = _NOT_OF_A_NUMBER.sub("", folded if folded.isascii() else "".join(words_of(folded)))
    if number.isdigit():
        number = number.lstrip("0")
    return None if not number or is_filler_number(number) else number


def _fold(text: str) -> str:
    if text.isascii():
        # As bytes: ten times as fast as translating text.
        return text[:TEXT_CHARACTERS_MAX].encode().translate(_ASCII, _ASCII_JOINING).decode()
    upper = text[:TEXT_CHARACTERS_MAX].translate(_JOINING_TABLE).upper()
    decomposed = unicodedata.normalize("NFKD", upper).translate(_LETTERS)
    visible = (
        character
        for character in decomposed
        if not unicodedata.combining(character) and unicodedata.category(character) != "Cf"
    )
    return " ".join(_WORD.findall("".join(visible).upper()))
