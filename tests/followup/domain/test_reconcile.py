"""The reconciler's table (DESIGN §6), row by row, and that running it twice changes nothing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.domain.protocols import PlanItem
from services.followup.domain.reconcile import MOVED_WARNING, Absence, Anchor, Change, reconcile
from services.followup.domain.tasks import OPEN, PROTOCOL_ACTOR, Task

NOW = datetime(2026, 11, 20, 17, tzinfo=UTC)
DISCHARGED_AT = datetime(2026, 11, 18, 19, tzinfo=UTC)
ANCHOR = Anchor(
    episode_id="E1",
    stay_id="S1",
    patient_id="P1",
    discharged_on=date(2026, 11, 18),
    discharged_at=DISCHARGED_AT,
    zone="America/New_York",
    protocol="transitional-care",
)
_ids = count()
GONE = Absence(code="discharge-canceled", text="the discharge was taken back")


def item(kind: str = "contact", due: date = date(2026, 11, 20), hold: str | None = None) -> PlanItem:
    return PlanItem(
        kind=kind,
        due_on=due,
        last_on=due,
        due_at=datetime(due.year, due.month, due.day, tzinfo=UTC) + timedelta(hours=29),
        work_by=due,
        priority="routine",
        status="on-hold" if hold else "requested",
        hold_reason=hold,
        check_on=None,
        check_at=None,
        warnings=(),
        rule="home",
    )


def settle(
    tasks: Sequence[Task], plan: Sequence[PlanItem], anchor: Anchor = ANCHOR, at: datetime = NOW
) -> tuple[Change, ...]:
    return reconcile(
        anchor=anchor if plan else None,
        plan=plan,
        absence=GONE,
        tasks=tasks,
        new_ids=[f"new-{next(_ids)}" for _ in plan],
        now=at,
    )


def after(tasks: Sequence[Task], changes: Sequence[Change]) -> list[Task]:
    """Return the tasks once the changes are applied, holding one open task a kind at every step."""
    rows = {task.id: task for task in tasks}
    for change in changes:
        rows[change.after.id] = change.after
        open_kinds = [task.kind for task in rows.values() if task.is_open]
        assert len(open_kinds) == len(set(open_kinds))
    return list(rows.values())


def opened(plan: PlanItem | None = None) -> Task:
    (change,) = settle([], [plan or item()])
    return change.after


def claimed() -> Task:
    return replace(opened(), owner="Kim Lee", status="accepted", version=2)


def attempted() -> Task:
    return replace(
        claimed(), status="in-progress", attempt_count=1, last_attempt_at=NOW, last_attempt_outcome="voicemail"
    )


def completed(at: datetime = NOW) -> Task:
    return replace(
        attempted(),
        status="completed",
        completed_at=at,
        last_attempt_at=at,
        last_attempt_outcome="reached",
        closed_by="Kim Lee",
    )


def canceled_by_person() -> Task:
    return replace(claimed(), status="cancelled", completed_at=NOW, closed_by="Kim Lee")


def test_a_plan_without_tasks_opens_them() -> None:
    changes = settle([], [item("contact"), item("visit", date(2026, 11, 25))])
    assert [(change.kind, change.after.kind, change.after.status) for change in changes] == [
        ("opened", "contact", "requested"),
        ("opened", "visit", "requested"),
    ]


def test_an_untouched_task_whose_plan_is_gone_is_withdrawn() -> None:
    (change,) = settle([opened()], [])
    assert (change.kind, change.after.status, change.after.closed_by) == ("withdrawn", "cancelled", PROTOCOL_ACTOR)
    assert change.after.status_reason_code == "discharge-canceled"


@pytest.mark.parametrize("task", [claimed(), attempted()])
def test_a_touched_task_whose_plan_is_gone_keeps_its_owner_and_attempts(task: Task) -> None:
    (change,) = settle([task], [])
    assert change.kind == "withdrawn"
    assert (change.after.owner, change.after.attempt_count) == (task.owner, task.attempt_count)
    assert change.after.status_reason_text


def test_an_untouched_task_whose_dates_moved_is_moved() -> None:
    (change,) = settle([opened()], [item(due=date(2026, 11, 23))])
    assert (change.kind, change.after.due_on, change.after.warnings) == ("moved", date(2026, 11, 23), ())


@pytest.mark.parametrize("task", [claimed(), attempted()])
def test_a_touched_task_whose_dates_moved_is_flagged(task: Task) -> None:
    (change,) = settle([task], [item(due=date(2026, 11, 23))])
    assert change.kind == "moved"
    assert change.after.warnings == (MOVED_WARNING,)
    assert (change.after.status, change.after.owner) == (task.status, task.owner)


@pytest.mark.parametrize(
    ("task", "status"), [(opened(), "requested"), (claimed(), "accepted"), (attempted(), "in-progress")]
)
def test_a_withdrawn_task_whose_plan_is_back_is_reopened_on_the_same_row(task: Task, status: str) -> None:
    (withdrawn,) = after([task], settle([task], []))
    (change,) = settle([withdrawn], [item()])
    assert (change.kind, change.after.id, change.after.status) == ("reopened", task.id, status)
    assert change.after.closed_by is None


def test_a_completed_task_whose_plan_is_gone_is_left_and_annotated() -> None:
    (change,) = settle([completed()], [])
    assert (change.kind, change.after.status) == ("annotated", "completed")
    assert change.after.status_reason_code == "discharge-canceled"


def test_a_completed_task_whose_dates_moved_is_left() -> None:
    assert settle([completed()], [item(due=date(2026, 11, 23))]) == ()


def test_a_task_completed_before_the_discharge_that_now_counts_is_followed_by_another() -> None:
    done = completed(NOW)
    moved = replace(ANCHOR, discharged_at=NOW + timedelta(days=1), discharged_on=date(2026, 11, 21))
    (change,) = settle([done], [item(due=date(2026, 11, 24))], moved)
    assert change.kind == "opened"


def test_a_second_task_is_withdrawn_when_the_first_counts_again() -> None:
    done, again = completed(NOW), replace(opened(), id="again")
    (change,) = settle([done, again], [item()])
    assert (change.kind, change.after.id, change.reason) == ("withdrawn", "again", "already-done")


def test_a_task_canceled_by_a_person_stays_so_until_the_stay_is_another() -> None:
    assert settle([canceled_by_person()], [item(due=date(2026, 11, 23))]) == ()
    (change,) = settle([canceled_by_person()], [item()], replace(ANCHOR, stay_id="S2", episode_id="S2"))
    assert change.kind == "opened"


def test_a_hold_keeps_the_dates_and_ends_where_work_had_got_to() -> None:
    task = attempted()
    (held,) = after([task], settle([task], [item(hold="post-acute")]))
    assert (held.status, held.status_reason_code, held.due_on) == ("on-hold", "post-acute", date(2026, 11, 20))
    (change,) = settle([held], [item()])
    assert (change.kind, change.after.status, change.after.status_reason_code) == ("resumed", "in-progress", None)


def test_of_two_open_tasks_of_a_kind_the_touched_one_is_kept() -> None:
    mine, double = claimed(), replace(opened(), id="double", stay_id="S0", episode_id="S0")
    changes = settle([double, mine], [item()])
    assert [(change.kind, change.after.id) for change in changes] == [("withdrawn", "double")]


def test_a_task_of_an_absorbed_stay_passes_to_the_one_that_took_it_over() -> None:
    elsewhere = replace(claimed(), stay_id="S0", episode_id="S0")
    (change,) = settle([elsewhere], [item()])
    assert (change.kind, change.after.stay_id, change.after.episode_id) == ("rehomed", "S1", "E1")
    assert change.after.owner == "Kim Lee"


tasks = st.sampled_from([opened(), claimed(), attempted(), completed(), canceled_by_person()])
plans = st.lists(
    st.builds(
        item,
        st.sampled_from(["contact", "visit"]),
        st.dates(date(2026, 11, 19), date(2026, 12, 5)),
        st.sampled_from([None, "post-acute"]),
    ),
    max_size=2,
    unique_by=lambda one: one.kind,
)


@given(st.none() | tasks, st.lists(plans, min_size=1, max_size=5))
def test_running_it_twice_changes_nothing_and_people_s_work_is_kept(
    first: Task | None, told: list[list[PlanItem]]
) -> None:
    rows = [first] if first else []
    for plan in told:
        rows = after(rows, settle(rows, plan))
        assert settle(rows, plan, at=NOW + timedelta(hours=1)) == ()
        if first is not None:
            kept = next(row for row in rows if row.id == first.id)
            assert (kept.owner, kept.attempt_count) == (first.owner, first.attempt_count)
            assert first.status != "completed" or kept.status == "completed"
        wanted = {one.kind for one in plan}
        assert {row.kind for row in rows if row.is_open} <= wanted


@given(plans, st.lists(plans, max_size=3))
def test_only_the_last_plan_counts(last: list[PlanItem], before: list[list[PlanItem]]) -> None:
    rows: list[Task] = []
    for plan in [*before, last]:
        rows = after(rows, settle(rows, plan))
    assert {(row.kind, row.due_on, row.status) for row in rows if row.status in OPEN} == {
        (one.kind, one.due_on, one.status) for one in last
    }


def test_a_plan_needs_its_discharge_and_enough_ids() -> None:
    with pytest.raises(ValueError, match="needs the discharge"):
        reconcile(anchor=None, plan=[item()], absence=GONE, tasks=[], new_ids=["one"], now=NOW)
    with pytest.raises(ValueError, match="one new id"):
        reconcile(anchor=ANCHOR, plan=[item()], absence=GONE, tasks=[], new_ids=[], now=NOW)
