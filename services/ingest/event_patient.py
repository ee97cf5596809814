"""The patient of an event: PID, PD1, NK1 and GT1 (HL7 v2.5.1 ch. 3.4.2, 3.4.10, 3.4.5 and 6.5.5), and CX fields.

Promises:

- An identifier without an assigning authority gets the feed's only where it is a medical record number, an internal
  number or untyped; never a Social Security, Medicare or license number, which would then match another person's.
- Fillers (all zeros, 999-99-9999) are dropped with a finding: they would make one person of many.
- Whatever else is written stays as written, trimmed; comparing it is follow-up's.
"""

import re
from datetime import date
from typing import Final, Literal
from zoneinfo import ZoneInfo

from schemas.events import Address, Contact, Identifier, Patient, PersonName, Phone
from services.ingest.event_times import read_time
from services.ingest.feeds import FacilityProfile, FeedProfile, fold
from services.ingest.hl7.datatypes import CX, read_cx, read_timestamp, read_xad, read_xpn, read_xtn
from services.ingest.hl7.message import Message
from services.ingest.hl7.segment import Segment

CONTACTS_MAX: Final = 50
"""Next of kin and guarantors read of one message: no person has as many."""

_AUTHORITY_SUPPLIED: Final = frozenset({None, "MR", "MRN", "PI", "U"})
"""Table 0203: medical record number, patient internal identifier, and unspecified, which is untyped in other words."""
_SOCIAL_SECURITY: Final = frozenset({"SS", "SSN"})
_MEDICARE: Final = "MC"
_MEDICARE_NUMBER: Final = re.compile(  # the format of the Medicare Beneficiary Identifier, CMS, 2018
    r"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}"
)
_FILLER_NUMBER: Final = re.compile(r"[0 -]*|9{6,}|[0 -]*N/?A|UNK(?:NOWN)?|NONE|NULL", re.IGNORECASE)
_FILLER_SSN: Final = re.compile(r"(\d)\1{8}|0000|9999|123456789|987654321|000\d{6}")
_NOT_DIGITS: Final = re.compile(r"[^0-9]")
_YES: Final = frozenset({"Y", "YES"})
_NO: Final = frozenset({"N", "NO"})


def read_patient(message: Message, zone: ZoneInfo, supplied: str | None) -> Patient:
    """Read who the message is about, of several PID segments the first; ``supplied`` is the authority to fill in."""
    pid = message.first("PID")
    if pid is None:
        return Patient()
    note_repeated(message, "PID")
    identifiers = next((found for field in (3, 2, 4) if (found := read_identifiers(pid, field, supplied))), ())
    died_at = read_time(pid, 29, zone)
    return Patient(
        identifiers=identifiers,
        names=_names(pid, 5),
        birth_date=_birth_date(pid),
        sex=fold(pid.component(8)) or None,
        addresses=_addresses(pid),
        phones=_phones(pid, 13) + _phones(pid, 14),
        ssn=_ssn(pid, identifiers),
        language=_text(pid, 15) or _text(pid, 15, 2),
        account=read_identifier(pid, 18),
        mother=read_identifiers(pid, 21, supplied),
        multiple_birth=_multiple_birth(pid),
        deceased=_deceased(pid, dated=died_at is not None),
        died_at=died_at,
        contacts=_contacts(message),
        pcp=person_or_id(message.first("PD1"), 4),
    )


def note_repeated(message: Message, segment_id: str) -> None:
    """Note that of several segments of a name only the first is read."""
    if len(message.all(segment_id)) > 1:
        message.all(segment_id)[1].note("segment-repeated", 1)


def supplied_authority(feed: FeedProfile, facility: FacilityProfile | None) -> str | None:
    """Return the authority of record numbers that name none: the facility's, else the feed's."""
    return (facility.authority if facility else None) or feed.authority


def read_identifiers(segment: Segment, field: int, supplied: str | None) -> tuple[Identifier, ...]:
    """Read CX identifiers, each once, fillers left out."""
    found: dict[Identifier, None] = {}
    for written in read_cx(segment, field):
        value = written.id.strip()
        if value[:1] in _FILLER_STARTS and _FILLER_NUMBER.fullmatch(value):
            segment.note("identifier-filler", field)
            continue
        kind = _type_of(written, value)
        if kind in _SOCIAL_SECURITY and _FILLER_SSN.fullmatch(_NOT_DIGITS.sub("", value)):
            segment.note("identifier-filler", field)
            continue
        authority = _authority_of(written)
        if authority is None and kind in _AUTHORITY_SUPPLIED:
            authority = supplied
        found[Identifier(value=value, authority=authority, type=kind)] = None
    return tuple(found)


def read_identifier(segment: Segment, field: int) -> Identifier | None:
    """Read the first CX of a field with the authority that it names itself; an account or a visit number."""
    value = segment.component(field).strip()
    if not value:
        return None
    if _FILLER_NUMBER.fullmatch(value):
        segment.note("identifier-filler", field)
        return None
    authority = segment.component(field, 4) or segment.component(field, 4, subcomponent=2)
    return Identifier(value=value, authority=fold(authority) or None, type=fold(segment.component(field, 5)) or None)


