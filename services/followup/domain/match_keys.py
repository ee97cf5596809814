"""The keys under which people who might be one are found: 64-bit hashes of what they would have to share.

Promise: whenever `identity.match` of a person and a patient is not `Unmatched`, the two have a key in common; a
property test holds the two modules together. Keys are specific on purpose (never a telephone, a ZIP code or a birth
date alone), so that the number of candidates does not grow with the panel. A key in common proves nothing, `match`
decides; so a hash collision, or a key that outlived a change, costs one comparison and never makes a link.
Keys are stored: whoever changes what a person's keys are adds a migration that rebuilds them.
Source: matching.md §4 (64-bit keys in one table, two tiers), DESIGN §7.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import product
from typing import Final

from services.followup.domain.demographics import ComparableDemographics, Name

_PART: Final = "\x1f"


def match_keys(person: ComparableDemographics) -> frozenset[int]:
    """Return all keys of a person; what the panel is indexed by."""
    return identifier_keys(person) | demographic_keys(person)


def identifier_keys(person: ComparableDemographics) -> frozenset[int]:
    """Return the keys of a person's identifiers: one for each number within its authority."""
    return frozenset(_key("identifier", *one.scope, one.value) for one in person.identifiers)


def demographic_keys(person: ComparableDemographics) -> frozenset[int]:
    """Return the keys of two of name, birth date and a third, in each way they can be put together."""
    names = [_PART.join(("".join(name.family), "".join(name.given))) for name in person.names if _is_whole(name)]
    born = [person.birth_date.isoformat()] if person.birth_date else []
    thirds = list(_thirds(person))
    return frozenset((*_keys("name+birth", names, born), *_keys("name", names, thirds), *_keys("birth", born, thirds)))


def _is_whole(name: Name) -> bool:
    return bool(name.family and name.given)


def _thirds(person: ComparableDemographics) -> Iterator[str]:
    for phone in person.phones:
        yield f"phone{_PART}{phone}"
    for home in person.homes:
        yield f"home{_PART}{home.street}{_PART}{home.zip5}"
    if person.ssn4:
        yield f"ssn4{_PART}{person.ssn4}"


def _keys(kind: str, left: Iterable[str], right: Iterable[str]) -> Iterator[int]:
    return (_key(kind, one, other) for one, other in product(left, right))


def _key(*parts: str) -> int:
    digest = blake2b(_PART.join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
