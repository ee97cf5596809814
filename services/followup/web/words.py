"""Facts of a task in words, for people: when it is due, who the patient is, where they were, what was tried.

Pure. Dates and times are those at the facility, because deadlines are; nothing is said by color alone.
"""

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Final, Literal
from zoneinfo import ZoneInfo

from services.followup.domain.attempts import Outcome
from services.followup.domain.reconcile import MOVED_WARNING
from services.followup.domain.tasks import OPEN
from services.followup.domain.working_time import local_date, zone_named
from services.followup.usecases.worklist_items import ItemPatient, ItemStay, WorklistItem
from services.followup.usecases.worklist_rows import years_between

Urgency = Literal["overdue", "today", "later", "none"]

KIND_WORDS: Final[Mapping[str, str]] = MappingProxyType({"contact": "Contact", "visit": "Visit"})
OUTCOME_WORDS: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        "reached": "reached",
        "voicemail": "voicemail",
        "no-answer": "no answer",
        "wrong-number": "wrong number",
        "refused": "refused",
        "call-back": "call back",
        "language-barrier": "language barrier",
        "in-facility": "in a facility",
        "died": "died",
    }
)
_STATUS_WORDS: Final = MappingProxyType(
    {
        "requested": "to do",
        "accepted": "claimed",
        "in-progress": "in progress",
        "on-hold": "on hold",
        "completed": "completed",
        "failed": "closed without success",
        "cancelled": "canceled",
        "entered-in-error": "entered in error",
    }
)
_CLASS_WORDS: Final = MappingProxyType(
    {
        "IMP": "Inpatient stay",
        "ACUTE": "Inpatient stay",
        "NONAC": "Inpatient stay, non-acute",
        "OBSENC": "Observation stay",
        "EMER": "Emergency visit",
        "AMB": "Outpatient visit",
        "SS": "Short stay",
        "PSYCH": "Psychiatric stay",
        "REHAB": "Rehabilitation stay",
        "LTC": "Long-term hospital stay",
        "SNF": "Skilled nursing stay",
    }
)
_SEX_WORDS: Final = MappingProxyType({"F": "female", "M": "male"})
_WARNING_WORDS: Final = MappingProxyType({MOVED_WARNING: "the dates moved after work on this had begun"})
_MONTHS_UNTIL_YEARS: Final = 24  # the age below which care teams speak of months


def due_words(item: WorklistItem, now: datetime) -> tuple[str, Urgency]:
    """Return when a task is due, as "due Wed Nov 25 · 2 days left", and how urgent that is."""
    if item.status not in OPEN:
        return f"was due {day_words(item.due_on, item.due_on)}", "none"
    today = local_date(now, zone_named(item.zone))
    left = (item.due_on - today).days
    due = day_words(item.due_on, today)
    if left < 0:
        return f"overdue {_count(-left, 'day')} · was due {due}", "overdue"
    if left == 0:
        return f"due today, {due}", "today"
    return f"due {due} · {_count(left, 'day')} left", "later"


def extra_dates(item: WorklistItem, now: datetime) -> list[str]:
    """Return the other dates that matter: an earlier day to work by, and a later last date."""
    if item.status not in OPEN:
        return []
    today = local_date(now, zone_named(item.zone))
    words = []
    if today <= item.work_by < item.due_on:
        words.append(f"work by {day_words(item.work_by, today)}")
    if item.last_on != item.due_on:
        words.append(f"last date {day_words(item.last_on, today)}")
    return words


def kind_words(kind: str) -> str:
    """Return a kind of task in words."""
    return KIND_WORDS.get(kind, kind)


def status_words(item: WorklistItem) -> str:
    """Return a status in words."""
    return _STATUS_WORDS[item.status]


def warning_words(warning: str) -> str:
    """Return a warning in words."""
    return _WARNING_WORDS.get(warning, warning)


def age_words(birth_date: date, today: date) -> str:
    """Return an age: in months for the smallest, else in years."""
    months = (today.year - birth_date.year) * 12 + today.month - birth_date.month - (today.day < birth_date.day)
    if months < 0:
        return "not born yet"
    if months < _MONTHS_UNTIL_YEARS:
        return f"{_count(months, 'month')} old" if months else f"{_count((today - birth_date).days, 'day')} old"
    return f"{years_between(birth_date, today)} years old"


def patient_words(patient: ItemPatient, now: datetime, zone: str) -> str:
    """Return birth date, age and sex."""
    age = age_words(patient.birth_date, local_date(now, zone_named(zone)))
    sex = _SEX_WORDS.get((patient.sex or "").upper())
    return ", ".join([f"born {patient.birth_date:%b} {patient.birth_date.day}, {patient.birth_date.year}", age]) + (
        f", {sex}" if sex else ""
    )


def stay_words(stay: ItemStay) -> str:
    """Return what kind of stay it was."""
    return _CLASS_WORDS.get(stay.class_.code or "", "Stay")


def discharged_words(stay: ItemStay, zone: str, now: datetime) -> str:
    """Return when the stay ended and how long it lasted."""
    if stay.discharged_on is None:
        return "not discharged"
    local = zone_named(zone)
    today = local_date(now, local)
    if stay.discharged_at is None:
        ended = day_words(stay.discharged_on, today)
    else:
        ended = time_words(stay.discharged_at, local, today)
    if stay.admitted_at is None:
        return ended
    days = (stay.discharged_on - local_date(stay.admitted_at, local)).days
    return f"{ended}, after {_count(days, 'day')}" if days > 0 else ended


def tried_words(item: WorklistItem, now: datetime) -> str:
    """Return what was tried so far."""
    attempts = item.attempts
    if not attempts.count:
        return "not tried yet"
    tried = f"tried {_count(attempts.count, 'time')}"
    if attempts.last_at is None:
        return tried
    zone = zone_named(item.zone)
    outcome = outcome_words(attempts.last_outcome)
    return f"{tried}, last {time_words(attempts.last_at, zone, local_date(now, zone))}: {outcome}"


def outcome_words(outcome: str | None) -> str:
    """Return an outcome in words; one that we do not know as it is."""
    return next((words for known, words in OUTCOME_WORDS.items() if known == outcome), outcome or "unknown")


def day_words(day: date, today: date) -> str:
    """Return a day as "Wed Nov 25", with the year where it is another one."""
    words = f"{day:%a} {day:%b} {day.day}"
    return words if day.year == today.year else f"{words}, {day.year}"


def time_words(instant: datetime, zone: ZoneInfo, today: date) -> str:
    """Return a point in time as "Fri Nov 20, 2:30 PM EST"."""
    local = instant.astimezone(zone)
    return f"{day_words(local.date(), today)}, {local.hour % 12 or 12}:{local:%M %p %Z}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