_FILLER_STARTS: Final = frozenset(("", *"09NUnu -"))


def _authority_of(written: CX) -> str | None:
    text = written.authority or written.authority_id
    return fold(text) or None if text else None


def _type_of(written: CX, value: str) -> str | None:
    kind = fold(written.type) or None if written.type else None
    # MB is "member number" of any plan; only a number of Medicare's form is Medicare's.
    if kind == "MBI" or (kind == "MB" and _MEDICARE_NUMBER.fullmatch(value.upper())):
        return _MEDICARE
    return kind


def _names(segment: Segment, field: int) -> tuple[PersonName, ...]:
    return tuple(
        [
            PersonName(
                family=_trimmed(one.family),
                given=_trimmed(one.given),
                middle=_trimmed(one.middle),
                suffix=_trimmed(one.suffix),
                use=_trimmed(one.type),
            )
            for one in read_xpn(segment, field)
            if (one.family and not one.family.isspace()) or (one.given and not one.given.isspace())
        ]
    )


def _addresses(pid: Segment) -> tuple[Address, ...]:
    return tuple(
        [
            Address(
                street=_trimmed(one.street),
                city=_trimmed(one.city),
                state=_trimmed(one.state),
                zip=_trimmed(one.zip),
                use=_trimmed(one.type),
            )
            for one in read_xad(pid, 11)
        ]
    )


def _phones(segment: Segment, field: int) -> tuple[Phone, ...]:
    return tuple(
        [
            Phone(number=number, use=_trimmed(one.use))
            for one in read_xtn(segment, field)
            if (number := _trimmed(one.number)) is not None
        ]
    )


def _birth_date(pid: Segment) -> date | None:
    written = read_timestamp(pid, 7)
    if written is None or written.local is None:
        return None
    if written.precision in ("year", "month"):
        pid.note("birth-date-partial", 7)
        return None
    return written.local.date()


def _ssn(pid: Segment, identifiers: tuple[Identifier, ...]) -> str | None:
    """Return nine digits, or the last four where that is all there is (masked, or by the sender's profile)."""
    stated = [(pid.component(19), 19), *((one.value, 3) for one in identifiers if one.type in _SOCIAL_SECURITY)]
    for text, field in stated:
        digits = _NOT_DIGITS.sub("", text)
        if not digits:
            continue
        if len(digits) in (4, 9) and not _FILLER_SSN.fullmatch(digits):
            return digits
        pid.note("ssn-unusable", field)
    return None


def _multiple_birth(pid: Segment) -> bool | None:
    return _yes_or_no(pid, 24) if pid.component(24) else (True if pid.component(25).strip() else None)


def _deceased(pid: Segment, *, dated: bool) -> bool | None:
    """Either the word or a time says so; a time beside "no" is a death too, since "no" is what systems fill in."""
    said = _yes_or_no(pid, 30)
    if said is False and dated:
        pid.note("death-contradictory", 30)
    return True if dated else said


def _yes_or_no(segment: Segment, field: int) -> bool | None:
    word = fold(segment.component(field))
    if not word:
        return None
    if word not in _YES and word not in _NO:
        segment.note("yes-or-no-unknown", field)
        return None
    return word in _YES


def _contacts(message: Message) -> tuple[Contact, ...]:
    kin, guarantors = message.all("NK1"), message.all("GT1")
    if len(kin) + len(guarantors) > CONTACTS_MAX:
        (guarantors or kin)[-1].note("contacts-left-out", 1)
    read = [_contact("NK1", one, phone_field=5, relation_field=3) for one in kin[:CONTACTS_MAX]]
    room = CONTACTS_MAX - len(read)
    read += [_contact("GT1", one, phone_field=6, relation_field=11) for one in guarantors[:room]]
    return tuple([contact for contact in read if contact is not None])


def _contact(
    source: Literal["NK1", "GT1"], segment: Segment, *, phone_field: int, relation_field: int
) -> Contact | None:
    names, phones = _names(segment, 2 if source == "NK1" else 3), _phones(segment, phone_field)
    if not names and not phones:
        return None
    return Contact(
        source=source,
        name=names[0] if names else None,
        relation=segment.component(relation_field, 2, subcomponent=0).strip() or _text(segment, relation_field),
        phone=phones[0].number if phones else None,
        role=_text(segment, 7) if source == "NK1" else None,
    )


def person_or_id(segment: Segment | None, field: int) -> str | None:
    """Read an XCN as people know a clinician: given and family name, else what stands for them."""
    if segment is None or not segment.field(field):
        return None
    name = f"{segment.component(field, 3)} {segment.component(field, 2)}".strip()
    return name or _text(segment, field)


def _text(segment: Segment, field: int, component: int = 1) -> str | None:
    return segment.component(field, component).strip() or None


def _trimmed(text: str | None) -> str | None:
    return text.strip() or None if text else None
