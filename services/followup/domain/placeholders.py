"""What stands in a field when nobody knew: fillers, newborns' and unknown patients' names, test patients.

Promise: a filler is treated as missing and never makes two people one; a placeholder name never links by itself
(fault B32, matching.md §4). Lists err on the side of review: a real person called so is looked at by a person.
Texts come in as `normalization` leaves them: upper-case words.
Sources: domain §2.4 (11, 12, 13, 15); faults B32, B33; Social Security Administration (numbers never issued); North
American Numbering Plan (area and exchange codes begin with 2 to 9; 555 is not assigned to people).
"""

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Final, Literal

PlaceholderName = Literal["newborn", "unknown", "test"]

_TEST: Final = re.compile(
    r"(?:ZZ\w*|[XZ]*TEST(?:ING|PATIENT|PAT|PT|ONLY|CASE|DONOTUSE)?\d*|DUMMY(?:PATIENT)?|DONOTUSE)", re.ASCII
)
_NEWBORN: Final = re.compile(r"(?:BABY|NEWBORN)\w*|(?:BB|BG|NB)[A-D1-4]?|INFANT|BOY|GIRL|MALE|FEMALE|TWIN", re.ASCII)
_NEWBORN_FAMILY: Final = re.compile(r"(?:BABY|NEWBORN)(?:BOY|GIRL)?", re.ASCII)
_UNKNOWN: Final = re.compile(
    r"UNK|UNKNOWN|UNIDENTIFIED|UNNAMED|ANONYMOUS|TRAUMA|DISASTER|NONAME|XX+|NULL|NONE|REFUSED|ALIAS", re.ASCII
)
_DOES: Final = frozenset({"JOHN", "JON", "JOHNNY", "JANE", "JANIE", "JIMMY", "J", "BOY", "GIRL", "MALE", "FEMALE"})
_NO_NAME: Final = frozenset({"FNU", "LNU", "NFN", "NLN", "NMN"})
"""First or last name unknown: written where somebody has only one name; the part is missing, the rest is real."""

_FILLER_NUMBERS: Final = frozenset(
    {"NA", "NONE", "NULL", "UNK", "UNKNOWN", "PENDING", "TBD", "TEST", "NOMRN", "123456789", "1234567890"}
)
_REPEATED_DIGITS_MIN: Final = 5
"""A record number of this many equal digits is a filler; a shorter one may be somebody's."""

_FILLER_SSN4: Final = frozenset({"0000", "1234", "9999"})
_FILLER_SSN: Final = frozenset({"123456789", "987654321", "078051120", "219099999"})  # the last two: printed specimens

_FILLER_ADDRESS_WORDS: Final = frozenset(
    {"UNKNOWN", "UNK", "HOMELESS", "UNDOMICILED", "TRANSIENT", "CONFIDENTIAL", "REFUSED", "NONE", "UNDELIVERABLE"}
)
_FILLER_ADDRESSES: Final = (
    "NO FIXED", "NO ADDRESS", "NO PERMANENT", "GENERAL DELIVERY", "RETURN MAIL", "RETURNED MAIL", "BAD ADDRESS",
    "SAME AS", "NOT AVAILABLE",
)  # fmt: skip
_FILLER_BIRTH_DATES: Final = frozenset({date(1900, 1, 1), date(1901, 1, 1), date(1899, 12, 30), date(1899, 12, 31)})
_BIRTH_YEAR_MIN: Final = 1895
"""Nobody born earlier is alive; such a date is a default or a misread century."""
_BIRTH_YEAR_MAX: Final = 2200
WORDS_CACHED_MAX: Final = 20_000
"""Names seen before cost nothing; a few thousand of them are most of a panel."""


def placeholder_name(family: tuple[str, ...], given: tuple[str, ...]) -> PlaceholderName | None:
    """Say what a name given as words stands for when it is nobody's."""
    kinds = (_family_kind(family), _given_kind(given))
    for kind in ("test", "newborn", "unknown"):
        if kind in kinds:
            return kind
    if family == ("DOE",) and (not given or given[0] in _DOES):
        return "unknown"
    return None


def known_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a name part, none where they say that it is not known."""
    return () if len(words) == 1 and words[0] in _NO_NAME else words


def is_filler_birth_date(birth_date: date) -> bool:
    """Say whether a birth date stands for "unknown"."""
    return birth_date in _FILLER_BIRTH_DATES or not _BIRTH_YEAR_MIN <= birth_date.year <= _BIRTH_YEAR_MAX


def is_filler_phone(number: str, *, domestic: bool) -> bool:
    """Say whether ten digits ring nobody; `domestic` ones keep to the North American Numbering Plan."""
    area, exchange, local = number[:3], number[3:6], number[3:]
    if len(set(local)) == 1 or local == "1234567":
        return True
    return domestic and (area[0] in "01" or exchange[0] in "01" or "555" in {area, exchange} or area == "999")


def is_filler_ssn(digits: str) -> bool:
    """Say whether four or nine digits of a Social Security number were never somebody's."""
    if digits[-4:] in _FILLER_SSN4:
        return True
    if len(digits) == len("0000"):
        return False
    never_issued = digits[:3] in {"000", "666"} or digits[0] == "9" or digits[3:5] == "00"
    return never_issued or len(set(digits)) == 1 or digits in _FILLER_SSN


def is_filler_number(number: str) -> bool:
    """Say whether an identifier's value is a filler: all zeros are gone before, a word, one digit many times."""
    repeated = len(number) >= _REPEATED_DIGITS_MIN and number.isdigit() and len(set(number)) == 1
    return repeated or number in _FILLER_NUMBERS


def is_filler_address(words: Sequence[str]) -> bool:
    """Say whether a street line names no home."""
    line = " ".join(words)
    return not _FILLER_ADDRESS_WORDS.isdisjoint(words) or any(filler in line for filler in _FILLER_ADDRESSES)


@lru_cache(maxsize=WORDS_CACHED_MAX)
def _family_kind(words: tuple[str, ...]) -> PlaceholderName | None:
    return _kind(words, _NEWBORN_FAMILY)


@lru_cache(maxsize=WORDS_CACHED_MAX)
def _given_kind(words: tuple[str, ...]) -> PlaceholderName | None:
    return _kind(words, _NEWBORN)


def _kind(words: tuple[str, ...], newborn: re.Pattern[str]) -> PlaceholderName | None:
    if any(map(_TEST.fullmatch, words)):
        return "test"
    if words and newborn.fullmatch(words[0]):
        return "newborn"
    return "unknown" if words and _UNKNOWN.fullmatch(words[0]) else None
