from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.followup.domain.attempts import CLOCK_SKEW_MAX, NOTE_CHARS_MAX, Attempt, made_at, problem_of

NOW = datetime(2026, 11, 23, 15, 0, 30, tzinfo=UTC)
LEFT_AT = datetime(2026, 11, 20, 19, 30, 20, tzinfo=UTC)
LEFT_ON = date(2026, 11, 20)
NEW_YORK = ZoneInfo("America/New_York")


def problem(*, left_at: datetime | None = LEFT_AT, now: datetime = NOW, **fields: Any) -> str | None:
    values = {"actor": "Ana", "at": now, "mode": "phone", "reached": None, "outcome": "voicemail", **fields}
    found = problem_of(Attempt(**values), discharged_on=LEFT_ON, discharged_at=left_at, zone=NEW_YORK, now=now)
    assert found is None or found.about_input
    return None if found is None else found.code


@pytest.mark.parametrize(
    ("outcome", "reached", "code"),
    [
        ("reached", "patient", None),
        ("reached", "guardian", None),
        ("reached", "caregiver", None),
        ("reached", None, "reached-missing"),
        ("voicemail", None, None),
        ("voicemail", "patient", "reached-contradicts-outcome"),
        ("no-answer", "other", "reached-contradicts-outcome"),
        ("wrong-number", "other", None),
        ("wrong-number", None, None),
        ("refused", "patient", None),
        ("call-back", None, None),
        ("language-barrier", "patient", None),
        ("in-facility", None, None),
        ("died", "caregiver", None),
    ],
)
def test_who_was_reached_and_what_came_of_it_agree(outcome: str, reached: str | None, code: str | None) -> None:
    assert problem(outcome=outcome, reached=reached) == code


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (NOW, None),
        (NOW - timedelta(hours=20), None),
        (NOW + timedelta(seconds=1), "attempt-in-future"),
        (LEFT_AT, None),
        (LEFT_AT.replace(second=0), None),  # people write minutes
        (LEFT_AT - timedelta(minutes=1), "attempt-before-discharge"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "attempt-before-discharge"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), "attempt-in-future"),
    ],
)
def test_an_attempt_was_made_after_the_discharge_and_not_after_now(at: datetime, code: str | None) -> None:
    assert problem(at=at) == code


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (datetime(2026, 11, 20, 5, 0, tzinfo=UTC), None),  # midnight in New York
        (datetime(2026, 11, 20, 4, 58, tzinfo=UTC), "attempt-before-discharge"),
    ],
)
def test_where_only_the_day_of_discharge_is_known_that_day_counts(at: datetime, code: str | None) -> None:
    assert problem(at=at, left_at=None) == code


def test_where_the_hospitals_clock_runs_ahead_a_call_made_now_is_not_too_early() -> None:
    assert problem(at=NOW, left_at=NOW + timedelta(minutes=30)) is None
    assert problem(at=NOW - timedelta(minutes=2), left_at=NOW + timedelta(minutes=30)) == "attempt-before-discharge"


def test_an_attempt_without_a_time_was_made_now_and_a_clock_a_little_ahead_is_forgiven() -> None:
    assert made_at(None, NOW) == NOW
    assert made_at(NOW + CLOCK_SKEW_MAX, NOW) == NOW
    assert made_at(NOW - timedelta(days=1), NOW) == NOW - timedelta(days=1)
    beyond = NOW + CLOCK_SKEW_MAX + timedelta(seconds=1)
    assert made_at(beyond, NOW) == beyond


@pytest.mark.parametrize(
    ("note", "code"),
    [
        ("called twice\r\n\tsister answered 👩‍⚕️", None),
        ("x" * NOTE_CHARS_MAX, None),
        ("x" * (NOTE_CHARS_MAX + 1), "note-too-long"),
        ("nul \x00", "note-unreadable"),
        ("escape \x1b[2J", "note-unreadable"),
        ("half a character \ud83d", "note-unreadable"),
    ],
)
def test_a_note_is_text_of_a_page_at_most(note: str, code: str | None) -> None:
    assert problem(note=note) == code
