"""A simulated region in front of a real service: its panel and feeds, its messages, and what should come of them."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from services.followup.store import tables
from services.runtime.database import database_url, open_database, read_transaction
from services.simulator.comparison import OpenTask, compare_tasks
from services.simulator.simulation import Simulation, generate
from tests.system.service import Service


def simulated(folder: Path, *, seed: int, patients: int) -> tuple[Simulation, Service]:
    """Return a simulation and a service, not started, that is set up for it."""
    simulation = generate(seed, now=datetime.now(UTC), patients=patients)
    return simulation, Service(folder, feeds=simulation.feeds_yaml)


def load_panel(simulation: Simulation, service: Service, folder: Path) -> None:
    """Load the panel of the simulation."""
    panel = folder / "panel.csv"
    panel.write_text(simulation.panel_csv, encoding="utf-8")
    loaded = service.run("panel", "import", panel)
    assert loaded.code == 0, loaded


def assert_tasks_are_the_expected_ones(simulation: Simulation, service: Service) -> None:
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


def assert_no_task_is_doubled(service: Service) -> None:
    """Look for two open tasks of one kind for one episode (promise P3)."""
    episode, kind = tables.task.c.episode_id, tables.task.c.kind
    doubled = (
        sa.select(episode, kind)
        .where(tables.task.c.status.in_(tables.OPEN_STATUSES))
        .group_by(episode, kind)
        .having(sa.func.count() > 1)
    )
    assert rows(service, doubled) == []


def assert_all_are_kept(service: Service, acknowledged: list[bytes]) -> None:
    """Look for every acknowledged message in the log, by its bytes and as often as it was acknowledged (P1)."""
    lost = Counter(acknowledged) - Counter(service.kept())
    assert not lost, f"{lost.total()} acknowledged messages are not in the log"


def rows(service: Service, statement: sa.Select[*tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return rows of the database of a service."""
    engine = open_database(database_url(service.data))
    try:
        with read_transaction(engine) as connection:
            return [tuple(row) for row in connection.execute(statement)]
    finally:
        engine.dispose()
