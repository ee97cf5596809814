"""Units of work that run beside each other on PostgreSQL end as the same work done one after the other on SQLite.

Goal: concurrent workers on the same people corrupt nothing, double nothing and do not stop each other for good.
Method: a simulated stream, a quarter of it twice, is dealt out to workers with engines of their own, each in an order
of its own and in small batches, so that they meet on every person. Beside them timers are woken, the panel is loaded
and somebody claims and tries tasks. No exception may leave any of them. What stands afterwards is compared with one
worker's telling.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

import msgspec
import pytest
import sqlalchemy as sa

from schemas.topics import ADT_EVENTS
from services.followup.composition import rules_in_force
from services.followup.store import tables
from services.followup.store.unit_of_work import units_of
from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.follow_up import FollowUp
from services.followup.usecases.worklist import AttemptMade, Worklist
from services.followup.usecases.worklist_items import WorklistItem
from services.ingest.feeds_file import read_feeds
from services.ingest.hl7.charset import resolve_charset
from services.runtime.clock import FixedClock
from services.runtime.database import open_database
from services.runtime.eventlog.port import Record
from services.simulator.simulation import Simulation, generate
from tests.support.adt import adt
from tests.support.household import PANEL, Household

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
PATIENTS = 20
WORKERS = 4
BATCH = 9
SEEDS = [1, 2]
ROUNDS = 8
NOBODY_OF_THESE = PANEL.replace("P1,Rivera,Ana,1952-03-14", "P0,Nobody,Nemo,1901-01-02").replace("1001^", "999999^")


@contextmanager
def worker(url: str) -> Iterator[ApplyEvents]:
    """Give a use case with an engine of its own."""
    engine = open_database(url)
    follow_up = FollowUp(rules_in_force(frozenset()), lambda: str(uuid4()))
    try:
        yield ApplyEvents(units_of(engine), follow_up, FixedClock(NOW), group="test")
    finally:
        engine.dispose()


def messages_of(simulation: Simulation, random: Random) -> list[tuple[bytes, datetime]]:
    """Return the messages with their receipts, and a quarter of them once more."""
    first = NOW - timedelta(seconds=len(simulation.messages))
    told = [(one.payload, first + timedelta(seconds=at)) for at, one in enumerate(simulation.messages)]
    return [*told, *random.choices(told, k=len(told) // 4)]


def reset(household: Household, simulation: Simulation, panel_csv: str) -> None:
    feeds = read_feeds(
        simulation.feeds_yaml.encode(),
        file=Path("feeds.yaml"),
        is_charset=lambda label: resolve_charset(label) is not None,
    )
    household.reset(NOW, feeds=feeds, panel_csv=panel_csv)


def dealt(records: list[Record], random: Random) -> list[list[Record]]:
    """Deal records out to as many partitions as there are workers, each in an order of its own."""
    hands: list[list[Record]] = [[] for _ in range(WORKERS)]
    for record in random.sample(records, len(records)):
        hand = random.randrange(WORKERS)
        place = {"partition": hand, "offset": len(hands[hand])}
        hands[hand].append(msgspec.structs.replace(record, **place))
    return hands


def consume(url: str, records: list[Record]) -> None:
    with worker(url) as apply:
        for start in range(0, len(records), BATCH):
            apply.handle(ADT_EVENTS, records[start : start + BATCH])


def wake_until(url: str, done: threading.Event) -> None:
    with worker(url) as apply:
        while not done.is_set():
            apply.wake(limit=7)


def work_until(url: str, done: threading.Event, random: Random) -> int:
    """Claim and try tasks as they appear; return how many attempts were taken down."""
    engine = open_database(url)
    worklist = Worklist(SqlWorklist(engine), lambda: NOW)
    is_open = tables.task.c.status.in_(tables.OPEN_STATUSES)
    attempts = 0
    while not done.is_set():
        with engine.connect() as connection:
            rows = connection.execute(sa.select(tables.task.c.id, tables.task.c.version).where(is_open)).all()
        for task_id, version in random.sample(list(rows), min(3, len(rows))):
            claimed = worklist.claim(task_id, version, actor="Kim Lee")
            if isinstance(claimed, WorklistItem):
                made = AttemptMade(mode="phone", reached=None, outcome="voicemail")
                tried = worklist.attempt(task_id, claimed.version, made, actor="Kim Lee")
                attempts += isinstance(tried, WorklistItem)
    engine.dispose()
    return attempts


def race(url: str, hands: list[list[Record]], *others: Callable[[threading.Event], object]) -> list[object]:
    """Let workers consume at once, with others beside them until they are done; return what the others came to."""
    done = threading.Event()
    with ThreadPoolExecutor(len(hands) + len(others)) as pool:
        beside = [pool.submit(other, done) for other in others]
        workers = [pool.submit(consume, url, hand) for hand in hands]
        try:
            for one in workers:
                one.result()
        finally:
            done.set()
        return [one.result() for one in beside]


def settle_down(household: Household) -> None:
    """Wake until nothing is due any more."""
    while household.apply.wake() or household.apply.wake():
        pass


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Household]:
    folder = tmp_path / "alone"
    folder.mkdir()
    made = Household(folder, now=NOW)
    yield made
    made.close()


@pytest.fixture
def together(tmp_path: Path, empty_postgres: str) -> Iterator[Household]:
    made = Household(tmp_path, now=NOW, url=empty_postgres)
    yield made
    made.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_that_race_over_the_same_people_end_as_one_alone(
    alone: Household, together: Household, empty_postgres: str, seed: int
) -> None:
    random, simulation = Random(seed), generate(seed, now=NOW, patients=PATIENTS)
    messages = messages_of(simulation, random)
    reset(alone, simulation, simulation.panel_csv)
    alone.tell(messages)
    reset(together, simulation, NOBODY_OF_THESE)
    hands = dealt(together.records(messages), random)

    def load_panel(_done: threading.Event) -> None:
        together.load_panel(simulation.panel_csv)

    race(empty_postgres, hands, lambda done: wake_until(empty_postgres, done), load_panel)
    settle_down(together)

    assert together.standing() == alone.standing()
    assert together.books() == alone.books()
    assert together.apply.positions(ADT_EVENTS) == {at: len(hand) for at, hand in enumerate(hands) if hand}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_people_do_beside_racing_workers_is_kept(
    alone: Household, together: Household, empty_postgres: str, seed: int
) -> None:
    random, simulation = Random(seed), generate(seed, now=NOW, patients=PATIENTS)
    messages = messages_of(simulation, random)
    reset(alone, simulation, simulation.panel_csv)
    alone.tell(messages)
    reset(together, simulation, simulation.panel_csv)
    hands = dealt(together.records(messages), random)

    (_, attempts) = race(
        empty_postgres,
        hands,
        lambda done: wake_until(empty_postgres, done),
        lambda done: work_until(empty_postgres, done, Random(seed)),
    )
    settle_down(together)

    assert _without_people(together) == _without_people(alone)
    assert attempts == together.attempts() > 0
    with together.engine.connect() as connection:
        counted = connection.execute(sa.select(sa.func.sum(tables.task.c.attempt_count))).scalar_one()
    assert counted == attempts, "no attempt was overwritten on its task"


def _without_people(household: Household) -> list[str]:
    """Return the open obligations by what rules made of them: kind, patient and dates."""
    return sorted(
        f"{row.kind} {row.patient_id} {row.due_on} {row.last_on} {row.rule}" for row in household.open_tasks()
    )


def discharge(mrn: str, name: str) -> bytes:
    """Return a discharge of somebody under the visit number that both have."""
    return adt(
        "A03",
        sent="20261123140500",
        control_id=f"M{mrn}",
        admitted="202611210800",
        discharged="202611231400",
        disposition="01",
        mrn=f"{mrn}^^^MERCY^MR",
        name=name,
    )


def test_two_patients_under_one_visit_number_at_once_see_each_other(
    alone: Household, together: Household, empty_postgres: str
) -> None:
    """Each unit is the first to bring the number to its patient; whoever is second must see the first."""
    told = [(discharge("1001", "RIVERA^ANA"), NOW), (discharge("7002", "BROOK^IVAN"), NOW)]
    alone.tell(told)
    expected = alone.standing()
    assert alone.reviews() == ["visit-number-shared"]
    for _ in range(ROUNDS):
        together.reset(NOW)
        hands = [
            [msgspec.structs.replace(record, partition=at, offset=0)]
            for at, record in enumerate(together.records(told))
        ]
        start = threading.Barrier(len(hands))

        def consume_together(hand: list[Record], start: threading.Barrier = start) -> None:
            with worker(empty_postgres) as apply:
                apply.positions(ADT_EVENTS)  # connects
                start.wait()
                apply.handle(ADT_EVENTS, hand)

        with ThreadPoolExecutor(len(hands)) as pool:
            list(pool.map(consume_together, hands))
        assert together.standing() == expected
