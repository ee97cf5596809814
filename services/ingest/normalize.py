"""One HL7 v2 message, in the words of the contract: Message and feed profile to AdtEvent.

Owns the one table of triggers (HL7 v2.5.1 ch. 3.3, table 0003) and what intake makes of a message. Promises:

- Every message gives an event, whatever is in it; what was missing, guessed or out of table is a finding, without any
  of the message's content.
- A function of the message and its feed's profile alone: the same bytes give the same event but for ``received_at``.
- The four times are kept apart: MSH-7 is read in the feed's zone, all others in the zone of the stay's facility.
- HL7's null (``""``) is kept apart from empty: the field is ``None`` and its name stands in ``nulls``.

What is not for us gives an event of its header alone: nothing of a person is copied that nobody will read.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from schemas.events import AdtEvent, Finding, Intake, Kind, Patient, Processing, Timestamp, Visit, event_id_of
from services.ingest.event_identifiers import supplied_authority
from services.ingest.event_patient import read_patient
from services.ingest.event_times import is_not_a_date, read_time
from services.ingest.event_visit import facility_of, read_diagnoses, read_merge, read_sensitivity, read_visit
from services.ingest.feeds import FeedProfile, fold
from services.ingest.hl7.charset import WIDE
from services.ingest.hl7.message import Message
from services.ingest.hl7.segment import NULL_TEXT, Segment

NORMALIZER: Final = 1
"""Revision of these rules: raise it with every change of what an event says; a replay then replaces its events."""

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "A01": "admitted",
        "A02": "transferred",
        "A03": "discharged",
        "A04": "registered",
        "A05": "pre_admitted",
        "A06": "became_inpatient",
        "A07": "became_outpatient",
        "A08": "updated",
        "A11": "admit_canceled",
        "A12": "transfer_canceled",
        "A13": "discharge_canceled",
        "A28": "person_added",
        "A31": "person_updated",
        "A40": "merged",
    }
)
"""The triggers that are used. Every other is recorded as not for us."""

_STRUCTURES: Final = {"ADT_A02": "A02", "ADT_A03": "A03", "ADT_A12": "A12"}
"""Message structures of one trigger only (table 0354); ADT_A01 alone stands for four."""

SUBJECTS_CACHED_MAX: Final = 1_024
"""Combinations of message type, trigger and structure that senders use: some dozens."""

PIDS_MAX: Final = 20
"""PID segments compared before a message counts as one of several people without a look at the rest."""

_UNKNOWN_FEED: Final = FeedProfile(name="", zone=ZoneInfo("UTC"), processing=frozenset())
_READ_ONCE: Final = ("EVN", "PID", "PV1", "MRG")
_NULL_BYTES: Final = NULL_TEXT.encode()
_NULLABLE: Final = (
    ("PID", 3, "patient.identifiers"),
    ("PID", 5, "patient.names"),
    ("PID", 7, "patient.birth_date"),
    ("PID", 8, "patient.sex"),
    ("PID", 11, "patient.addresses"),
    ("PID", 13, "patient.phones"),
    ("PID", 14, "patient.phones"),
    ("PID", 15, "patient.language"),
    ("PID", 18, "patient.account"),
    ("PID", 19, "patient.ssn"),
    ("PID", 21, "patient.mother"),
    ("PID", 24, "patient.multiple_birth"),
    ("PID", 29, "patient.died_at"),
    ("PID", 30, "patient.deceased"),
    ("PD1", 4, "patient.pcp"),
    ("PV1", 2, "visit.class"),
    ("PV1", 3, "visit.location"),
    ("PV1", 7, "visit.attending"),
    ("PV1", 14, "visit.admit_source"),
    ("PV1", 18, "visit.patient_type"),
    ("PV1", 19, "visit.number"),
    ("PV1", 36, "visit.disposition"),
    ("PV1", 44, "visit.admitted_at"),
    ("PV1", 45, "visit.discharged_at"),
    ("PV2", 3, "visit.reason"),
    ("PV2", 9, "visit.expected_discharge_at"),
)


class _Subject(NamedTuple):
    """What a message says it is about."""

    message_type: str | None
    trigger: str | None
    kind: Kind = "other"
    refusal: Intake | None = None
    """Why a message of kind ``other`` is not used."""


def normalize(message: Message, feed: FeedProfile | None, *, received_at: datetime) -> AdtEvent:
    """Return the event of a message; ``feed`` is ``None`` where no profile names the sender."""
    subject = _read_subject(message)
    profile = feed or _UNKNOWN_FEED
    if subject.refusal is not None:
        return _header_event(message, feed, subject, subject.refusal, received_at)
    if feed is None:
        message.header.note("zone-unknown", 4)
    facility, facility_profile = facility_of(message, profile)
    zone = facility_profile.zone if facility_profile else profile.zone
    supplied = supplied_authority(profile, facility_profile)
    evn = message.first("EVN")
    sent_at = read_time(message.header, 7, profile.zone)
    recorded_at = read_time(evn, 2, zone)
    occurred_at = read_time(evn, 6, zone)
    patient = read_patient(message, zone, supplied)
    visit = read_visit(message, profile, facility, zone)
    merge = read_merge(message, supplied)
    unusable = (
        _why_nobody(message, subject.kind, patient)
        or ("time-missing" if not _has_time(sent_at, recorded_at, occurred_at, visit) else None)
        or _why_no_discharge(message, subject.kind, visit, occurred_at)
        or ("merge-source-missing" if subject.kind == "merged" and not (merge and merge.identifiers) else None)
    )
    _note_repeated(message)
    diagnoses, sensitivity = read_diagnoses(message), read_sensitivity(message)
    return AdtEvent(
        **_header_fields(message, feed, received_at),
        message_type=subject.message_type,
        trigger=subject.trigger,
        kind=subject.kind,
        intake=_intake(feed, unusable),
        sent_at=sent_at,
        recorded_at=recorded_at,
        occurred_at=occurred_at,
        patient=patient,
        visit=visit,
        diagnoses=diagnoses,
        merge=merge,
        sensitivity=sensitivity,
        nulls=_nulls(message, patient, visit),
        findings=_findings(message),
    )


def refused_event(
    raw: bytes, reason: str, *, received_at: datetime, message: Message | None = None, feed: FeedProfile | None = None
) -> AdtEvent:
    """Return the event of a frame that is refused or was cut off; ``message`` is what could be read of its header."""
    intake = Intake(outcome="unreadable", reason=reason)
    if message is not None:
        return _header_event(message, feed, _read_subject(message), intake, received_at)
    return AdtEvent(
        event_id=_event_id(raw),
        normalizer=NORMALIZER,
        kind="other",
        intake=intake,
        processing=Processing(),
        received_at=received_at,
    )


def parked_event(message: Message, feed: FeedProfile | None, reason: str, *, received_at: datetime) -> AdtEvent:
    """Return the event of a readable message that cannot be used for a reason outside of it."""
    intake = Intake(outcome="unusable", reason=reason)
    return _header_event(message, feed, _read_subject(message), intake, received_at)


def _header_event(
    message: Message, feed: FeedProfile | None, subject: _Subject, intake: Intake, received_at: datetime
) -> AdtEvent:
    return AdtEvent(
        **_header_fields(message, feed, received_at),
        message_type=subject.message_type,
        trigger=subject.trigger,
        kind="other",
        intake=intake,
        sent_at=read_time(message.header, 7, (feed or _UNKNOWN_FEED).zone),
        findings=_findings(message),
    )


def _header_fields(message: Message, feed: FeedProfile | None, received_at: datetime) -> dict[str, Any]:
    header = message.header
    sender, facility, control_id, version, accept, answer = header.texts(3, 4, 10, 12, 15, 16)
    return {
        "event_id": _event_id(message.raw),
        "normalizer": NORMALIZER,
        "feed": feed.name if feed is not None else None,
        "sending_application": sender or None,
        "sending_facility": facility or None,
        "control_id": control_id or None,
        "hl7_version": version or None,
        "acknowledgement_mode": (accept or None, answer or None) if accept or answer else None,
        "processing": _processing(header, feed or _UNKNOWN_FEED),
        "received_at": received_at,
    }


def _event_id(raw: bytes) -> str:
    return event_id_of(hashlib.sha256(raw).digest())


def _processing(header: Segment, feed: FeedProfile) -> Processing:
    raw = header.field(11)
    id_, mode = (raw.upper(), "") if raw.isalnum() else (fold(header.component(11)), fold(header.component(11, 2)))
    if not id_:
        header.note("processing-missing", 11)
    return Processing(id=id_ or None, mode=mode or None, admitted=(id_, mode) in feed.processing)


def _read_subject(message: Message) -> _Subject:
    header, evn, marks = message.header, message.first("EVN"), message.delimiters
    recorded = evn.component(1) if evn is not None else ""
    subject, findings = _subject_of(header.field(9), recorded, marks.component, marks.repetition)
    for code in findings:
        header.note(code, 9)
    return subject


@lru_cache(maxsize=SUBJECTS_CACHED_MAX)
def _subject_of(field: str, recorded: str, component: str, repetition: str) -> tuple[_Subject, tuple[str, ...]]:
    """Decide on type and trigger: MSH-9.2, else EVN-1, else the structure where only one trigger has it."""
    first = field.partition(repetition)[0].replace(NULL_TEXT, "")
    stated, trigger, structure = (*map(fold, first.split(component)), "", "", "")[:3]
    recorded = fold(recorded)
    message_type, _, rest = stated.partition("_")  # a structure alone, as ADT_A03
    findings: list[str] = []
    if message_type not in ("ADT", ""):
        return _Subject(message_type, trigger or None, refusal=_NOT_FOR_US_TYPE), ()
    if not message_type:
        findings.append("message-type-missing")
    if trigger:
        findings += ["trigger-differs"] if recorded and recorded != trigger else []
    else:
        trigger = recorded or _STRUCTURES.get(stated if rest else structure, "")
        findings.append("trigger-guessed" if trigger else "trigger-missing")
    kind = KINDS.get(trigger, "other")
    refusal = None if kind != "other" else _NOT_FOR_US_TRIGGER if trigger else _NO_TRIGGER
    return _Subject(message_type or None, trigger or None, kind, refusal), tuple(findings)


_NOT_FOR_US_TYPE: Final = Intake(outcome="not_for_us", reason="message-type-not-used")
_NOT_FOR_US_TRIGGER: Final = Intake(outcome="not_for_us", reason="trigger-not-used")
_NO_TRIGGER: Final = Intake(outcome="unusable", reason="trigger-missing")
_ACCEPTED: Final = Intake(outcome="accepted")
_UNKNOWN: Final = Intake(outcome="unknown_feed", reason="feed-unknown")


def _intake(feed: FeedProfile | None, unusable: str | None) -> Intake:
    if feed is None:
        return _UNKNOWN
    return _ACCEPTED if unusable is None else Intake(outcome="unusable", reason=unusable)


def _why_nobody(message: Message, kind: Kind, patient: Patient) -> str | None:
    """Say why it is not certain whom the message is about, if it is not."""
    if not patient.identifiers and not (patient.names and patient.birth_date):
        return "patient-not-identified"
    # A merge lists pairs of PID and MRG; any other message of two people may be two messages run together.
    if message.count("PID") > 1 and kind != "merged":
        first, *others = message.some("PID", PIDS_MAX + 1)
        differ = any(first.field(field) != other.field(field) for other in others for field in (3, 5, 7))
        return "several-patients" if differ or len(others) == PIDS_MAX else None
    return None


def _has_time(
    sent_at: Timestamp | None, recorded_at: Timestamp | None, occurred_at: Timestamp | None, visit: Visit
) -> bool:
    return bool(sent_at or recorded_at or occurred_at or visit.admitted_at or visit.discharged_at)


def _why_no_discharge(message: Message, kind: Kind, visit: Visit, occurred_at: Timestamp | None) -> str | None:
    """A discharge whose stated time is no date is for a person: EVN-2 and MSH-7 would be a guess at what was meant."""
    if kind != "discharged" or visit.discharged_at is not None or occurred_at is not None:
        return None
    return "discharge-time-impossible" if is_not_a_date(message.first("PV1"), 45) else None


def _nulls(message: Message, patient: Patient, visit: Visit) -> tuple[str, ...]:
    if _NULL_BYTES not in message.raw and message.charset not in WIDE:
        return ()
    names: dict[str, None] = {}
    for segment_id, field, name in _NULLABLE:
        segment = message.first(segment_id)
        if segment is not None and segment.is_null(field):
            part, _, attribute = name.partition(".")
            holder = patient if part == "patient" else visit
            if not getattr(holder, "class_" if attribute == "class" else attribute):
                names[name] = None
    return tuple(names)


def _note_repeated(message: Message) -> None:
    """Note that of several segments of these names only the first is read."""
    for segment_id in _READ_ONCE:
        if message.count(segment_id) > 1:
            message.some(segment_id, 2)[1].note("segment-repeated", 1)


def _findings(message: Message) -> tuple[Finding, ...]:
    return tuple([Finding(code=one.code, where=one.where) for one in message.findings])
