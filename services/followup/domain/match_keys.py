"""The keys under which people who might be one are found: 64-bit hashes of what they would have to share.

Promise: whenever `identity.match` of a person and a patient is not `Unmatched`, the two have a key in common; a
property test holds the two modules together. Keys are specific on purpose (never a telephone, a ZIP code or a birth
date alone), so that the number of candidates does not grow with the panel. A key in common proves nothing, `match`
decides; so a hash collision, or a key that outlived a change, costs one comparison and never makes a link.
Keys are stored: whoever changes what a person's keys are adds a migration that rebuilds them.
Source: matching.md §4 (64-bit keys in one table, two tiers), DESIGN §7.
"""

from hashlib import blake2b
from typing import Final

from services.followup.domain.demographics import ComparableDemographics

_PART: Final = "\x1f"


def match_keys(person: ComparableDemographics) -> frozenset[int]:
    """Return all keys of a person; what the panel is indexed by."""
    return identifier_keys(person) | demographic_keys(person)


def identifier_keys(person: ComparableDemographics) -> frozenset[int]:
    """Return the keys of a person's identifiers: one for each number within its authority."""
    return frozenset(_key("identifier", *one.scope, one.value) for one in person.identifiers)


def demographic_keys(person: ComparableDemographics) -> frozenset[int]:
    """Return the keys of two of name, birth date and a third, in each way they can be put together."""
    names = [
        f"{''.join(name.family)}{_PART}{''.join(name.given)}" for name in person.names if name.family and name.given
    ]
    born = person.birth_date.isoformat() if person.birth_date else None
    thirds = [f"phone{_PART}{phone}" for phone in person.phones]
    thirds += [f"home{_PART}{home.street}{_PART}{home.zip5}" for home in person.homes]
    thirds += [f"ssn4{_PART}{person.ssn4}"] if person.ssn4 else []
    keys = [_key("name", name, third) for name in names for third in thirds]
    if born:
        keys += [_key("name+birth", name, born) for name in names]
        keys += [_key("birth", born, third) for third in thirds]
    return frozenset(keys)


def _key(*parts: str) -> int:
    digest = blake2b(_PART.join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
