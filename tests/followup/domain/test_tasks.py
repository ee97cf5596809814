from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.domain.attempts import Attempt, Mode, NotAllowed, Outcome, Reached
from services.followup.domain.tasks import (
    ENDING_TEXTS,
    ENDINGS,
    OPEN,
    TRANSITIONS,
    Action,
    Conflict,
    Status,
    Task,
    claim,
    complete,
    record_attempt,
)
from tests.support.tasks import a_task

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
STATUSES: tuple[Status, ...] = get_args(Status)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
CLOSED = sorted(set(STATUSES) - OPEN)


def an_attempt(**fields: Any) -> Attempt:
    values = {"actor": "Ana", "at": NOW, "mode": "phone", "reached": "patient", "outcome": "reached", **fields}
    return Attempt(**values)


def done(answer: Task | Conflict | NotAllowed) -> Task:
    assert isinstance(answer, Task), answer
    return answer


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_names_only_real_statuses_and_actions_and_starts_from_open_ones() -> None:
    for (before, action), after in TRANSITIONS.items():
        assert before in OPEN
        assert action in get_args(Action)
        assert after in STATUSES


def test_every_outcome_has_an_ending_and_words() -> None:
    assert set(ENDINGS) == set(ENDING_TEXTS) == set(OUTCOMES)


@pytest.mark.parametrize(
    ("status", "action", "after"),
    [
        ("requested", "claim", "accepted"),
        ("accepted", "attempt", "in-progress"),
        ("on-hold", "attempt", "on-hold"),
        ("on-hold", "claim", "on-hold"),
        ("on-hold", "finish", None),
        ("on-hold", "give-up", None),
        ("on-hold", "stand-down", None),
        ("on-hold", "decline", "failed"),
        ("on-hold", "record-death", "cancelled"),
        ("in-progress", "finish", "completed"),
        ("in-progress", "give-up", "failed"),
        ("requested", "stand-down", "cancelled"),
        ("completed", "attempt", None),
        ("cancelled", "claim", None),
    ],
)
def test_the_table_says(status: Status, action: Action, after: Status | None) -> None:
    assert TRANSITIONS.get((status, action)) == after


# --- claim -----------------------------------------------------------------------------------------------------------


def test_a_claim_gives_the_task_an_owner_and_a_new_version() -> None:
    after = done(claim(a_task(version=7), "Ana", NOW))
    assert (after.owner, after.status, after.version, after.updated_at) == ("Ana", "accepted", 8, NOW)


def test_claiming_ones_own_task_again_changes_nothing() -> None:
    task = a_task(owner="Ana", status="in-progress")
    assert claim(task, "Ana", NOW) is task


def test_a_claim_of_a_task_that_somebody_has_names_them() -> None:
    assert claim(a_task(owner="Ana", status="accepted"), "Ben", NOW) == Conflict(winner="Ana")


def test_a_task_on_hold_can_be_claimed_and_stays_on_hold() -> None:
    after = done(claim(a_task(status="on-hold", status_reason_code="post-acute"), "Ana", NOW))
    assert (after.status, after.owner, after.status_reason_code) == ("on-hold", "Ana", "post-acute")


@pytest.mark.parametrize("status", CLOSED)
def test_a_closed_task_refuses_everything(status: Status) -> None:
    task = a_task(status=status, owner="Ana")
    for answer in (
        claim(task, "Ana", NOW),
        claim(task, "Ben", NOW),
        record_attempt(task, an_attempt(), NOW),
        *(complete(task, "Ana", outcome, NOW) for outcome in OUTCOMES),
    ):
        assert isinstance(answer, NotAllowed)
        assert (answer.code, answer.about_input) == ("task-closed", False)


# --- attempts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["requested", "accepted", "in-progress"])
def test_an_attempt_puts_a_task_in_progress_and_is_counted(status: Status) -> None:
    after = done(record_attempt(a_task(status=status), an_attempt(outcome="voicemail", reached=None), NOW))
    assert (after.status, after.attempt_count) == ("in-progress", 1)
    assert (after.last_attempt_at, after.last_attempt_outcome) == (NOW, "voicemail")


def test_who_tries_first_has_the_task_and_who_helps_does_not_take_it() -> None:
    first = done(record_attempt(a_task(), an_attempt(actor="Ana"), NOW))
    second = done(record_attempt(first, an_attempt(actor="Ben"), NOW))
    assert (first.owner, second.owner, second.attempt_count) == ("Ana", "Ana", 2)


def test_an_attempt_on_hold_is_kept_and_the_hold_stays() -> None:
    after = done(record_attempt(a_task(status="on-hold"), an_attempt(), NOW))
    assert (after.status, after.attempt_count) == ("on-hold", 1)


def test_an_attempt_written_down_late_is_counted_and_the_last_one_stays_the_last() -> None:
    last = done(record_attempt(a_task(), an_attempt(), NOW))
    earlier = an_attempt(at=NOW - timedelta(hours=3), outcome="voicemail", reached=None)
    after = done(record_attempt(last, earlier, NOW))
    assert (after.attempt_count, after.last_attempt_at, after.last_attempt_outcome) == (2, NOW, "reached")


