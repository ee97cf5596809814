"""Attempts to reach somebody: their words, their limits, and what makes one impossible.

An attempt is evidence: CMS pays for two separate documented ones within the two business days even when nobody was
reached (TCM, domain.md §1.1). So its time is when it was made, never later than now and never before the discharge,
and what it says must not contradict itself. Pure; `now` is an argument.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from services.followup.domain.working_time import start_of_local_day

Mode = Literal["phone", "text", "portal", "visit"]
Reached = Literal["patient", "guardian", "caregiver", "other"]
Outcome = Literal[
    "reached",
    "voicemail",
    "no-answer",
    "wrong-number",
    "refused",
    "call-back",
    "language-barrier",
    "in-facility",
    "died",
]

CLOCK_SKEW_MAX: Final = timedelta(seconds=60)
"""How far ahead of our clock an attempt may be dated: two clocks of one office, not a plan for tomorrow."""
NOTE_CHARS_MAX: Final = 2000  # a page of text; longer notes belong in the chart

_NOBODY: Final[frozenset[Outcome]] = frozenset({"voicemail", "no-answer"})
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAllowed:
    """Refused by a rule: a stable kebab-case code, and what to do instead.

    `about_input` tells what another input cures from what the task's own state forbids.
    """

    code: str
    text: str
    about_input: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try: by whom, when it was made (aware), how, who was reached (`None`: nobody) and what came of it."""

    actor: str
    at: datetime
    mode: Mode
    reached: Reached | None
    outcome: Outcome
    note: str | None = None


def made_at(stated: datetime | None, now: datetime) -> datetime:
    """Return, in UTC, when an attempt was made: now, if nothing was stated or another clock is only a little ahead."""
    if stated is None or now < stated <= now + CLOCK_SKEW_MAX:
        return now
    try:
        return stated.astimezone(UTC)
    except OverflowError:  # the ends of the calendar, which `problem_of` refuses
        return stated


def problem_of(
    attempt: Attempt, *, discharged_on: date, discharged_at: datetime | None, zone: ZoneInfo, now: datetime
) -> NotAllowed | None:
    """Return why the attempt cannot have been made as it says, if it cannot.

    `discharged_on` is local to `zone`; it decides where the time of discharge is not known.
    """
    left_at = start_of_local_day(discharged_on, zone) if discharged_at is None else discharged_at
    return _contradiction(attempt) or _unfit_note(attempt.note) or _untimely(attempt.at, left_at, now)


def _contradiction(attempt: Attempt) -> NotAllowed | None:
    if attempt.outcome == "reached" and attempt.reached is None:
        return _input("reached-missing", "Say who was reached: patient, guardian, caregiver or other.")
    if attempt.outcome in _NOBODY and attempt.reached is not None:
        return _input("reached-contradicts-outcome", f"With the outcome {attempt.outcome} nobody was reached.")
    return None


def _unfit_note(note: str | None) -> NotAllowed | None:
    if note is not None and len(note) > NOTE_CHARS_MAX:
        return _input("note-too-long", f"A note has at most {NOTE_CHARS_MAX} characters.")
    if note is not None and _UNPRINTABLE.search(note):
        return _input("note-unreadable", "A note is text: it has no control characters.")
    return None


def _untimely(at: datetime, left_at: datetime, now: datetime) -> NotAllowed | None:
    if at > now:
        return _input("attempt-in-future", "An attempt is recorded after it was made: its time cannot be ahead of now.")
    # People write minutes. And a hospital's clock may run ahead: what is tried now was never tried too early.
    if at + _MINUTE <= min(left_at, now):
        return _input("attempt-before-discharge", "An attempt from before the discharge does not count as follow-up.")
    return None


def _input(code: str, text: str) -> NotAllowed:
    return NotAllowed(code=code, text=text, about_input=True)
