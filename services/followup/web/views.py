"""What the pages show, ready for templates: every text already in words, every link already judged safe.

Templates only place these texts; they escape everything and decide nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.followup.domain.tasks import OPEN
from services.followup.domain.working_time import local_date, zone_named
from services.followup.usecases.worklist_items import AttemptEntry, HistoryEntry, Message, WorklistDetail, WorklistItem
from services.followup.usecases.worklist_rows import ADULT_AGE_YEARS, years_between
from services.followup.web import words
from services.followup.web.phones import dialable

_Told = tuple[str, str | None, list[str]]  # what happened, by or from whom, particulars
_TOLD_BY_ATTEMPT: Final = "attempted"  # the change of a task that its attempt tells better
NO_GUARDIAN: Final = "under 18, and the panel names no guardian"

_SHOWN_CHANGES: Final = ("due_on", "last_on", "status", "priority", "owner", "status_reason_text")
_CHANGE_WORDS: Final = {
    "opened": "Task opened",
    "moved": "Dates moved",
    "held": "Put on hold",
    "resumed": "Hold ended",
    "reopened": "Opened again",
    "withdrawn": "Withdrawn",
    "annotated": "Noted after closing",
    "rehomed": "Moved to another stay",
    "claimed": "Claimed",
    "closed": "Closed",
}
_OUTCOME_WORDS: Final = {
    "effect": "took effect",
    "no_effect": "without effect",
    "review": "waits for review",
    "dead_letter": "could not be used",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """A number as given, and its link where it is fit to be dialed."""

    text: str
    link: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One task in words. `hold` is why it waits, `closed` why it ended; `phones` are those not already to be called."""

    id: str
    version: int
    due: str
    urgency: words.Urgency
    dates: list[str]
    kind: str
    priority: str | None
    status: str
    hold: str | None
    closed: str | None
    name: str
    person: str
    language: str | None
    phones: list[Phone]
    call_name: str
    call_relation: str
    call_phone: Phone | None
    stay: str
    facility: str
    discharged: str
    disposition: str
    tried: str
    owner: str | None
    warnings: list[str]
    is_open: bool
    zone: str
    protocol: str
    match_rule: str
    visit_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One entry of the timeline: when (in words and for machines), what, by or from whom, and particulars."""

    when: str
    instant: str
    what: str
    who: str | None
    notes: list[str]


def task_view(item: WorklistItem, now: datetime) -> TaskView:
    """Return a task in words, as of now."""
    patient, stay, contact = item.patient, item.stay, item.patient.contact
    due, urgency = words.due_words(item, now)
    reason = item.status_reason.text if item.status_reason else None
    is_open = item.status in OPEN
    return TaskView(
        id=item.id,
        version=item.version,
        due=due,
        urgency=urgency,
        dates=words.extra_dates(item, now),
        kind=words.kind_words(item.kind),
        priority=None if item.priority == "routine" else item.priority,
        status=words.status_words(item),
        hold=(reason or "until further notice").removeprefix("on hold: ") if item.status == "on-hold" else None,
        closed=None if is_open else reason,
        name=f"{patient.family}, {patient.given}",
        person=words.patient_words(patient, now, item.zone),
        language=patient.language,
        phones=[_phone(phone) for phone in patient.phones if phone != contact.phone],
        call_name=contact.name,
        call_relation="the patient" if contact.relation == "self" else contact.relation,
        call_phone=_phone(contact.phone) if contact.phone else None,
        stay=words.stay_words(stay),
        facility=stay.facility.name or stay.facility.code or "facility not stated",
        discharged=words.discharged_words(stay, item.zone, now),
        disposition=stay.disposition.text or stay.disposition.raw or "destination not stated",
        tried=words.tried_words(item, now),
        owner=item.owner,
        warnings=_warnings(item, now),
        is_open=is_open,
        zone=item.zone,
        protocol=item.protocol,
        match_rule=item.match.rule or "a rule not recorded",
        visit_number=stay.visit_number or "none stated",
    )


def timeline(detail: WorklistDetail, now: datetime) -> list[Moment]:
    """Return what happened to a task, oldest first: messages, changes, attempts."""
    told = [
        *((message.received_at, _message(message)) for message in detail.messages),
        *((change.at, _change(change)) for change in detail.history if change.change != _TOLD_BY_ATTEMPT),
        *((attempt.at, _attempt(attempt)) for attempt in detail.attempt_log),
    ]
    zone = zone_named(detail.zone)
    today = local_date(now, zone)
    return [
        Moment(when=words.time_words(at, zone, today), instant=at.isoformat(), what=what, who=who, notes=notes)
        for at, (what, who, notes) in sorted(told, key=lambda each: each[0])
    ]


def _phone(text: str) -> Phone:
    return Phone(text=text, link=dialable(text))


def _warnings(item: WorklistItem, now: datetime) -> list[str]:
    patient = item.patient
    shown = ["the hospital says that the patient has died: do not call"] if patient.deceased else []
    shown += [words.warning_words(warning) for warning in item.warnings]
    left_on = item.stay.discharged_on or local_date(now, zone_named(item.zone))
    if patient.contact.relation == "self" and years_between(patient.birth_date, left_on) < ADULT_AGE_YEARS:
        shown.append(NO_GUARDIAN)
    return shown


def _message(message: Message) -> _Told:
    outcome = _OUTCOME_WORDS.get(message.outcome, message.outcome)
    notes = [f"{outcome} ({message.reason})" if message.reason else outcome]
    if message.control_id:
        notes.append(f"control id {message.control_id}")
    trigger = f" {message.trigger}" if message.trigger else ""
    return (
        f"Message{trigger} received: {message.kind.replace('_', ' ')}",
        message.feed and f"from {message.feed}",
        notes,
    )


def _change(change: HistoryEntry) -> _Told:
    what = _CHANGE_WORDS.get(change.change, change.change)
    notes = [] if change.change == "opened" else list(_differences(change.before, change.after))
    return what, f"by {change.actor}", notes


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    for name in _SHOWN_CHANGES:
        if name in after:
            label = name.replace("_", " ").removesuffix(" text")
            was, is_now = before.get(name), after[name]
            yield f"{label}: {is_now or 'none'}" if was is None else f"{label}: {was} → {is_now or 'none'}"


def _attempt(attempt: AttemptEntry) -> _Told:
    reached = f", reached the {attempt.reached}" if attempt.reached not in (None, "other") else ""
    what = f"Attempt by {attempt.mode}: {words.outcome_words(attempt.outcome)}{reached}"
    return what, f"by {attempt.actor}", [attempt.note] if attempt.note else []
