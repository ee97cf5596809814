"""Whatever interrupts an import, the panel is the old one or the new one, and the next import puts all right.

Method: the import of a file that adds, changes and ends is stopped before each of its commits in turn, by an exception
and by `kill -9` of a process of its own. What is compared is what anybody can see: people with their memberships.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.followup.store import panel_loading, tables
from services.runtime.database import DATABASE_FILE, database_url, open_database, read_transaction
from tests.support.panel_files import ANA, BEN, CHI, import_panel, write_panel

Seen = list[tuple[object, ...]]

OLD = [
    {**ANA, "phone": "217-483-0142", "identifiers": "1001^^^MERCY^MR", "practice": "North"},
    {**BEN, "phone": "217-483-0190", "identifiers": "1002^^^MERCY^MR", "practice": "North"},
    {**CHI, "phone": "", "identifiers": "", "practice": "North"},
]
NEW = [
    {**ANA, "phone": "217-483-0999", "identifiers": "5001^^^LAKE^MR", "practice": "South"},
    {**BEN, "phone": "217-483-0190", "identifiers": "1002^^^MERCY^MR", "practice": "North"},
    *(
        {**CHI, "patient_id": f"new{n}", "phone": f"217-483-{1000 + n}", "identifiers": f"7{n}^^^MERCY^MR"}
        for n in range(40)
    ),
]
KILLS = 3


class StoppedError(Exception):
    """Stands for the end of the process."""


def visible(engine: sa.Engine) -> dict[str, Seen]:
    """Return the panel as anybody sees it, and what came with it."""
    member, person, number = tables.panel_membership.c, tables.patient.c, tables.patient_identifier.c
    on_panel = sa.select(member.patient_id)
    queries = {
        "people": sa.select(tables.patient).where(person.id.in_(on_panel)).order_by(person.id),
        "numbers": sa.select(tables.patient_identifier).where(number.patient_id.in_(on_panel)).order_by(number.value),
        "memberships": sa.select(tables.panel_membership).order_by(member.id),
        "imports": sa.select(tables.panel_import),
        "audit": sa.select(tables.audit_event),
    }
    with read_transaction(engine) as connection:
        return {name: [tuple(row) for row in connection.execute(query)] for name, query in queries.items()}


def hidden(engine: sa.Engine) -> dict[str, Seen]:
    """Return what only the machine sees: all patients, and the keys to find them by."""
    key = tables.match_key.c
    with read_transaction(engine) as connection:
        return {
            "patients": [tuple(row) for row in connection.execute(sa.select(tables.patient.c.id).order_by("id"))],
            "keys": [tuple(row) for row in connection.execute(sa.select(key.key, key.patient_id).order_by(key.key))],
        }


@pytest.fixture
def before(sqlite_engine: sa.Engine, tmp_path: Path) -> sa.Engine:
    """A database with the old panel."""
    import_panel(sqlite_engine, write_panel(tmp_path, *OLD))
    return sqlite_engine


@pytest.fixture
def new_file(tmp_path: Path) -> Path:
    return write_panel(tmp_path, *NEW)


@pytest.fixture
def small_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the import take many turns, for few people."""
    monkeypatch.setattr(panel_loading, "TURN_ROWS_FIRST", 40)
    monkeypatch.setattr(panel_loading, "TURN_ROWS_MAX", 40)


@pytest.fixture
def finished(before: sa.Engine, new_file: Path, tmp_path: Path) -> Iterator[tuple[dict[str, Seen], dict[str, Seen]]]:
    """What an undisturbed import leaves."""
    before.dispose()
    folder = tmp_path / "finished"
    folder.mkdir()
    shutil.copy(tmp_path / DATABASE_FILE, folder)
    engine = open_database(database_url(folder))
    assert import_panel(engine, new_file, mode="replace", drop_share_max=1).loaded
    yield visible(engine), hidden(engine)
    engine.dispose()


