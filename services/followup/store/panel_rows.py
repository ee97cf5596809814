"""Panel rows as the database keeps them, and back as comparable people.

Owns the one way from stored columns to `ComparableDemographics`: the index of keys and the matching of messages go
through it, so that what is indexed is what is compared.
"""
# ruff: noqa: S608 - what is put into the statement is the name of a column

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from services.followup.domain.demographics import (
    ComparableDemographics,
    Identifier,
    RawAddress,
    RawDemographics,
    RawName,
    comparable,
)

COMPARED_COLUMNS: Final = ("family", "given", "suffix", "birth_date", "sex", "street", "zip", "phone", "ssn4")
"""The columns of a patient that matching looks at."""

_PART: Final = "\x1f"
_NEXT: Final = "\x1e"

StoredIdentifier = tuple[str, str, str]
"""Authority, value and type as stored: what is absent is empty."""


def stored_identifiers(identifiers: Iterable[Identifier]) -> list[StoredIdentifier]:
    """Return identifiers as stored, in the order of the database."""
    return sorted({(one.authority or "", one.value, one.type or "") for one in identifiers})


def pack_identifiers(identifiers: Iterable[StoredIdentifier]) -> str:
    """Return identifiers as one text; the same ones are the same text."""
    return _NEXT.join(_PART.join(one) for one in identifiers)


def unpack_identifiers(text: str) -> list[StoredIdentifier]:
    """Return what `pack_identifiers` put together."""
    if not text:
        return []
    return [(authority, value, type_) for authority, value, type_ in (one.split(_PART) for one in text.split(_NEXT))]


def packed_identifiers_of(patient_id: str) -> str:
    """Return the SQL for the identifiers of the patient that an expression names, as `pack_identifiers` does it."""
    return f"""
        coalesce((
            SELECT group_concat(packed, char(30)) FROM (
                SELECT authority || char(31) || value || char(31) || type AS packed
                FROM main.patient_identifier WHERE patient_id = {patient_id} ORDER BY authority, value, type)), '')
    """


def stored_person(columns: Mapping[str, Any], identifiers: Iterable[StoredIdentifier]) -> ComparableDemographics:
    """Return a stored patient as compared; SQLite gives the birth date as ISO text."""
    birth_date, phone = columns["birth_date"], columns["phone"]
    return comparable(
        RawDemographics(
            names=(RawName(family=columns["family"], given=columns["given"], suffix=columns["suffix"]),),
            birth_date=date.fromisoformat(birth_date) if isinstance(birth_date, str) else birth_date,
            sex=columns["sex"],
            phones=(phone,) if phone else (),
            addresses=(RawAddress(street=columns["street"], zip=columns["zip"]),),
            ssn=columns["ssn4"],
            identifiers=tuple(
                Identifier(authority=authority or None, value=value, type=type_ or None)
                for authority, value, type_ in identifiers
            ),
        )
    )