def test_an_attempt_that_cannot_have_been_is_refused() -> None:
    answer = record_attempt(a_task(), an_attempt(at=NOW + timedelta(hours=1)), NOW)
    assert isinstance(answer, NotAllowed)
    assert answer.code == "attempt-in-future"


# --- complete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("reached", "completed"),
        ("refused", "failed"),
        ("voicemail", "failed"),
        ("no-answer", "failed"),
        ("wrong-number", "failed"),
        ("call-back", "failed"),
        ("language-barrier", "failed"),
        ("in-facility", "cancelled"),
        ("died", "cancelled"),
    ],
)
def test_completing_ends_a_task_as_its_outcome_says(outcome: Outcome, status: Status) -> None:
    after = done(complete(a_task(status="in-progress", owner="Ana", attempt_count=2, version=4), "Ben", outcome, NOW))
    assert (after.status, after.version, after.owner) == (status, 5, "Ana")
    assert (after.completed_at, after.closed_by) == (NOW, "Ben")
    assert (after.status_reason_code, after.status_reason_text) == (outcome, ENDING_TEXTS[outcome])


@pytest.mark.parametrize("outcome", ["voicemail", "no-answer", "wrong-number", "call-back", "language-barrier"])
@pytest.mark.parametrize("attempts", [0, 1])
def test_giving_up_takes_two_attempts(outcome: Outcome, attempts: int) -> None:
    answer = complete(a_task(status="in-progress", attempt_count=attempts), "Ana", outcome, NOW)
    assert isinstance(answer, NotAllowed)
    assert (answer.code, answer.about_input) == ("attempts-missing", False)


@pytest.mark.parametrize("outcome", ["reached", "refused", "in-facility", "died"])
def test_an_outcome_that_is_final_in_itself_takes_no_attempts(outcome: Outcome) -> None:
    assert not done(complete(a_task(), "Ana", outcome, NOW)).is_open


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_under_a_hold_only_what_ends_all_outreach_ends_the_task(outcome: Outcome) -> None:
    answer = complete(a_task(status="on-hold", attempt_count=2), "Ana", outcome, NOW)
    if outcome in ("died", "refused"):
        assert not done(answer).is_open
    else:
        assert isinstance(answer, NotAllowed)
        assert answer.code == "task-on-hold"


def test_who_completes_a_task_that_nobody_has_owns_it() -> None:
    assert done(complete(a_task(), "Ana", "reached", NOW)).owner == "Ana"


# --- whatever people do ----------------------------------------------------------------------------------------------

names = st.sampled_from(["Ana", "Ben", "Kim"])
instants = st.integers(-30 * 24 * 60, 30 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))
attempts = st.builds(
    Attempt,
    actor=names,
    at=instants,
    mode=st.sampled_from(get_args(Mode)),
    reached=st.one_of(st.none(), st.sampled_from(get_args(Reached))),
    outcome=st.sampled_from(OUTCOMES),
    note=st.one_of(st.none(), st.text(max_size=20)),
)
tasks = st.builds(
    a_task,
    status=st.sampled_from(STATUSES),
    owner=st.one_of(st.none(), names),
    attempt_count=st.integers(0, 3),
    last_attempt_at=st.one_of(st.none(), instants),
    due_on=st.dates(date(2026, 11, 1), date(2026, 12, 31)),
    due_at=instants,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), names),
        st.tuples(st.just("attempt"), attempts),
        st.tuples(st.just("complete"), st.tuples(names, st.sampled_from(OUTCOMES))),
    ),
    max_size=8,
)


def take(task: Task, step: tuple[str, Any], now: datetime) -> Task | Conflict | NotAllowed:
    match step:
        case ("claim", actor):
            return claim(task, actor, now)
        case ("attempt", attempt):
            return record_attempt(task, attempt, now)
        case (_, (actor, outcome)):
            return complete(task, actor, outcome, now)
    raise AssertionError(step)


@given(task=tasks, steps=steps, now=instants)
def test_no_step_of_a_person_moves_a_date_or_rewrites_what_a_rule_set(
    task: Task, steps: list[tuple[str, Any]], now: datetime
) -> None:
    """P5: statutory dates never silently move."""
    for step in steps:
        answer = take(task, step, now)
        if isinstance(answer, Task):
            for name in (
                "id", "episode_id", "stay_id", "patient_id", "kind", "priority", "discharged_on", "discharged_at",
                "due_on", "last_on", "due_at", "work_by", "zone", "protocol", "rule", "warnings", "created_at",
            ):  # fmt: skip
                assert getattr(answer, name) == getattr(task, name), name
            task = answer


@given(task=tasks, steps=steps, now=instants)
def test_every_step_is_one_version_on_or_none_and_ends_are_final(
    task: Task, steps: list[tuple[str, Any]], now: datetime
) -> None:
    for step in steps:
        answer = take(task, step, now)
        if not task.is_open:
            assert isinstance(answer, NotAllowed)
        if isinstance(answer, Task):
            assert answer == task or answer.version == task.version + 1
            assert answer.attempt_count >= task.attempt_count
            assert task.owner is None or answer.owner == task.owner
            assert answer.is_open == (answer.closed_by is None) == (answer.completed_at is None)
            if answer.last_attempt_at != task.last_attempt_at:
                assert answer.last_attempt_at is not None
                assert answer.last_attempt_at <= now
            task = answer
