"""From an AdtEvent to what it states about one stay.

The one place where the contract's words become the domain's. A message belongs to a *source patient*: the first
record number within its authority, where there is none another identifier, else name and birth date. Both are
functions of the message alone, so order does not matter.
"""

from typing import Final

from schemas.events import AdtEvent, Identifier, Timestamp
from services.followup.domain.statements import IDENTIFIER_FIELD, Statement, bounded, pack, statement_order
from services.followup.domain.times import StatedTime, microseconds

JOINED_KINDS: Final = frozenset(
    {
        "admitted",
        "transferred",
        "discharged",
        "registered",
        "pre_admitted",
        "became_inpatient",
        "became_outpatient",
        "updated",
        "admit_canceled",
        "transfer_canceled",
        "discharge_canceled",
    }
)
"""Kinds that say something about a stay. The others are recorded and take no effect on one."""

_CANCELS: Final = frozenset({"admit_canceled", "discharge_canceled"})
"""What a cancel repeats of the end it takes back (PV1-36) is not a statement about the stay."""

_CLASS_OF_CHANGE: Final = {"became_inpatient": "IMP", "became_outpatient": "AMB"}
"""A06 and A07 name the new class by their meaning where PV1-2 is empty (HL7 v2.5.1 ch. 3.3.6, 3.3.7)."""

_NULLS: Final = {"visit.class": "class", "visit.disposition": "disposition", "patient.deceased": "deceased"}

_RECORD_TYPES: Final = {"MR": 0, "MRN": 0, None: 1, "PI": 2, "PT": 2}
_FILLERS_LAST: Final = 9


def source_key(event: AdtEvent) -> str:
    """Return the key of the source patient that a message speaks of.

    Raises:
        ValueError: the event names nobody; intake parks such messages, so this is a defect of the caller.
    """
    numbers = [one for one in event.patient.identifiers if one.authority or one.type]
    if numbers or event.patient.identifiers:
        found = min(
            enumerate(numbers or event.patient.identifiers),
            key=lambda pair: (_RECORD_TYPES.get(pair[1].type, _FILLERS_LAST), pair[0]),
        )[1]
        scope = found.authority or f"feed:{event.feed or ''}"
        return bounded(f"{scope}|{_type_of(found)}|{found.value}")
    name = event.patient.names[0] if event.patient.names else None
    if name is None or event.patient.birth_date is None:
        raise ValueError("the message names no patient")
    spelled = f"{name.family or ''},{name.given or ''}".upper()
    return bounded(f"feed:{event.feed or ''}|name|{spelled}|{event.patient.birth_date.isoformat()}")


def _type_of(identifier: Identifier) -> str:
    rank = _RECORD_TYPES.get(identifier.type, _FILLERS_LAST)
    return "record" if rank < _FILLERS_LAST else identifier.type or ""


def statement_of(event: AdtEvent) -> Statement:
    """Return what an accepted event of a joined kind states about its stay.

    Raises:
        ValueError: the event has no time or names nobody; intake parks such messages.
    """
    recorded = event.recorded_at or event.sent_at or event.occurred_at
    recorded = recorded or event.visit.discharged_at or event.visit.admitted_at
    if recorded is None:
        raise ValueError("the message has no time")
    sent = event.sent_at or recorded
    visit = event.visit
    return Statement(
        order=statement_order(
            sent_us=microseconds(sent.at),
            recorded_us=microseconds(recorded.at),
            trigger=event.trigger or "",
            control_id=event.control_id or "",
            event_id=event.event_id,
        ),
        received_us=microseconds(event.received_at),
        admitted=event.processing.admitted,
        trigger=event.trigger or "",
        source_key=source_key(event),
        visit_authority=_visit_authority(event),
        visit_number=bounded(visit.number.value) if visit.number else None,
        facility_code=visit.facility.code if visit.facility else event.feed or "",
        zone=visit.facility.zone if visit.facility else recorded.zone,
        admit_time=_stated(visit.admitted_at),
        discharge_time=_stated(visit.discharged_at),
        discharge_deleted="visit.discharged_at" in event.nulls,
        event_time=_stated(event.occurred_at),
        recorded_time=_stated(recorded) or StatedTime(local=recorded.local.isoformat(timespec="minutes")),
        movement_id=visit.movement_id,
        fields=_fields(event),
    )


def _visit_authority(event: AdtEvent) -> str | None:
    """PV1-19.4, else the authority of the first record number, else the feed; never PV1-3.4 (rule 6)."""
    number = event.visit.number
    if number is None:
        return None
    if number.authority:
        return bounded(number.authority)
    ranked = [one for one in event.patient.identifiers if one.type in _RECORD_TYPES and one.authority]
    return bounded(ranked[0].authority or "") if ranked else f"feed:{event.feed or ''}"


def _stated(timestamp: Timestamp | None) -> StatedTime | None:
    """Return a written time at the resolution of the minute; a month or a year alone says nothing about a stay."""
    if timestamp is None or timestamp.precision in ("year", "month"):
        return None
    if timestamp.precision == "day":
        return StatedTime(local=timestamp.local.date().isoformat())
    return StatedTime(local=timestamp.local.isoformat(timespec="minutes"), offset_minutes=timestamp.offset_minutes)


def _fields(event: AdtEvent) -> dict[str, str | None]:
    """Return what the snapshot says, by field: a value, `None` for HL7's null; an empty field is not there."""
    deleted = {field: None for null, field in _NULLS.items() if null in event.nulls}
    stated = _visit_fields(event) | _identity_fields(event)
    if event.kind in _CANCELS:
        stated.pop("disposition", None)
    return deleted | {name: value for name, value in stated.items() if value}


def _visit_fields(event: AdtEvent) -> dict[str, str | None]:
    visit = event.visit
    deceased = event.patient.deceased
    fields: dict[str, str | None] = {
        "location": visit.location,
        "reason": visit.reason,
        "deceased": None if deceased is None else str(int(deceased)),
    }
    if visit.class_ is not None:
        fields["class"] = pack(visit.class_.code, visit.class_.raw)
    elif event.kind in _CLASS_OF_CHANGE:
        fields["class"] = pack(_CLASS_OF_CHANGE[event.kind], None)
    if visit.disposition is not None:
        fields["disposition"] = pack(visit.disposition.code, visit.disposition.raw, visit.disposition.text)
    if visit.facility is not None:
        fields["facility"] = pack(visit.facility.code, visit.facility.name, visit.facility.zone)
    if (admitted := _stated(visit.admitted_at)) is not None:
        offset = admitted.offset_minutes
        fields["admitted_at"] = pack(admitted.local, None if offset is None else str(offset))
    return fields


def _identity_fields(event: AdtEvent) -> dict[str, str | None]:
    """Return who the message says the patient is; the identifiers of an authority and type are one field."""
    patient = event.patient
    slots: dict[str, list[str]] = {}
    for identifier in patient.identifiers:
        slots.setdefault(pack(identifier.authority, identifier.type), []).append(identifier.value)
    identifiers: dict[str, str | None] = {f"{IDENTIFIER_FIELD}{slot}": pack(*values) for slot, values in slots.items()}
    return identifiers | {
        "names": "\n".join(pack(name.family, name.given, name.middle, name.suffix) for name in patient.names),
        "addresses": "\n".join(pack(one.street, one.zip) for one in patient.addresses),
        "phones": pack(*(phone.number for phone in patient.phones)),
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else None,
        "sex": patient.sex,
        "ssn": patient.ssn,
        "language": patient.language,
    }
