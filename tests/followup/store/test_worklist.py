from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from services.followup.domain.attempts import Attempt
from services.followup.domain.tasks import Task
from services.followup.store import tables
from services.followup.store.worklist import MESSAGES_MAX, SqlWorklist, page_statement
from services.followup.usecases.worklist_cursor import START, Position
from services.followup.usecases.worklist_ports import AuditEntry
from services.runtime.database import read_transaction, write_transaction
from services.runtime.errors import Transient
from tests.support import rows
from tests.support.statements import count_statements

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)


@pytest.fixture
def store(engine: sa.Engine) -> SqlWorklist:
    return SqlWorklist(engine)


def insert(engine: sa.Engine, **columns: Any) -> str:
    with write_transaction(engine) as connection:
        return rows.insert_task(connection, **columns)


def ids(store: SqlWorklist, **query: Any) -> list[str]:
    query = {"is_open": None, "after": START, "limit": 100, **query}
    return [row.task.id for row in store.page(**query)]


def test_a_page_is_ordered_by_deadline_then_id(engine: sa.Engine, store: SqlWorklist) -> None:
    for task_id, days in (("b", 2), ("a", 2), ("d", 1), ("c", 3)):
        insert(engine, id=task_id, due_at=rows.DUE_AT + timedelta(days=days))
    assert ids(store) == ["d", "a", "b", "c"]


def test_a_page_starts_after_a_position_and_has_a_length(engine: sa.Engine, store: SqlWorklist) -> None:
    for task_id in ("a", "b", "c", "d"):
        insert(engine, id=task_id)
    assert ids(store, after=Position(due_at=rows.DUE_AT, task_id="b")) == ["c", "d"]
    assert ids(store, limit=3) == ["a", "b", "c"]
    assert ids(store, after=Position(due_at=rows.DUE_AT, task_id="d")) == []


def test_open_and_closed_tasks_can_be_told_apart(engine: sa.Engine, store: SqlWorklist) -> None:
    statuses = (
        "requested", "accepted", "in-progress", "on-hold", "completed", "failed", "cancelled", "entered-in-error",
    )  # fmt: skip
    for status in statuses:
        insert(engine, id=status, status=status)
    assert sorted(ids(store, is_open=True)) == sorted(tables.OPEN_STATUSES)
    assert sorted(ids(store, is_open=False)) == sorted(set(statuses) - set(tables.OPEN_STATUSES))
    assert len(ids(store)) == len(statuses)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("is_open", "index"), [(True, "ix_task_open_due"), (False, "ix_task_due_at_id"), (None, "ix_task_due_at_id")]
)
@pytest.mark.parametrize("after", [START, Position(due_at=rows.DUE_AT, task_id="x")])
def test_a_page_is_a_search_in_the_index_of_deadlines(
    engine: sa.Engine, is_open: bool | None, index: str, after: Position
) -> None:
    statement = page_statement(is_open=is_open, after=after, limit=100)
    compiled = statement.compile(engine, compile_kwargs={"literal_binds": True})
    with read_transaction(engine) as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
    assert any(step.startswith(f"SEARCH task USING INDEX {index} ((due_at,id)>") for step in plan), plan
    assert not [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step], plan


@pytest.mark.parametrize("tasks", [1, 40])
def test_the_number_of_statements_of_a_page_does_not_depend_on_its_rows(
    engine: sa.Engine, store: SqlWorklist, tasks: int
) -> None:
    for _ in range(tasks):
        insert(engine)
    with count_statements(engine) as statements:
        assert len(ids(store)) == tasks
    assert len([text for text in statements if text.startswith("SELECT")]) == 1


