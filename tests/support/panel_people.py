"""People for tests of matching: one who is on the panel, and how others differ from her."""

from dataclasses import replace
from datetime import date
from typing import Any

from services.followup.domain.demographics import (
    ComparableDemographics,
    Identifier,
    RawAddress,
    RawDemographics,
    RawName,
    comparable,
)
from services.followup.domain.identity import Membership, PanelPerson

ANA = RawDemographics(
    names=(RawName(family="Rivera-Soto", given="Ana María"),),
    birth_date=date(1952, 3, 14),
    sex="F",
    phones=("(217) 483-0142",),
    addresses=(RawAddress(street="12 North Oak Street Apt 4", zip="62701"),),
    ssn="4821",
    identifiers=(
        Identifier(authority="MERCY", value="0001001", type="MR"),
        Identifier(authority="CMS", value="1EG4TE5MK72", type="MC"),
    ),
)
"""As the practice wrote her down."""

ALWAYS = (Membership(effective_from=None, effective_to=None),)


def mr(value: str, authority: str | None = "MERCY", type_: str | None = "MR") -> Identifier:
    """Return a record number."""
    return Identifier(authority=authority, value=value, type=type_)


def name(family: str | None, given: str | None, suffix: str | None = None) -> tuple[RawName, ...]:
    """Return one name, as the names of a person."""
    return (RawName(family=family, given=given, suffix=suffix),)


def other(raw: RawDemographics = ANA, **changes: Any) -> RawDemographics:
    """Return a person who differs in some fields."""
    return replace(raw, **changes)


def person(raw: RawDemographics = ANA, **changes: Any) -> ComparableDemographics:
    """Return a person, perhaps changed, as compared."""
    return comparable(replace(raw, **changes))


def panel_person(patient_id: str = "ana", raw: RawDemographics = ANA, **changes: Any) -> PanelPerson:
    """Return a person, perhaps changed, as somebody on the panel."""
    return PanelPerson(patient_id=patient_id, demographics=person(raw, **changes), memberships=ALWAYS)
