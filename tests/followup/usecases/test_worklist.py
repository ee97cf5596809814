import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from services.followup.domain.attempts import NotAllowed
from services.followup.store import tables
from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.worklist import (
    ACTOR_CHARS_MAX,
    LIMIT_MAX,
    AttemptMade,
    Done,
    Overtaken,
    Refused,
    Worklist,
    usable_name,
)
from services.followup.usecases.worklist_items import WorklistItem, WorklistPage
from services.runtime.clock import FixedClock
from services.runtime.database import read_transaction, write_transaction
from tests.support import rows

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
CALLED = AttemptMade(mode="phone", reached=None, outcome="voicemail", note=" left a message ")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def worklist(engine: sa.Engine, clock: FixedClock) -> Worklist:
    return Worklist(SqlWorklist(engine), clock.now)


def insert(engine: sa.Engine, **columns: Any) -> str:
    with write_transaction(engine) as connection:
        return rows.insert_task(connection, **columns)


def audit(engine: sa.Engine) -> list[tuple[str, str, str, Any]]:
    with read_transaction(engine) as connection:
        found = connection.execute(sa.select(tables.audit_event).order_by(tables.audit_event.c.id))
        return [(row.actor, row.action, row.entity, json.loads(row.detail)) for row in found]


def history(engine: sa.Engine) -> list[tuple[str, str, str | None]]:
    with read_transaction(engine) as connection:
        found = connection.execute(sa.select(tables.task_history).order_by(tables.task_history.c.id))
        return [(row.actor, row.change, row.reason) for row in found]


def item(done: Done) -> WorklistItem:
    assert isinstance(done, WorklistItem), done
    return done


def page(found: WorklistPage | NotAllowed) -> WorklistPage:
    assert isinstance(found, WorklistPage), found
    return found


