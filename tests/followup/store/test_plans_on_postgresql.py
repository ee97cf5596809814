"""On PostgreSQL no statement of a batch, of the timers or of the worklist reads a table through.

Method: a database with some ten thousand of everything, which the server explains every statement of (auto_explain),
as it was really planned and run, prepared ones too. A plan that scans one of the tables that grow fails.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa

from services.followup.domain.attempts import Attempt
from services.followup.store.worklist import SqlWorklist, page_statement
from services.followup.usecases.worklist_cursor import START, Position
from services.ingest.feeds_file import read_feeds
from services.ingest.hl7.charset import resolve_charset
from services.runtime.database import read_transaction, write_transaction
from services.simulator.simulation import generate
from tests.support.household import Household

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
ROWS = 10_000
TURNS = 8
SIMULATION = generate(1, now=NOW, patients=25)
GROWING = (
    "source_patient", "fragment", "stay", "event", "task", "task_history", "task_attempt", "due", "patient",
    "patient_identifier", "panel_membership", "match_key", "visit_lock", "match_review", "dead_letter",
)  # fmt: skip
EXPLAINED = "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c client_min_messages=log"
FILL = (
    "DELETE FROM panel_rematch",
    """INSERT INTO panel_import (file_name, sha256, mode, row_count, imported_at, imported_by)
    VALUES ('f', '', 'merge', 1, now(), 'x')""",
    """INSERT INTO patient (id, family, given, birth_date, updated_at)
    SELECT 'x' || g, 'F' || g, 'G', date '1930-01-01' + g, now() FROM generate_series(1, :n) AS g""",
    """INSERT INTO patient_identifier (authority, value, type, patient_id)
    SELECT 'X', g::text, 'MR', 'x' || g FROM generate_series(1, :n) AS g""",
    """INSERT INTO panel_membership (patient_id, import_id, source_row)
    SELECT 'x' || g, (SELECT max(id) FROM panel_import), g FROM generate_series(1, :n) AS g""",
    """INSERT INTO match_key (key, patient_id)
    SELECT hashtextextended(g::text, k), 'x' || g FROM generate_series(1, :n) AS g, generate_series(1, 6) AS k""",
    "INSERT INTO source_patient (key) SELECT 'X|record|' || g FROM generate_series(1, :n) AS g",
    """INSERT INTO stay (id, source_patient_id, visit_authority, visit_number, status, view, patient_id, match_state,
        match, follow_up, outcome, outcome_reason, updated_at)
    SELECT 's' || id, id, 'X', 'N' || id, 'finished', '{}', 'x' || 1 + id % :n, 'linked', '{}', 'no-task', 'effect', '',
        now() FROM source_patient WHERE key LIKE 'X|%'""",
    """INSERT INTO fragment (key, source_patient_id, state, stay_id)
    SELECT key || '|v', id, '{}', 's' || id FROM source_patient WHERE key LIKE 'X|%'""",
    """INSERT INTO event (event_id, topic, partition, "offset", normalizer, kind, control_id, ack, received_at,
        applied_at, outcome, reason, fragment_id)
    SELECT 'e' || id, 'other', 0, id, 1, 'updated', 'c' || id, 'AA', now(), now(), 'effect', '', id FROM fragment""",
    """INSERT INTO task (id, version, episode_id, stay_id, patient_id, kind, status, priority, discharged_on, due_on,
        last_on, due_at, work_by, zone, protocol, rule, warnings, created_at, updated_at, attempt_count)
    SELECT 't' || id, 1, id, id, patient_id, 'contact',
        CASE WHEN source_patient_id % 10 = 0 THEN 'requested' ELSE 'completed' END, 'routine', current_date,
        current_date, current_date, now() + source_patient_id * interval '1 minute', current_date, 'UTC', 'p', 'r',
        '[]', now(), now(), 0 FROM stay""",
    """INSERT INTO task_history (task_id, at, actor, change, before, after)
    SELECT id, now(), 'protocol', 'opened', '{}', '{}' FROM task""",
    "INSERT INTO due (kind, stay_id, due_at) SELECT 'recheck', id, now() + interval '9 days' FROM stay",
    "INSERT INTO visit_lock (key) SELECT g FROM generate_series(1, :n) AS g",
    """INSERT INTO match_review (stay_id, kind, reason, evidence, status, created_at, closed_at)
    SELECT id, 'stay', 'r', '["", {}]', 'withdrawn', now(), now() FROM stay""",
    """INSERT INTO dead_letter (topic, partition, "offset", event_id, reason, text, at, resolved_at, resolution)
    SELECT 'other', 0, g, 'e' || g, 'r', '', now(), now(), 'replayed' FROM generate_series(1, :n) AS g""",
)


@pytest.fixture
def household(postgres_url: str, tmp_path: Path) -> Iterator[Household]:
    """A database with so many of everything, and the panel and the feeds of a simulation."""
    feeds = read_feeds(
        SIMULATION.feeds_yaml.encode(),
        file=Path("feeds.yaml"),
        is_charset=lambda label: resolve_charset(label) is not None,
    )
    url = f"{postgres_url}?options={quote(EXPLAINED)}"
    made = Household(tmp_path, now=NOW, url=url, panel_csv=SIMULATION.panel_csv, feeds=feeds)
    with write_transaction(made.engine) as connection:
        for statement in FILL:
            connection.execute(sa.text(statement), {"n": ROWS} if ":n" in statement else {})
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute("VACUUM ANALYZE")
    made.engine.dispose()
    yield made
    made.close()


def plans_of(engine: sa.Engine) -> list[str]:
    """Return a list that the plans of all statements of new connections are put into."""
    plans: list[str] = []

    def connected(driver: Any, _entry: object) -> None:
        driver.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))

    sa.event.listen(engine, "connect", connected)
    return plans


def scans(plans: list[str]) -> list[str]:
    """Return the plans that read a growing table through."""
    pattern = re.compile(rf"Seq Scan on ({'|'.join(GROWING)})\b")
    return [plan for plan in plans if pattern.search(plan)]


def test_a_batch_and_the_timers_search_by_index_alone(household: Household) -> None:
    plans = plans_of(household.engine)
    told = [(one.payload, NOW) for one in SIMULATION.messages]
    for turn in range(TURNS):  # often enough for plans that are made once for all values
        household.tell(told[turn::TURNS])
    household.clock.jump(timedelta(days=3))
    household.apply.wake()
    assert len(household.open_tasks()) > 0
    assert any("task_history" in plan for plan in plans)
    assert any("match_key" in plan for plan in plans)
    assert scans(plans) == []


def test_the_worklist_searches_by_index_alone(household: Household) -> None:
    plans = plans_of(household.engine)
    store = SqlWorklist(household.engine)
    with read_transaction(household.engine) as connection:
        for is_open in (True, False, None):
            for after in (START, Position(due_at=NOW + timedelta(hours=40), task_id="t5")):
                page = page_statement(is_open=is_open, after=after, limit=100)
                assert len(connection.execute(page).all()) == 100
    with store.begin() as unit:
        assert unit.last_actor("ts77") == "protocol"
        unit.add_attempt(
            "ts77", Attempt(actor="Ana", at=NOW, mode="phone", reached=None, outcome="voicemail", note=None), NOW
        )
    assert len(plans) >= 8
    assert scans(plans) == []


def test_the_guard_would_find_a_scan(household: Household) -> None:
    plans = plans_of(household.engine)
    with read_transaction(household.engine) as connection:
        connection.execute(sa.text("SELECT count(*) FROM event WHERE trigger = 'A08'"))
    assert len(scans(plans)) == 1