def test_a_story_has_messages_attempts_and_history_oldest_first(engine: sa.Engine, store: SqlWorklist) -> None:
    task_id = insert(engine)
    with write_transaction(engine) as connection:
        stay_id = connection.execute(sa.select(tables.task.c.stay_id)).scalar_one()
        first = rows.insert_fragment(connection, stay_id=stay_id)
        second = rows.insert_fragment(connection, stay_id=stay_id)
        elsewhere = rows.insert_fragment(connection, stay_id=rows.insert_stay(connection))
        later = rows.LEARNED_AT + timedelta(hours=1)
        rows.insert_event(connection, fragment_id=first, event_id="later", received_at=later)
        rows.insert_event(connection, fragment_id=second, event_id="early", sent_at=None)
        rows.insert_event(connection, fragment_id=elsewhere)
        rows.insert_event(connection)
    with store.begin() as unit:
        first_try = Attempt(actor="Ana", at=NOW, mode="phone", reached=None, outcome="voicemail", note="x")
        unit.add_attempt(task_id, replace(first_try, outcome="no-answer"), NOW)
        unit.add_attempt(task_id, replace(first_try, at=NOW - timedelta(hours=1)), NOW)
    story = store.story(task_id)
    assert story is not None
    assert [message.event_id for message in story.messages] == ["early", "later"]
    assert story.messages[0].sent_at is None
    assert [attempt.outcome for attempt in story.attempts] == ["voicemail", "no-answer"]
    assert story.history == ()
    assert store.story("nothing") is None


def test_of_a_storm_of_messages_the_newest_are_shown(engine: sa.Engine, store: SqlWorklist) -> None:
    task_id = insert(engine)
    with write_transaction(engine) as connection:
        stay_id = connection.execute(sa.select(tables.task.c.stay_id)).scalar_one()
        fragment_id = rows.insert_fragment(connection, stay_id=stay_id)
        for n in range(MESSAGES_MAX + 3):
            received_at = rows.LEARNED_AT + timedelta(seconds=n)
            rows.insert_event(connection, fragment_id=fragment_id, event_id=f"e{n:04d}", received_at=received_at)
    story = store.story(task_id)
    assert story is not None
    assert [message.event_id for message in story.messages] == [f"e{n:04d}" for n in range(3, MESSAGES_MAX + 3)]


def test_what_was_saved_is_read_back_with_its_history(engine: sa.Engine, store: SqlWorklist) -> None:
    task_id = insert(engine)
    with store.begin() as unit:
        row = unit.lock(task_id)
        assert row is not None
        after = _claimed(row.task)
        unit.save(row.task, after, actor="Ana", change="claimed", reason=None)
        assert unit.last_actor(task_id) == "Ana"
    story = store.story(task_id)
    assert story is not None
    assert story.row.task == after
    [entry] = story.history
    assert (entry.actor, entry.change, entry.at) == ("Ana", "claimed", NOW)
    assert entry.before == {"owner": None, "status": "requested"}
    assert entry.after == {"owner": "Ana", "status": "accepted"}


def test_a_task_that_is_no_longer_as_it_was_is_not_overwritten(engine: sa.Engine, store: SqlWorklist) -> None:
    task_id = insert(engine, version=2)

    def save_stale() -> None:
        with store.begin() as unit:
            row = unit.lock(task_id)
            assert row is not None
            unit.audit(AuditEntry(at=NOW, actor="Ana", action="x", entity="y", detail="{}"))
            stale = _claimed(row.task, version=1)
            unit.save(stale, _claimed(row.task), actor="Ana", change="claimed", reason=None)

    with pytest.raises(Transient, match="changed between"):
        save_stale()
    with read_transaction(engine) as connection:
        assert connection.execute(sa.select(tables.task.c.version)).scalar_one() == 2
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.task_history)).scalar_one() == 0
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.audit_event)).scalar_one() == 0


def test_an_unknown_task_cannot_be_locked_and_has_no_last_actor(store: SqlWorklist) -> None:
    with store.begin() as unit:
        assert unit.lock("nothing") is None
        assert unit.last_actor("nothing") is None


def _claimed(task: Task, version: int | None = None) -> Task:
    return replace(task, version=version or task.version + 1, status="accepted", owner="Ana", updated_at=NOW)