# --- reading ---------------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_to_the_end(engine: sa.Engine, worklist: Worklist) -> None:
    expected = [insert(engine, id=f"T{n}", due_at=rows.DUE_AT + timedelta(days=n)) for n in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        found = page(worklist.page(limit=2, cursor=cursor))
        seen += [each.id for each in found.items]
        cursor = found.next_cursor
        if cursor is None:
            break
    assert seen == expected


def test_a_full_last_page_has_no_next_one(engine: sa.Engine, worklist: Worklist) -> None:
    for _ in range(3):
        insert(engine)
    assert page(worklist.page(limit=3)).next_cursor is None
    assert page(worklist.page(limit=2)).next_cursor is not None


@pytest.mark.parametrize("limit", [0, -1, LIMIT_MAX + 1])
def test_a_page_has_limits(worklist: Worklist, limit: int) -> None:
    refused = worklist.page(limit=limit)
    assert isinstance(refused, NotAllowed)
    assert refused.code == "limit-out-of-range"


def test_an_unknown_cursor_is_refused_and_nothing_is_seen(engine: sa.Engine, worklist: Worklist) -> None:
    refused = worklist.page(cursor="nonsense")
    assert isinstance(refused, NotAllowed)
    assert refused.code == "cursor-unknown"
    assert audit(engine) == []


def test_each_view_of_the_list_leaves_one_audit_row_with_the_ids_seen(engine: sa.Engine, worklist: Worklist) -> None:
    first, second = insert(engine, id="a"), insert(engine, id="b")
    insert(engine, id="c", status="completed")
    worklist.page(is_open=True, actor="Ana")
    worklist.page(is_open=True, limit=1, actor="Ana")
    assert audit(engine) == [
        ("Ana", "tasks.listed", "task", {"open": True, "ids": [first, second]}),
        ("Ana", "tasks.listed", "task", {"open": True, "ids": [first]}),
    ]


def test_a_view_of_one_task_leaves_an_audit_row_and_a_look_at_nothing_none(
    engine: sa.Engine, worklist: Worklist
) -> None:
    task_id = insert(engine)
    assert worklist.find("nothing") is None
    found = worklist.find(task_id, actor="Ana")
    assert found is not None
    assert found.id == task_id
    assert audit(engine) == [("Ana", "task.viewed", f"task/{task_id}", {"version": 1})]


def test_an_unusable_name_of_a_reader_is_not_written_to_the_audit(engine: sa.Engine, worklist: Worklist) -> None:
    worklist.page(actor="\u202eevil\n")
    assert [actor for actor, *_ in audit(engine)] == ["coordinator"]


@pytest.mark.parametrize("task_id", ["", "x" * 65, "nul\x00", "\u202e", "\ud800"])
def test_what_cannot_be_an_id_names_no_task(worklist: Worklist, task_id: str) -> None:
    assert worklist.find(task_id) is None
    assert worklist.claim(task_id, 1, actor="Ana") is None


# --- acting ----------------------------------------------------------------------------------------------------------


def test_a_claim_leaves_history_and_audit(engine: sa.Engine, worklist: Worklist) -> None:
    task_id = insert(engine)
    after = item(worklist.claim(task_id, 1, actor="Ana"))
    assert (after.owner, after.status, after.version) == ("Ana", "accepted", 2)
    assert history(engine) == [("Ana", "claimed", None)]
    assert audit(engine) == [
        ("Ana", "task.claimed", f"task/{task_id}", {"version": 2, "status": "accepted", "reason": None})
    ]


def test_claiming_ones_own_task_as_it_is_changes_nothing_and_is_audited(engine: sa.Engine, worklist: Worklist) -> None:
    task_id = insert(engine)
    worklist.claim(task_id, 1, actor="Ana")
    again = item(worklist.claim(task_id, 2, actor="Ana"))
    assert (again.owner, again.version) == ("Ana", 2)
    assert len(history(engine)) == 1
    assert len(audit(engine)) == 2


def test_who_comes_too_late_is_told_who_was_first(engine: sa.Engine, worklist: Worklist) -> None:
    task_id = insert(engine)
    worklist.claim(task_id, 1, actor="Ana")
    for version in (1, 2):
        late = worklist.claim(task_id, version, actor="Ben")
        assert isinstance(late, Overtaken)
        assert (late.winner, late.item.owner, late.item.version) == ("Ana", "Ana", 2)
    assert history(engine) == [("Ana", "claimed", None)]
    assert [detail.get("refused") for *_, detail in audit(engine)] == [None, "task-changed", "task-changed"]


def test_the_same_sight_of_a_task_can_be_acted_on_once_also_under_one_name(
    engine: sa.Engine, worklist: Worklist
) -> None:
    task_id = insert(engine)
    worklist.claim(task_id, 1, actor="Ana")
    late = worklist.claim(task_id, 1, actor="Ana")
    assert isinstance(late, Overtaken)
    assert late.winner == "Ana"


def test_where_a_rule_moved_the_task_the_rule_is_named(engine: sa.Engine, worklist: Worklist) -> None:
    task_id = insert(engine, version=3, owner="Ana", status="accepted")
    with write_transaction(engine) as connection:
        connection.execute(
            sa.insert(tables.task_history).values(
                task_id=task_id, at=NOW, actor="protocol", change="moved", before="{}", after="{}"
            )
        )
    attempt = worklist.attempt(task_id, 2, CALLED, actor="Ana")
    claim = worklist.claim(task_id, 2, actor="Ben")
    assert isinstance(attempt, Overtaken)
    assert isinstance(claim, Overtaken)
    assert (attempt.winner, claim.winner) == ("protocol", "Ana")


def test_an_attempt_is_kept_with_its_note_and_time(engine: sa.Engine, worklist: Worklist, clock: FixedClock) -> None:
    task_id = insert(engine)
    earlier = NOW - timedelta(hours=2)
    item(worklist.attempt(task_id, 1, CALLED, actor="Ana"))
    clock.advance(timedelta(minutes=5))
    at = AttemptMade(mode="text", reached="patient", outcome="call-back", at=earlier)
    after = item(worklist.attempt(task_id, 2, at, actor="Ben"))
    assert (after.status, after.owner, after.attempts.count) == ("in-progress", "Ana", 2)
    assert (after.attempts.last_at, after.attempts.last_outcome) == (NOW, "voicemail")
    found = worklist.find(task_id)
    assert found is not None
    assert [(each.at, each.actor, each.outcome, each.note) for each in found.attempt_log] == [
        (earlier, "Ben", "call-back", None),
        (NOW, "Ana", "voicemail", "left a message"),
    ]
    assert history(engine) == [("Ana", "attempted", "voicemail"), ("Ben", "attempted", "call-back")]


def test_a_refused_attempt_leaves_nothing_but_an_audit_row(engine: sa.Engine, worklist: Worklist) -> None:
    task_id = insert(engine)
    refused = worklist.attempt(task_id, 1, AttemptMade(mode="phone", reached=None, outcome="reached"), actor="Ana")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.about_input, refused.item.version) == ("reached-missing", True, 1)
    assert history(engine) == []
    with read_transaction(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.task_attempt)).scalar_one() == 0
    assert [(action, detail) for _, action, _, detail in audit(engine)] == [
        ("task.attempted", {"version": 1, "refused": "reached-missing"})
    ]


