"""AdtEvent v1: what one HL7 v2 ADT message says, in normalized words.

Owns the contract between intake and follow-up (topic ``adt.events.v1``). One immutable event per message received,
also for messages that are not for us or cannot be used: those carry ``findings`` and an ``intake`` that says why.
Every field names its HL7 source (HL7 v2.5.1 chapters 2 and 3). Encoding is JSON by msgspec; the message's own bytes
travel beside the event, in the record's ``raw`` header, never in it.

Absent and empty are the same (``None`` or an empty tuple). HL7's explicit null (``""``, chapter 2.5.3) is kept apart:
the field is ``None`` and its name stands in ``AdtEvent.nulls``.
"""

import hashlib
import uuid
from datetime import date, datetime
from typing import Annotated, Final, Literal

import msgspec

ADT_EVENT_VERSION: Final = 1

RAW_HEADER: Final = "raw"
"""Record header: the message's bytes exactly as received."""
ACK_HEADER: Final = "ack"
"""Record header: the acknowledgement code decided for the message (HL7 table 0008), ASCII."""
SENDER_HEADER: Final = "sender"
"""Record header: what the certificate of its connection can be listed by (`feeds.yaml`), one name a line, UTF-8; left
out where no certificate was asked for."""

Kind = Literal[
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
    "person_added",
    "person_updated",
    "merged",
    "other",
]
Precision = Literal["year", "month", "day", "hour", "minute", "second"]
IntakeOutcome = Literal["accepted", "not_for_us", "unusable", "unknown_feed", "unreadable"]

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment with its offset; a reader refuses one without."""
WallClock = Annotated[datetime, msgspec.Meta(tz=False)]
"""Date and time as a clock on the wall shows them, without an offset."""

_NAMESPACE: Final = uuid.UUID("5b0a1f2c-7c0e-5d7b-9a55-6f1d6b1f6a11")


def event_id_of(sha256: bytes) -> str:
    """Return the event id of a message: UUIDv5 of the SHA-256 of its raw bytes, lower-case text.

    The same bytes are the same event whichever feed or name they came under; a reused control id with another body
    is another event.
    """
    digest = hashlib.sha1(_NAMESPACE.bytes + sha256.hex().encode(), usedforsecurity=False).hexdigest()
    # RFC 9562 §5.5, in a third of the time that the library takes: version 5 and variant 10 over the digest's bits.
    variant = "89ab"[int(digest[16], 16) & 0b11]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


class _Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of an event. Unknown fields are ignored, so that a reader one version behind still decodes."""


class Timestamp(_Part, frozen=True, kw_only=True):
    """A time as the sender wrote it, and what we read in it (HL7 v2.5.1 ch. 2.A.22 DTM, 2.A.77 TS).

    ``local`` is the written wall-clock time with missing parts at their lowest (no offset applied); ``at`` is the
    instant read in ``zone`` unless the sender stated an offset. ``precision`` says which parts were written.
    """

    text: str
    local: WallClock
    at: Instant
    precision: Precision
    zone: str
    offset_minutes: int | None = None


class Identifier(_Part, frozen=True, kw_only=True):
    """CX: value .1, assigning authority .4 (or the feed's), type .5 (table 0203)."""

    value: str
    authority: str | None = None
    type: str | None = None


class PersonName(_Part, frozen=True, kw_only=True):
    """XPN: family .1, given .2, middle .3, suffix .4, type .7 (table 0200)."""

    family: str | None = None
    given: str | None = None
    middle: str | None = None
    suffix: str | None = None
    use: str | None = None


class Address(_Part, frozen=True, kw_only=True):
    """XAD: street .1, city .3, state .4, zip .5, type .7."""

    street: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    use: str | None = None


class Phone(_Part, frozen=True, kw_only=True):
    """XTN: the number as given (.1, else .12, else .6 and .7), use .2 (table 0201)."""

    number: str
    use: str | None = None


class Contact(_Part, frozen=True, kw_only=True):
    """NK1 (name 2, relationship 3, phone 5, contact role 7) or GT1 (3, 11, 6)."""

    source: Literal["NK1", "GT1"]
    name: PersonName | None = None
    relation: str | None = None
    phone: str | None = None
    role: str | None = None


class Coded(_Part, frozen=True, kw_only=True):
    """A coded value as sent (``raw``) and in our words (``code``); ``code`` is ``None`` where no mapping is known."""

    raw: str
    code: str | None = None
    text: str | None = None


class Facility(_Part, frozen=True, kw_only=True):
    """The facility of the stay: code as found (EVN-7, PV1-3.4 or MSH-4), the rest from the feed's profile."""

    code: str
    name: str | None = None
    zone: str


class Patient(_Part, frozen=True, kw_only=True):
    """PID, PD1, NK1 and GT1."""

    identifiers: tuple[Identifier, ...] = ()
    """PID-3, where empty PID-2 and PID-4."""
    names: tuple[PersonName, ...] = ()
    """PID-5."""
    birth_date: date | None = None
    """PID-7, only where a full date."""
    sex: str | None = None
    """PID-8 (table 0001), upper case."""
    addresses: tuple[Address, ...] = ()
    """PID-11."""
    phones: tuple[Phone, ...] = ()
    """PID-13, PID-14."""
    ssn: str | None = None
    """PID-19 or an SS identifier, digits only."""
    language: str | None = None
    """PID-15."""
    account: Identifier | None = None
    """PID-18."""
    mother: tuple[Identifier, ...] = ()
    """PID-21."""
    multiple_birth: bool | None = None
    """PID-24 (or a birth order in PID-25)."""
    deceased: bool | None = None
    """PID-30, or true where PID-29 has a time; false only where PID-30 says so."""
    died_at: Timestamp | None = None
    """PID-29."""
    contacts: tuple[Contact, ...] = ()
    pcp: str | None = None
    """PD1-4: id or name as sent."""


