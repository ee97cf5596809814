"""A simulated region in front of a real service: its panel and feeds, its messages, and what should come of them."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from services.followup.domain.stays import StayView
from services.followup.store import tables
from services.runtime.database import open_database, read_transaction
from services.simulator.comparison import OpenTask, compare_tasks
from services.simulator.simulation import Simulation, generate
from tests.system.service import Said, Service

_OBLIGATION = (
    "kind", "patient_id", "status", "status_reason_code", "priority", "due_on", "last_on", "due_at", "work_by", "zone",
    "rule", "owner", "attempt_count",
)  # fmt: skip


class Running(Protocol):
    """What runs on a database and a log, embedded or as production: `Service` or `Production`."""

    @property
    def database_address(self) -> str:
        """Address of the database."""

    def run(self, *words: object) -> Said:
        """Run another verb on its data."""

    def tasks(self) -> list[dict[str, Any]]:
        """Return the open tasks on the worklist."""

    def kept(self) -> list[bytes]:
        """Return the bytes of every message in the event log."""


def simulated(folder: Path, *, seed: int, patients: int) -> tuple[Simulation, Service]:
    """Return a simulation and a service, not started, that is set up for it."""
    simulation = generate(seed, now=datetime.now(UTC), patients=patients)
    return simulation, Service(folder, feeds=simulation.feeds_yaml)


def load_panel(simulation: Simulation, service: Running, folder: Path) -> None:
    """Load the panel of the simulation."""
    panel = folder / "panel.csv"
    panel.write_text(simulation.panel_csv, encoding="utf-8")
    loaded = service.run("panel", "import", panel)
    assert loaded.code == 0, loaded


def assert_tasks_are_the_expected_ones(simulation: Simulation, service: Running) -> None:
    """Compare the worklist with what the simulation's own script says."""
    found = [
        OpenTask(
            patient_id=task["patient"]["id"],
            kind=task["kind"],
            status=task["status"],
            facility_code=task["stay"]["facility"]["code"],
            discharged_on=task["stay"]["discharged_on"],
            priority=task["priority"],
        )
        for task in service.tasks()
    ]
    stories = {note.patient_id: note.story for note in simulation.notes if note.patient_id is not None}
    assert compare_tasks(simulation.expected, found, stories=stories) == ()


def assert_no_task_is_doubled(service: Running) -> None:
    """Look for two open tasks of one kind for one episode (promise P3)."""
    episode, kind = tables.task.c.episode_id, tables.task.c.kind
    doubled = (
        sa.select(episode, kind)
        .where(tables.task.c.status.in_(tables.OPEN_STATUSES))
        .group_by(episode, kind)
        .having(sa.func.count() > 1)
    )
    assert rows(service, doubled) == []


def assert_all_are_kept(service: Running, acknowledged: list[bytes]) -> None:
    """Look for every acknowledged message in the log, by its bytes and as often as it was acknowledged (P1)."""
    lost = Counter(acknowledged) - Counter(service.kept())
    assert not lost, f"{lost.total()} acknowledged messages are not in the log"


def standing(service: Running) -> tuple[list[str], list[str]]:
    """Return what must be the same in any order and on any engine (P7): the stays, and the open obligations.

    Without row ids, and without when a discharge was learned, which differs by when each of them was told.
    """
    stay, task = tables.stay.c, tables.task.c
    kept = sa.select(stay.view, stay.patient_id, stay.match_state, stay.follow_up, stay.follow_up_reason)
    stays = [
        str((replace(msgspec.json.decode(view, type=StayView), learned_at=None), *rest))
        for view, *rest in rows(service, kept.where(stay.status != "absorbed"))
    ]
    owed = sa.select(*(task[name] for name in _OBLIGATION)).where(task.status.in_(tables.OPEN_STATUSES))
    return sorted(stays), sorted(map(str, rows(service, owed)))


def rows(service: Running, statement: sa.Select[Any]) -> list[tuple[Any, ...]]:
    """Return rows of the database of a service."""
    engine = open_database(service.database_address)
    try:
        with read_transaction(engine) as connection:
            return [tuple(row) for row in connection.execute(statement)]
    finally:
        engine.dispose()
