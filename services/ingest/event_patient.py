"""The patient of an event: PID, PD1, NK1 and GT1 (HL7 v2.5.1 ch. 3.4.2, 3.4.10, 3.4.5 and 6.5.5).

Promise: whatever is written stays as written, trimmed; comparing it is follow-up's. What contradicts itself or is not
in its table is a finding, never a guess.
"""

import re
from datetime import date
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from schemas.events import Address, Contact, Identifier, Patient, PersonName, Phone
from services.ingest.event_identifiers import SOCIAL_SECURITY, read_identifier, read_identifiers
from services.ingest.event_times import read_time
from services.ingest.hl7.message import Message
from services.ingest.hl7.segment import Segment
from services.ingest.hl7.timestamps import TimestampText, parse_timestamp

CONTACTS_MAX: Final = 50
"""Next of kin and guarantors read of one message: no person has as many."""
BIRTH_DATES_CACHED_MAX: Final = 4_096

_FIRST: Final = frozenset({1})  # XPN.1 and XAD.1 have subcomponents
_SECOND: Final = frozenset({2})  # as XCN.2 has
_FILLER_SSN: Final = re.compile(r"(\d)\1{8}|0000|9999|123456789|987654321|000\d{6}")
_NOT_DIGITS: Final = re.compile(r"[^0-9]")
_SSN_LENGTHS: Final = (9, 4)
_SSN_CHARACTERS_MAX: Final = 32  # with its punctuation and room; a field of a megabyte is none
_ANSWERS: Final = {"Y": True, "YES": True, "N": False, "NO": False}


def read_patient(message: Message, zone: ZoneInfo, supplied: str | None) -> Patient:
    """Read who the message is about, of several PID segments the first.

    Args:
        message: The message.
        zone: In which times are read that state no offset.
        supplied: The authority of record numbers that name none.
    """
    pid = message.first("PID")
    if pid is None:
        return Patient()
    identifiers = (
        read_identifiers(pid, 3, supplied) or read_identifiers(pid, 2, supplied) or read_identifiers(pid, 4, supplied)
    )
    died_at = read_time(pid, 29, zone)
    sex, language, multiple, birth_order, dead = pid.texts(8, 15, 24, 25, 30)
    return Patient(
        identifiers=identifiers,
        names=_names(pid, 5),
        birth_date=_birth_date(pid),
        sex=sex.upper() or None,
        addresses=_addresses(pid),
        phones=_phones(pid, 13) + _phones(pid, 14),
        ssn=_ssn(pid, identifiers),
        language=language or pid.component(15, 2).strip() or None,
        account=read_identifier(pid, 18),
        mother=read_identifiers(pid, 21, supplied),
        multiple_birth=_multiple_birth(pid, multiple, birth_order),
        deceased=_deceased(pid, dead, dated=died_at is not None),
        died_at=died_at,
        contacts=_contacts(message),
        pcp=person_or_id(message.first("PD1"), 4),
    )


def person_or_id(segment: Segment | None, field: int) -> str | None:
    """Read an XCN as people speak of a clinician, given name and family name; else its first component."""
    rows = segment.rows(field, _SECOND) if segment is not None else ()
    if not rows:
        return None
    row = rows[0]
    return f"{row[2].strip()} {row[1].strip()}".strip() or row[0].strip() or None


def _names(segment: Segment, field: int) -> tuple[PersonName, ...]:
    found = []
    for row in segment.rows(field, _FIRST):
        family, given = row[0].strip(), row[1].strip()
        if family or given:
            name = PersonName(
                family=family or None,
                given=given or None,
                middle=row[2].strip() or None,
                suffix=row[3].strip() or None,
                use=row[6].strip() or None,
            )
            found.append(name)
    return tuple(found)


def _addresses(pid: Segment) -> tuple[Address, ...]:
    found = [
        Address(
            street=row[0].strip() or None,
            city=row[2].strip() or None,
            state=row[3].strip() or None,
            zip=row[4].strip() or None,
            use=row[6].strip() or None,
        )
        for row in pid.rows(11, _FIRST)
    ]
    return tuple([one for one in found if one != _NOWHERE])


