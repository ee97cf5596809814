"""Who a record says a person is: as written, and made comparable.

`RawDemographics` is what a message or a panel row says, `ComparableDemographics` what may be compared; they are
different types, so that nothing compares what was not normalized (house style 17). Promise: any texts give comparable
demographics, never an error; what says nothing (empty, unreadable, a filler, a placeholder name) is absent from them.
The parts of both are named tuples, which cost a third of dataclasses: an import makes ten for each of a million people.
Sources: HL7 v2.5.1 ch. 2.A.14 (CX), 2.A.88 (XPN), table 0203; domain §2.2, §2.4 (11 to 13, 15); faults B17, B32, B33.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import islice
from typing import Final, Literal, NamedTuple

from services.followup.domain.normalization import (
    TEXT_CHARACTERS_MAX,
    comparable_birth_date,
    comparable_number,
    comparable_phone,
    comparable_sex,
    comparable_ssn4,
    comparable_street,
    comparable_zip,
    generation_of,
    name_part,
)
from services.followup.domain.placeholders import PlaceholderName, known_words, placeholder_name

IDENTIFIERS_MAX: Final = 64
NAMES_MAX: Final = 10
HOMES_MAX: Final = 10
PHONES_MAX: Final = 20
"""What is compared of one person; a message of 1,000 identifiers (B33) must cost no more than a long one."""

AUTHORITIES_CACHED_MAX: Final = 1_000

MBI: Final = "MBI"
"""Type of a Medicare beneficiary identifier: there is one authority, CMS, so it is compared whatever is written."""
_TYPES: Final = {"": "MR", "U": "MR", "MRN": "MR", "PT": "PI", "MC": MBI}
"""Types of table 0203 under their comparable name; a number without type in PID-3 is a record number."""
_RECORD_TYPES: Final = frozenset({"MR", "PI"})
_NOT_COMPARED: Final = frozenset({"SS", "SSN", "AN", "ANC", "AND", "ANT", "VN"})
"""Social Security numbers are mistyped and shared (matching.md §1); account and visit numbers name no person."""


class Identifier(NamedTuple):
    """CX as written: the value within its assigning authority, and its type (table 0203)."""

    authority: str | None
    value: str
    type: str | None


class RawName(NamedTuple):
    """XPN as written."""

    family: str | None = None
    given: str | None = None
    suffix: str | None = None


class RawAddress(NamedTuple):
    """The part of an XAD that is compared, as written."""

    street: str | None = None
    zip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDemographics:
    """A person as written; the first name is the current one. HL7's null is for the caller to leave out."""

    names: tuple[RawName, ...] = ()
    birth_date: date | None = None
    sex: str | None = None
    phones: tuple[str, ...] = ()
    addresses: tuple[RawAddress, ...] = ()
    ssn: str | None = None
    """All nine digits or the last four."""
    identifiers: tuple[Identifier, ...] = ()


class Name(NamedTuple):
    """A name by its words; a part that is not known is empty. Never a placeholder."""

    family: tuple[str, ...]
    given: tuple[str, ...]


class Home(NamedTuple):
    """A street line in postal abbreviations and its five-digit ZIP code."""

    street: str
    zip5: str


class ComparableIdentifier(NamedTuple):
    """A number within its authority (empty for an MBI)."""

    authority: str
    type: str
    value: str

    @property
    def scope(self) -> tuple[str, str]:
        """Where one value is one person: senders write one record number now as MR, now as PI, now without type."""
        return self.authority, "record" if self.type in _RECORD_TYPES else self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparableDemographics:
    """A person made comparable. What is absent says nothing; `placeholder` says what the current name stands for."""

    names: tuple[Name, ...] = ()
    suffix: str | None = None
    birth_date: date | None = None
    sex: Literal["F", "M"] | None = None
    phones: frozenset[str] = frozenset()
    homes: frozenset[Home] = frozenset()
    ssn4: str | None = None
    identifiers: frozenset[ComparableIdentifier] = frozenset()
    placeholder: PlaceholderName | None = None

    @property
    def is_placeholder(self) -> bool:
        """Whether the name is nobody's: a newborn's, an unknown's or a test patient's. Such a record never links."""
        return self.placeholder is not None

    @property
    def families(self) -> frozenset[str]:
        """Family names, present and previous."""
        return frozenset("".join(name.family) for name in self.names if name.family)

    @property
    def givens(self) -> frozenset[str]:
        """Given names, present and previous."""
        return frozenset("".join(name.given) for name in self.names if name.given)


def comparable(raw: RawDemographics) -> ComparableDemographics:
    """Make a person comparable."""
    names: list[Name] = []
    suffix: str | None = None
    placeholders: list[PlaceholderName | None] = []
    for written in raw.names[:NAMES_MAX]:
        family, behind_family = name_part(written.family)
        given, behind_given = name_part(written.given)
        if not family and not given:
            continue
        suffix = suffix or generation_of(written.suffix) or behind_family or behind_given
        stands_for = placeholder_name(family, given)
        placeholders.append(stands_for)
        name = _known_name(family, given, stands_for)
        if name not in names and (name.family or name.given):
            names.append(name)
    return ComparableDemographics(
        names=tuple(names),
        suffix=suffix,
        birth_date=comparable_birth_date(raw.birth_date),
        sex=comparable_sex(raw.sex),
        phones=frozenset(filter(None, map(comparable_phone, raw.phones[:PHONES_MAX]))),
        homes=frozenset(_homes(raw.addresses[:HOMES_MAX])),
        ssn4=comparable_ssn4(raw.ssn),
        identifiers=frozenset(_identifiers(raw.identifiers)),
        placeholder=placeholders[0] if placeholders else None,
    )


def comparable_identifier(identifier: Identifier) -> ComparableIdentifier | None:
    """Make an identifier comparable; `None` where it names no person within an authority."""
    written = (identifier.type or "").strip().upper()
    type_ = _TYPES.get(written, written)
    value = comparable_number(identifier.value)
    if value is None or type_ in _NOT_COMPARED:
        return None
    if type_ == MBI:
        return ComparableIdentifier(authority="", type=MBI, value=value)
    authority = _comparable_authority(identifier.authority or "")
    return ComparableIdentifier(authority=authority, type=type_, value=value) if authority else None


@lru_cache(maxsize=AUTHORITIES_CACHED_MAX)
def _comparable_authority(text: str) -> str:
    return " ".join(text[:TEXT_CHARACTERS_MAX].upper().split())


def _known_name(family: tuple[str, ...], given: tuple[str, ...], stands_for: PlaceholderName | None) -> Name:
    """Return what is real of a name: of a newborn's the family, of an unknown's or a test patient's nothing."""
    match stands_for:
        case None:
            return Name(family=known_words(family), given=known_words(given))
        case "newborn":
            behind = placeholder_name(family, ()) is not None
            return Name(family=() if behind else known_words(family), given=())
    return Name(family=(), given=())


def _homes(addresses: Iterable[RawAddress]) -> Iterable[Home]:
    for address in addresses:
        zip5 = comparable_zip(address.zip)
        street = comparable_street(address.street or "")
        if zip5 and street:
            yield Home(street=street, zip5=zip5)


def _identifiers(written: Iterable[Identifier]) -> Iterable[ComparableIdentifier]:
    return filter(None, map(comparable_identifier, islice(written, IDENTIFIERS_MAX)))