def test_a_task_is_completed_once_and_then_refuses(engine: sa.Engine, worklist: Worklist) -> None:
    task_id = insert(engine)
    done = item(worklist.complete(task_id, 1, "reached", actor="Ana"))
    assert done.status == "completed"
    assert done.status_reason is not None
    assert done.status_reason.code == "reached"
    refused = worklist.complete(task_id, 2, "reached", actor="Ana")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.about_input) == ("task-closed", False)
    assert history(engine) == [("Ana", "closed", "reached")]


def test_notes_do_not_reach_the_audit_or_the_history(engine: sa.Engine, worklist: Worklist) -> None:
    task_id = insert(engine)
    worklist.attempt(task_id, 1, CALLED, actor="Ana")
    with read_transaction(engine) as connection:
        kept = [*connection.execute(sa.select(tables.audit_event)), *connection.execute(sa.select(tables.task_history))]
    assert "left a message" not in str(kept)


@pytest.mark.parametrize(
    "actor", ["", "   ", "x" * (ACTOR_CHARS_MAX + 1), "a\x00b", "\u202eAna", "protocol", " Protocol "]
)
def test_an_unusable_name_cannot_act(engine: sa.Engine, worklist: Worklist, actor: str) -> None:
    task_id = insert(engine)
    assert isinstance(worklist.claim(task_id, 1, actor=actor), NotAllowed)
    assert history(engine) == []
    assert audit(engine) == []


def test_a_name_is_kept_without_its_stray_spaces() -> None:
    assert usable_name("  Kim \t Lee ") == "Kim Lee"
    assert usable_name("José Ñáñez") == "José Ñáñez"


@pytest.mark.parametrize("round_", range(5))
def test_of_many_who_claim_at_once_one_has_the_task_and_all_others_learn_who(
    engine: sa.Engine, worklist: Worklist, round_: int
) -> None:
    task_id = insert(engine)
    people = [f"Person {n}" for n in range(6)]
    together = threading.Barrier(len(people))
    answers: dict[str, Done] = {}

    def race(actor: str) -> None:
        together.wait()
        answers[actor] = worklist.claim(task_id, 1, actor=actor)

    threads = [threading.Thread(target=race, args=(actor,)) for actor in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [actor for actor, answer in answers.items() if isinstance(answer, WorklistItem)]
    losers = [answer for actor, answer in answers.items() if actor != winner]
    assert all(isinstance(answer, Overtaken) and answer.winner == winner for answer in losers)
    assert history(engine) == [(winner, "claimed", None)]