class Visit(_Part, frozen=True, kw_only=True):
    """PV1, PV2 and ZBE."""

    number: Identifier | None = None
    """PV1-19; ``authority`` is PV1-19.4 only."""
    class_: Coded | None = msgspec.field(default=None, name="class")
    """PV1-2, mapped by the feed to HL7 v3 ActCode words (IMP, OBSENC, EMER, AMB, SS, PRENC …)."""
    patient_type: str | None = None
    """PV1-18."""
    location: str | None = None
    """PV1-3 as written, components joined by a space."""
    facility: Facility | None = None
    admitted_at: Timestamp | None = None
    """PV1-44."""
    discharged_at: Timestamp | None = None
    """PV1-45, first repetition: a discharge or an expectation, as the trigger says."""
    expected_discharge_at: Timestamp | None = None
    """PV2-9."""
    disposition: Coded | None = None
    """PV1-36, mapped to the two-digit codes of NUBC FL 17."""
    attending: str | None = None
    """PV1-7: name as sent."""
    admit_source: str | None = None
    """PV1-14."""
    reason: str | None = None
    """PV2-3."""
    movement_id: str | None = None
    """ZBE-1 (IHE PAM ITI-31)."""
    movement_action: str | None = None
    """ZBE-4: INSERT, UPDATE or CANCEL."""


class Diagnosis(_Part, frozen=True, kw_only=True):
    """DG1: code 3.1, text 3.2, system 3.3, type 6 (A, W, F)."""

    code: str | None = None
    text: str | None = None
    system: str | None = None
    type: str | None = None


class Merge(_Part, frozen=True, kw_only=True):
    """MRG: prior identifiers 1, prior account 3, prior visit number 5."""

    identifiers: tuple[Identifier, ...] = ()
    account: Identifier | None = None
    visit_number: Identifier | None = None


class Processing(_Part, frozen=True, kw_only=True):
    """MSH-11: id (.1: P, T, D) and mode (.2: A, I, R, T); ``admitted`` says whether the feed lets it make tasks."""

    id: str | None = None
    mode: str | None = None
    admitted: bool = False


class Finding(_Part, frozen=True, kw_only=True):
    """What was missing, guessed or out of table: a stable kebab-case ``code`` and where; never a patient's data."""

    code: str
    where: str | None = None


class Intake(_Part, frozen=True, kw_only=True):
    """What intake decided: ``accepted`` to be joined, or why not, with a stable kebab-case ``reason``."""

    outcome: IntakeOutcome
    reason: str | None = None


class AdtEvent(_Part, frozen=True, kw_only=True):
    """One HL7 v2 message, normalized. Immutable; keyed by ``event_id``."""

    event_id: str
    """UUIDv5 of the SHA-256 of the raw bytes (`event_id_of`)."""
    version: Literal[1] = 1
    normalizer: int
    """Revision of the rules that made this event from its bytes; a higher one replaces a lower."""
    feed: str | None = None
    """Name of the feed's profile; ``None`` where no profile names the sender."""
    sending_application: str | None = None
    """MSH-3.1."""
    sending_facility: str | None = None
    """MSH-4.1."""
    control_id: str | None = None
    """MSH-10."""
    message_type: str | None = None
    """MSH-9.1."""
    trigger: str | None = None
    """MSH-9.2, else EVN-1."""
    hl7_version: str | None = None
    """MSH-12.1."""
    acknowledgement_mode: tuple[str | None, str | None] | None = None
    """MSH-15 and MSH-16 where stated."""
    kind: Kind
    intake: Intake
    processing: Processing
    received_at: Instant
    """When the last byte of the frame was read; aware, UTC."""
    sent_at: Timestamp | None = None
    """MSH-7, read in the feed's zone."""
    recorded_at: Timestamp | None = None
    """EVN-2, read in the zone of the facility."""
    occurred_at: Timestamp | None = None
    """EVN-6, read in the zone of the facility; for a cancel the time of the canceled event."""
    patient: Patient = Patient()
    visit: Visit = Visit()
    diagnoses: tuple[Diagnosis, ...] = ()
    merge: Merge | None = None
    sensitivity: tuple[str, ...] = ()
    """PV1-16, PD1-12 and PV2-22 as sent, with the field's name in front (``PV1-16:VIP``)."""
    nulls: tuple[str, ...] = ()
    """Fields explicitly emptied by the sender (``""``), by name: ``visit.discharged_at``."""
    findings: tuple[Finding, ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AdtEvent)


def encode_event(event: AdtEvent) -> bytes:
    """Return the event as compact UTF-8 JSON."""
    return _encoder.encode(event)


def decode_event(value: bytes) -> AdtEvent:
    """Read an event from JSON.

    Raises:
        ValueError: the bytes are not an AdtEvent v1 (msgspec's errors are ValueErrors); the text names the field.
    """
    return _decoder.decode(value)
