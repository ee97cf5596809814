"""The search for candidates on a real database: complete, in a fixed handful of statements, by index alone."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from services.followup.domain.demographics import ComparableDemographics, RawDemographics
from services.followup.domain.identity import Linked, MatchResult, PanelPerson, Uncertain, match
from services.followup.domain.match_keys import match_keys
from services.followup.store import candidates, tables
from services.followup.store.candidates import SqlCandidateFinder
from services.followup.store.panel import SqlPanelImports
from services.followup.store.panel_staging import SqlStaging
from services.runtime.database import begin, read_transaction, write_transaction
from services.runtime.errors import Transient
from tests.support.panel_files import ANA, BEN, import_panel, write_panel
from tests.support.panel_people import mr, name, person

STATEMENTS_MAX = 8
PANEL_TABLES = ("patient", "patient_identifier", "panel_membership", "match_key")


def crowd(size: int, seed: int = 1) -> list[dict[str, str]]:
    """Return people of few names, birth dates, homes and numbers, so that many are alike; nobody is a placeholder."""
    rng = random.Random(seed)
    return [
        {
            "patient_id": f"p{n:04}",
            "family": rng.choice(["Rivera", "Okafor", "Ng", "Smith-Jones"]),
            "given": rng.choice(["Ana", "Ben", "Chi", "Dee Ann"]),
            "birth_date": f"19{rng.randint(50, 53)}-03-14",
            "suffix": rng.choice(["", "", "JR"]),
            "sex": rng.choice("FM"),
            "phone": f"217-483-01{rng.randint(10, 60)}",
            "street": f"{rng.randint(1, 40)} Oak St",
            "zip": "62701",
            "ssn4": f"48{rng.randint(10, 60)}",
            "identifiers": f"{rng.randint(1, size * 2)}^^^MERCY^MR" if rng.random() < 0.7 else "",
        }
        for n in range(size)
    ]


def told(row: dict[str, str]) -> ComparableDemographics:
    """Return a row as a message would tell of the person."""
    number = row["identifiers"].partition("^")[0]
    return person(
        RawDemographics(),
        names=name(row["family"], row["given"], row["suffix"]),
        birth_date=date.fromisoformat(row["birth_date"]),
        sex=row["sex"],
        phones=(row["phone"],),
        addresses=(),
        ssn=row["ssn4"],
        identifiers=(mr(number),) if number else (),
    )


def load(engine: sa.Engine, folder: Path, rows: Sequence[dict[str, str]]) -> None:
    assert import_panel(engine, write_panel(folder, *rows)).loaded


def find(engine: sa.Engine, *people: ComparableDemographics) -> list[list[PanelPerson]]:
    with read_transaction(engine) as connection:
        return SqlCandidateFinder(connection).find_candidates(people)


def ids(found: list[list[PanelPerson]]) -> list[list[str]]:
    return [[one.patient_id for one in candidates] for candidates in found]


def gist(result: MatchResult) -> tuple[object, ...]:
    """Return what a result says, without whom a reviewer is shown."""
    if isinstance(result, Linked):
        return result.patient_id, result.rule, result.agreements
    return type(result).__name__, result.reason


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """Note the statements that are executed, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            seen.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def whole(engine: sa.Engine, tmp_path: Path) -> list[PanelPerson]:
    """A panel of people who are much alike; returned as a whole."""
    load(engine, tmp_path, crowd(300))
    with read_transaction(engine) as connection:
        everybody = SqlCandidateFinder(connection)._read({f"p{n:04}" for n in range(300)})
        return list(everybody.values())


def test_what_is_found_decides_as_the_whole_panel_would(engine: sa.Engine, whole: list[PanelPerson]) -> None:
    people = [told(row) for row in (*crowd(300, seed=1)[:60], *crowd(60, seed=2))]
    results = [match(one, found) for one, found in zip(people, find(engine, *people), strict=True)]
    assert [gist(one) for one in results] == [gist(match(one, whole)) for one in people]
    assert len({gist(one)[:2] for one in results if not isinstance(one, Linked)}) >= 4
    assert sum(isinstance(one, Linked) for one in results) > 20


def test_a_number_in_common_ends_the_search(engine: sa.Engine, tmp_path: Path) -> None:
    alike = {**ANA, "phone": "217-483-0142"}
    numbered = {**alike, "identifiers": "1001^^^MERCY^MR"}
    load(engine, tmp_path, [numbered, {**alike, "patient_id": "twin", "identifiers": ""}])
    ana = {"names": name("Rivera", "Ana"), "birth_date": date(1952, 3, 14), "phones": ("217-483-0142",)}

    by_number = person(RawDemographics(), **ana, identifiers=(mr("1001"),))
    without = person(RawDemographics(), **ana)
    other_number = person(RawDemographics(), **ana, identifiers=(mr("7"),))

    assert ids(find(engine, by_number, without, other_number)) == [["ana"], ["ana", "twin"], ["ana", "twin"]]
    assert find(engine) == []
    assert find(engine, person(RawDemographics())) == [[]]


