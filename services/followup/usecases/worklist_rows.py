"""From what is kept of a task to what a coordinator sees: words for codes, and whom to call.

The store hands over domain values (`WorklistRow`), never database rows. Pure.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

import msgspec

from services.followup.domain.dispositions import disposition_words
from services.followup.domain.stays import StayView
from services.followup.domain.tasks import Task
from services.followup.usecases.worklist_items import (
    AttemptEntry,
    AttemptSummary,
    ContactPerson,
    EncounterClass,
    HistoryEntry,
    ItemDisposition,
    ItemFacility,
    ItemPatient,
    ItemStay,
    MatchBasis,
    Message,
    StatusReason,
    WorklistDetail,
    WorklistItem,
)

ADULT_AGE_YEARS: Final = 18
"""Below it the guardian is called (domain.md §2.2, NK1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A panel patient, as far as the worklist shows them."""

    id: str
    family: str
    given: str
    birth_date: date
    sex: str | None
    phone: str | None
    language: str | None
    guardian_name: str | None
    guardian_relation: str | None
    guardian_phone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistRow:
    """What is kept of one task, its patient and its stay."""

    task: Task
    person: Person
    stay: StayView
    match_rule: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistStory:
    """A row and everything that happened to it."""

    row: WorklistRow
    messages: tuple[Message, ...]
    attempts: tuple[AttemptEntry, ...]
    history: tuple[HistoryEntry, ...]


def item_of(row: WorklistRow) -> WorklistItem:
    """Return what a coordinator sees of a task."""
    task = row.task
    return WorklistItem(
        id=task.id,
        version=task.version,
        episode_id=task.episode_id,
        kind=task.kind,
        status=task.status,
        status_reason=_status_reason(task),
        priority=task.priority,
        due_on=task.due_on,
        last_on=task.last_on,
        due_at=task.due_at,
        work_by=task.work_by,
        zone=task.zone,
        protocol=task.protocol,
        owner=task.owner,
        created_at=task.created_at,
        attempts=AttemptSummary(
            count=task.attempt_count, last_at=task.last_attempt_at, last_outcome=task.last_attempt_outcome
        ),
        warnings=task.warnings,
        match=MatchBasis(rule=row.match_rule),
        patient=_patient(row),
        stay=_stay(row.stay),
    )


def detail_of(story: WorklistStory) -> WorklistDetail:
    """Return what a coordinator sees of a task and its past."""
    item = msgspec.structs.asdict(item_of(story.row))
    return WorklistDetail(**item, messages=story.messages, attempt_log=story.attempts, history=story.history)


def years_between(birth_date: date, day: date) -> int:
    """Return the age in whole years on a day; who was born on February 29 turns a year older on March 1."""
    had_birthday = (day.month, day.day) >= (birth_date.month, birth_date.day)
    return day.year - birth_date.year - (not had_birthday)


def _status_reason(task: Task) -> StatusReason | None:
    code = task.status_reason_code
    return None if code is None else StatusReason(code=code, text=task.status_reason_text or code)


def _patient(row: WorklistRow) -> ItemPatient:
    person = row.person
    return ItemPatient(
        id=person.id,
        family=person.family,
        given=person.given,
        birth_date=person.birth_date,
        sex=person.sex,
        deceased=row.stay.deceased,
        language=person.language,
        phones=(person.phone,) if person.phone else (),
        contact=_contact(person, row.task.discharged_on),
    )


def _contact(person: Person, discharged_on: date) -> ContactPerson:
    if person.guardian_name and years_between(person.birth_date, discharged_on) < ADULT_AGE_YEARS:
        return ContactPerson(
            name=person.guardian_name,
            relation=person.guardian_relation or "guardian",
            phone=person.guardian_phone or person.phone,
        )
    return ContactPerson(name=f"{person.given} {person.family}".strip(), relation="self", phone=person.phone)


def _stay(view: StayView) -> ItemStay:
    words = disposition_words(view.disposition_code) or view.disposition_text
    return ItemStay(
        facility=ItemFacility(code=view.facility_code, name=view.facility_name),
        visit_number=view.visit_number,
        class_=EncounterClass(code=view.class_code, raw=view.class_raw),
        admitted_at=_utc(view.admitted_at),
        discharged_at=_utc(view.discharged_at),
        discharged_on=view.discharged_on,
        discharge_basis=view.discharge_basis,
        disposition=ItemDisposition(code=view.disposition_code, raw=view.disposition_raw, text=words),
    )


def _utc(instant: datetime | None) -> datetime | None:
    """Return the instant in UTC, so that it is written with `Z` whatever offset the view was kept with."""
    return None if instant is None else instant.astimezone(UTC)