_NOWHERE: Final = Address()


def _phones(segment: Segment, field: int) -> tuple[Phone, ...]:
    found = []
    for row in segment.rows(field):
        number = _number(row).strip()
        if number:
            found.append(Phone(number=number, use=row[1].strip() or None))
    return tuple(found)


def _number(row: list[str]) -> str:
    """Return XTN.1 unless that is an address of e-mail, else XTN.12, else the number that XTN.5 to 8 give in parts."""
    written = row[0]
    if written and "@" not in written:
        return written
    country, area, local, extension = row[4:8]
    if row[11] or not local:
        return row[11]
    prefix = f"+{country.removeprefix('+')}" if country else ""
    return " ".join(part for part in (prefix, area, local, f"x{extension}" if extension else "") if part)


def _birth_date(pid: Segment) -> date | None:
    text = pid.component(7)
    written = _parse_birth_date(text) if text else None
    if written is None:
        return None
    for code in written.findings:
        pid.note(code, 7)
    if written.local is None:
        return None
    if written.precision in ("year", "month"):
        pid.note("birth-date-partial", 7)
        return None
    return written.local.date()


@lru_cache(maxsize=BIRTH_DATES_CACHED_MAX)
def _parse_birth_date(text: str) -> TimestampText | None:
    return parse_timestamp(text)


def _ssn(pid: Segment, identifiers: tuple[Identifier, ...]) -> str | None:
    """Return nine digits, or the last four where that is all there is (masked, or by the sender's profile)."""
    stated = [(pid.texts(19)[0], 19)]
    stated += [(one.value, 3) for one in identifiers if one.type in SOCIAL_SECURITY]
    for text, field in stated:
        digits = _NOT_DIGITS.sub("", text) if len(text) <= _SSN_CHARACTERS_MAX else text
        if len(digits) in _SSN_LENGTHS and not _FILLER_SSN.fullmatch(digits):
            return digits
        if digits:
            pid.note("ssn-unusable", field)
    return None


def _multiple_birth(pid: Segment, word: str, birth_order: str) -> bool | None:
    said = _yes_or_no(pid, 24, word)
    return True if said is None and birth_order else said


def _deceased(pid: Segment, word: str, *, dated: bool) -> bool | None:
    """Either the word or a time says so; a time beside "no" is a death too, since "no" is what systems fill in."""
    said = _yes_or_no(pid, 30, word)
    if said is False and dated:
        pid.note("death-contradictory", 30)
    return True if dated else said


def _yes_or_no(segment: Segment, field: int, word: str) -> bool | None:
    if not word:
        return None
    said = _ANSWERS.get(word.upper())
    if said is None:
        segment.note("yes-or-no-unknown", field)
    return said


def _contacts(message: Message) -> tuple[Contact, ...]:
    kin = message.some("NK1", CONTACTS_MAX)
    guarantors = message.some("GT1", CONTACTS_MAX - len(kin))
    if len(kin) + len(guarantors) < message.count("NK1") + message.count("GT1"):
        (guarantors or kin)[-1].note("contacts-left-out", 1)
    found = [_contact("NK1", one, name=2, relation=3, phone=5) for one in kin]
    found += [_contact("GT1", one, name=3, relation=11, phone=6) for one in guarantors]
    return tuple([one for one in found if one.name or one.phone])


def _contact(source: Literal["NK1", "GT1"], segment: Segment, *, name: int, relation: int, phone: int) -> Contact:
    names, phones, relations = _names(segment, name), _phones(segment, phone), segment.rows(relation)
    return Contact(
        source=source,
        name=names[0] if names else None,
        relation=(relations[0][1] or relations[0][0]).strip() or None if relations else None,
        phone=phones[0].number if phones else None,
        role=segment.component(7).strip() or None if source == "NK1" else None,
    )