def stopped_at(engine: sa.Engine, file: Path, commit: int) -> bool:
    """Import, but stop before a commit; return whether the import came so far."""
    seen = 0

    def stop(_connection: sa.Connection) -> None:
        nonlocal seen
        seen += 1
        if seen == commit:
            raise StoppedError

    sa.event.listen(engine, "commit", stop)
    try:
        import_panel(engine, file, mode="replace", drop_share_max=1)
    except StoppedError:
        return True
    finally:
        sa.event.remove(engine, "commit", stop)
    return False


@pytest.mark.usefixtures("small_turns")
def test_an_import_stopped_before_any_commit_leaves_the_old_or_the_new_panel(
    before: sa.Engine, new_file: Path, tmp_path: Path, finished: tuple[dict[str, Seen], dict[str, Seen]]
) -> None:
    old, (new, keys) = visible(before), finished
    before.dispose()
    outcomes, commit = [], 0
    while True:
        commit += 1
        folder = tmp_path / f"stopped{commit}"
        folder.mkdir()
        shutil.copy(tmp_path / DATABASE_FILE, folder)
        engine = open_database(database_url(folder))
        stopped = stopped_at(engine, new_file, commit)
        after = visible(engine)
        assert after in (old, new)
        outcomes.append(after == new)
        import_panel(engine, new_file, mode="replace", drop_share_max=1)
        assert visible(engine) == new
        assert hidden(engine)["patients"] == keys["patients"]
        assert set(hidden(engine)["keys"]) >= set(keys["keys"])
        engine.dispose()
        if not stopped:
            break
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) > 10
    assert outcomes.count(True) >= 2


@pytest.mark.usefixtures("small_turns")
def test_while_an_import_runs_others_see_the_old_or_the_new_panel(before: sa.Engine, new_file: Path) -> None:
    other = open_database(str(before.url))
    old, seen = visible(other), []

    def look(_connection: sa.Connection) -> None:
        seen.append(visible(other))

    sa.event.listen(before, "begin", look)
    import_panel(before, new_file, mode="replace", drop_share_max=1)
    sa.event.remove(before, "begin", look)
    new = visible(other)
    other.dispose()
    assert old != new
    changes = [state == new for state in seen]
    assert all(state in (old, new) for state in seen)
    assert changes == sorted(changes)
    assert True in changes  # the last turns clear away behind the new panel
    assert False in changes


def test_an_import_killed_at_any_moment_leaves_the_old_or_the_new_panel(before: sa.Engine, tmp_path: Path) -> None:
    rng = random.Random(20261124)
    rows = [{**CHI, "patient_id": f"kill{n}", "phone": f"217-483-{1000 + n}"} for n in range(1500)]
    file = write_panel(tmp_path, *OLD, *rows)
    old = visible(before)
    before.dispose()
    commits = _commits_of(_start(_copy(tmp_path, "whole"), file), kill_after=None)
    for _ in range(KILLS):
        kill_after = rng.randint(1, commits)
        folder = _copy(tmp_path, f"killed{kill_after}-{rng.random()}")
        _commits_of(_start(folder, file), kill_after=kill_after)
        engine = open_database(database_url(folder))
        with read_transaction(engine) as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        after = visible(engine)
        assert after == old or len(after["people"]) == len(after["memberships"]) == 1503
        import_panel(engine, file)
        assert len(visible(engine)["people"]) == len(hidden(engine)["patients"]) == 1503
        engine.dispose()


def _copy(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(tmp_path / DATABASE_FILE, folder)
    return folder


def _start(folder: Path, file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.panel_import_process", str(folder), str(file)]
    root = Path(__file__).parents[3]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


def _commits_of(process: subprocess.Popen[str], *, kill_after: int | None) -> int:
    """Return how many commits the process announced; kill it as soon as it has announced so many."""
    commits = 0
    with process:
        assert process.stdout is not None
        for _ in process.stdout:
            commits += 1
            if commits == kill_after:
                process.kill()
        assert process.wait() == 0 or kill_after is not None
    return commits
