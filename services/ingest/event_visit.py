"""The visit of an event: facility, PV1, PV2, ZBE, DG1 and MRG.

Promise: class and disposition keep what was sent beside our word for it, and have no word where neither the feed nor
the built-in table maps them; neither is ever guessed, since follow-up depends on both.

Source: HL7 v2.5.1 ch. 3.4.3, 3.4.4, 6.5.2 and 3.4.9; IHE PAM ITI-31 for ZBE; `domain.md` §2.2.
"""

from typing import Final
from zoneinfo import ZoneInfo

from schemas.events import Coded, Diagnosis, Facility, Merge, Visit
from services.ingest.event_identifiers import read_identifier, read_identifiers
from services.ingest.event_patient import person_or_id
from services.ingest.event_times import read_time
from services.ingest.feeds import FacilityProfile, FeedProfile
from services.ingest.hl7.message import Message
from services.ingest.hl7.segment import Segment

DIAGNOSES_MAX: Final = 200
"""Read of one message; coded stays have some thirty."""


def facility_of(message: Message, feed: FeedProfile) -> tuple[Facility | None, FacilityProfile | None]:
    """Return the facility of the stay, and its profile where the feed has one.

    The code is looked for in PV1-3.4, EVN-7 and MSH-4 among the feed's facilities, in each by namespace and then by
    universal id; if none is there, the code is the first of PV1-3.4 and MSH-4 that is filled, in the feed's zone.
    """
    header, pv1 = message.header, message.first("PV1")
    located = pv1.component(3, 4).strip() if pv1 is not None else ""
    profile = (feed.facility_of(located) or _listed(message, feed)) if feed.facilities else None
    if profile is not None:
        return Facility(code=profile.code, name=profile.name, zone=profile.zone.key), profile
    code = located or (pv1.component(3, 4, subcomponent=2).strip() if pv1 is not None else "")
    code = code or header.component(4).strip()
    return (Facility(code=code, zone=feed.zone.key) if code else None), None


def _listed(message: Message, feed: FeedProfile) -> FacilityProfile | None:
    """Look for a facility of the feed where the namespace of PV1-3.4 is none."""
    header, pv1, evn = message.header, message.first("PV1"), message.first("EVN")
    return feed.facility_of(
        pv1.component(3, 4, subcomponent=2) if pv1 is not None else "",
        evn.component(7) if evn is not None else "",
        evn.component(7, 2) if evn is not None else "",
        header.component(4),
        header.component(4, 2),
    )


def read_visit(message: Message, feed: FeedProfile, facility: Facility | None, zone: ZoneInfo) -> Visit:
    """Read the visit as the sender sees it now, its times in the zone of the facility."""
    pv1, pv2, zbe = message.first("PV1"), message.first("PV2"), message.first("ZBE")
    planned = read_time(pv2, 9, zone)
    reason = _words(pv2, 3, 2) or _words(pv2, 3)
    movement_id, movement_action = zbe.texts(1, 4) if zbe is not None else ("", "")
    if pv1 is None:
        return Visit(
            facility=facility,
            expected_discharge_at=planned,
            reason=reason,
            movement_id=movement_id or None,
            movement_action=movement_action.upper() or None,
        )
    class_, patient_type, admit_source, disposition = pv1.texts(2, 18, 14, 36)
    return Visit(
        number=read_identifier(pv1, 19),
        class_=_class(pv1, class_, feed),
        patient_type=patient_type or None,
        location=_location(pv1),
        facility=facility,
        admitted_at=read_time(pv1, 44, zone),
        discharged_at=read_time(pv1, 45, zone),
        expected_discharge_at=planned,
        disposition=_disposition(pv1, disposition, feed),
        attending=person_or_id(pv1, 7),
        admit_source=admit_source or None,
        reason=reason,
        movement_id=movement_id or None,
        movement_action=movement_action.upper() or None,
    )


def _class(pv1: Segment, raw: str, feed: FeedProfile) -> Coded | None:
    if not raw:
        return None
    code = feed.class_of(raw)
    if code is None:
        pv1.note("class-unmapped", 2)
    return Coded(raw=raw, code=code, text=_words(pv1, 2, 2))


def _disposition(pv1: Segment, raw: str, feed: FeedProfile) -> Coded | None:
    if not pv1.field(36):
        return None
    text = _words(pv1, 36, 2)
    if not raw:
        return Coded(raw=text, text=text) if text else None
    code = feed.disposition_of(raw)
    if code is None:
        pv1.note("disposition-unmapped", 36)
    return Coded(raw=raw, code=code, text=text)


def _location(pv1: Segment) -> str | None:
    """Return PV1-3, first repetition, its parts joined by spaces."""
    raw = pv1.field(3)
    if not raw:
        return None
    marks = pv1.delimiters
    first = raw.partition(marks.repetition)[0].replace('""', "")
    spaced = first.replace(marks.component, " ").replace(marks.subcomponent, " ")
    return " ".join(pv1.unescape(spaced, 3).split()) or None


def read_diagnoses(message: Message) -> tuple[Diagnosis, ...]:
    """Read DG1 segments that name a diagnosis by code or text."""
    segments = message.some("DG1", DIAGNOSES_MAX + 1)
    if len(segments) > DIAGNOSES_MAX:
        segments[DIAGNOSES_MAX].note("diagnoses-left-out", 3)
    read = [_diagnosis(one) for one in segments[:DIAGNOSES_MAX]]
    return tuple([one for one in read if one.code or one.text])


def _diagnosis(dg1: Segment) -> Diagnosis:
    rows = dg1.rows(3)
    code, text, system = rows[0][:3] if rows else ("", "", "")
    coding, kind = dg1.texts(2, 6)
    return Diagnosis(
        code=code.strip() or None,
        text=text.strip() or _words(dg1, 4),
        system=system.strip() or coding or None,
        type=kind or None,
    )


def read_merge(message: Message, supplied: str | None) -> Merge | None:
    """Read the first MRG: the identifiers that are retired, and the prior account and visit."""
    mrg = message.first("MRG")
    if mrg is None:
        return None
    identifiers = read_identifiers(mrg, 1, supplied) or read_identifiers(mrg, 4, supplied)
    return Merge(identifiers=identifiers, account=read_identifier(mrg, 3), visit_number=read_identifier(mrg, 5))


def read_sensitivity(message: Message) -> tuple[str, ...]:
    """Read what asks for care with the record: VIP, protection and visit protection indicators."""
    found = []
    for name, field in _SENSITIVE:
        segment = message.first(name)
        text = segment.texts(field)[0] if segment is not None else ""
        if text:
            found.append(f"{name}-{field}:{text}")
    return tuple(found)


_SENSITIVE: Final = (("PV1", 16), ("PD1", 12), ("PV2", 22))


def _words(segment: Segment | None, field: int, component: int = 1) -> str | None:
    """Read text for people: a subcomponent delimiter in it was left unescaped and belongs to it."""
    if segment is None:
        return None
    value = segment.value(field, component, 0)
    return value.strip() or None if isinstance(value, str) else None
