"""Identifiers of an event: CX fields (HL7 v2.5.1 ch. 2.A.14, table 0203).

Promises:

- An identifier without an assigning authority gets the feed's only where it is a medical record number, an internal
  number or untyped; never a Social Security, Medicare or license number, which would then match another person's.
- Fillers (all zeros, 999-99-9999) are dropped with a finding: they would make one person of many.
"""

import re
from typing import Final

from schemas.events import Identifier
from services.ingest.feeds import FacilityProfile, FeedProfile
from services.ingest.hl7.segment import Segment

SOCIAL_SECURITY: Final = frozenset({"SS", "SSN"})

_AUTHORITY_SUPPLIED: Final = frozenset({None, "MR", "MRN", "PI", "U"})
"""Medical record number, patient internal identifier, and unspecified, which is untyped in other words."""
_MEDICARE: Final = "MC"
_MEDICARE_NUMBER: Final = re.compile(  # the format of the Medicare Beneficiary Identifier, CMS 2018
    r"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y]{2}\d{2}"
)
_PARTED: Final = frozenset({1, 4})
"""CX.4 is an HD: the first part that is filled is its namespace, or where there is none its OID."""
_FILLER_STARTS: Final = frozenset("0-9NnUu ")
_FILLER: Final = re.compile(r"[0 -]+|9{6,}|9{3}-9{2}-9{4}|N/?A|NONE|NULL|UNK(?:NOWN)?", re.IGNORECASE)


def read_identifiers(segment: Segment, field: int, supplied: str | None) -> tuple[Identifier, ...]:
    """Read a field of identifiers, each once; ``supplied`` is the authority of record numbers that name none."""
    found: dict[Identifier, None] = {}
    for row in segment.rows(field, _PARTED):
        value = row[0].strip()
        if not value or _is_filler(segment, field, value):
            continue
        authority, kind = row[3].strip().upper() or None, row[4].strip().upper() or None
        # MB is "member number" of any plan; only one of Medicare's form is Medicare's.
        if kind == "MBI" or (kind == "MB" and _MEDICARE_NUMBER.fullmatch(value.upper())):
            kind = _MEDICARE
        if authority is None and kind in _AUTHORITY_SUPPLIED:
            authority = supplied
        found[Identifier(value=value, authority=authority, type=kind)] = None
    return tuple(found)


def read_identifier(segment: Segment, field: int) -> Identifier | None:
    """Read the first repetition, with the authority that it names itself: an account or a visit number."""
    rows = segment.rows(field, _PARTED)
    if not rows:
        return None
    row = rows[0]
    value = row[0].strip()
    if not value or _is_filler(segment, field, value):
        return None
    return Identifier(value=value, authority=row[3].strip().upper() or None, type=row[4].strip().upper() or None)


def supplied_authority(feed: FeedProfile, facility: FacilityProfile | None) -> str | None:
    """Return the authority of record numbers that name none: the facility's, else the feed's."""
    return (facility.authority if facility is not None else None) or feed.authority


def _is_filler(segment: Segment, field: int, value: str) -> bool:
    if value[0] not in _FILLER_STARTS or not _FILLER.fullmatch(value):
        return False
    segment.note("identifier-filler", field)
    return True