def test_who_has_no_membership_is_not_there(engine: sa.Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, [{**ANA, "identifiers": "1001^^^MERCY^MR"}])
    ana = person(RawDemographics(), names=name("Rivera", "Ana"), identifiers=(mr("1001"),))
    (found,) = find(engine, ana)
    assert len(found[0].memberships) == 1
    with write_transaction(engine) as connection:
        connection.execute(sa.delete(tables.panel_membership))
    assert find(engine, ana) == [[]]


def test_a_key_that_outlived_its_patient_links_nobody(engine: sa.Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, [{**ANA, "identifiers": "1001^^^MERCY^MR"}, {**BEN, "phone": "217-483-0142"}])
    stale = person(RawDemographics(), names=name("Okafor", "Ben"), birth_date=date(1960, 7, 1), identifiers=(mr("7"),))
    with write_transaction(engine) as connection:
        keys = [{"key": key, "patient_id": "ana"} for key in sorted(match_keys(stale))]
        connection.execute(sa.insert(tables.match_key), keys)
    (found,) = find(engine, stale)
    assert [one.patient_id for one in found] == ["ana", "ben"]  # by demographics: the stale number is no hit
    result = match(stale, found)
    assert isinstance(result, Uncertain)
    assert [one.patient_id for one in result.candidates] == ["ben"]


def test_a_block_too_large_is_cut_and_counted(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "BLOCK_PATIENTS_MAX", 3)
    load(engine, tmp_path, [{**ANA, "patient_id": f"p{n}", "identifiers": "1001^^^MERCY^MR"} for n in range(5)])
    with read_transaction(engine) as connection:
        finder = SqlCandidateFinder(connection)
        (found,) = finder.find_candidates([person(RawDemographics(), identifiers=(mr("1001"),))])
        assert [one.patient_id for one in found] == ["p0", "p1", "p2"]
        assert finder.oversized_blocks == 1
        assert isinstance(match(person(RawDemographics(), identifiers=(mr("1001"),)), found), Uncertain)


def test_a_batch_of_any_size_costs_the_same_few_statements(engine: sa.Engine, whole: list[PanelPerson]) -> None:
    people = [told(row) for row in (*crowd(300), *crowd(200, seed=3))]
    assert len(whole) == 300
    spent = []
    for size in (20, 500):
        with statements(engine) as seen:
            find(engine, *people[:size])
        spent.append(len(seen))
    assert spent[0] == spent[1] <= STATEMENTS_MAX


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_search_never_scans_the_panel(engine: sa.Engine, whole: list[PanelPerson]) -> None:
    assert len(whole) == 300
    with statements(engine) as seen:
        find(engine, *(told(row) for row in crowd(500, seed=4)))
    assert len(seen) >= 5
    with read_transaction(engine) as connection:
        for statement, parameters in seen:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            assert any("SEARCH" in step for step in plan), statement
            assert [step for step in plan if step.startswith("SCAN") and "SCAN wanted VIRTUAL" not in step] == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_publishing_of_an_import_never_scans_the_panel(engine: sa.Engine, whole: list[PanelPerson]) -> None:
    """What runs under the write lock for longer than a turn must cost what the file changes, not what the panel has."""
    assert len(whole) == 300
    with SqlPanelImports(engine).staging() as staging:
        assert isinstance(staging, SqlStaging)
        plans = list(_publishing_plans(staging))
    assert len(plans) >= 5
    for statement, plan in plans:
        scanned = [
            step for step in plan if step.startswith("SCAN") and any(f" {name}" in step for name in PANEL_TABLES)
        ]
        assert scanned == [], statement


def _publishing_plans(staging: SqlStaging) -> Iterator[tuple[str, list[str]]]:
    from services.followup.store import panel_loading as loading

    connection = staging._connection
    loading._derive(connection)
    parameters = {"import_id": 1, "at_us": 1, "today": "2026-11-24", "yesterday": "2026-11-23"}
    with begin(connection, "private"):
        for statement in (
            loading._CHANGE_PATIENTS,
            *loading._CHANGE_IDENTIFIERS,
            loading._ADD_MEMBERSHIPS,
            loading._change_memberships(("effective_to", "pcp")),
            loading._END_MEMBERSHIPS,
        ):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            yield statement, [row[3] for row in rows]


def test_one_import_runs_at_a_time(engine: sa.Engine, tmp_path: Path) -> None:
    imports = SqlPanelImports(engine)
    with imports.staging():
        with pytest.raises(Transient, match="another panel import is running") as error, imports.staging():
            pass
        assert error.value.code == "panel-import-running"
    load(engine, tmp_path, [ANA])
