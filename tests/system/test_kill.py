"""Promises P1 to P3 under `kill -9` (faults F01 to F04).

Goal: whatever the moment, each acknowledged message is in the log after the restart, and no task is doubled.
Method: the messages of a simulated region are sent over several connections with a window of them unanswered. At a
seeded number of answers, plus a seeded part of a commit, the listener is killed; before that, in half of the rounds,
its worker. The next round sends again what nobody answered. In the end the tasks are those that the simulation's own
script expects. The rounds share a data folder, so each recovers from what all before it have left.
"""

import asyncio
import random
from collections import deque
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from services.followup.store import tables
from services.simulator.simulation import Simulation
from tests.system.senders import Load
from tests.system.service import Service
from tests.system.simulated import (
    assert_all_are_kept,
    assert_no_task_is_doubled,
    assert_tasks_are_the_expected_ones,
    load_panel,
    rows,
    simulated,
)

pytestmark = pytest.mark.system

ROUNDS = 10
PATIENTS = 240
COMMIT_S = 0.004
"""How long a group commit takes at most, on an ordinary disk: the kill falls anywhere in it."""


def test_what_was_acknowledged_survives_ten_kills_and_becomes_the_expected_tasks(tmp_path: Path) -> None:
    _campaign(tmp_path, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_what_was_acknowledged_survives_a_hundred_kills(tmp_path: Path, seed: int) -> None:
    _campaign(tmp_path, seed=seed)


def _campaign(folder: Path, *, seed: int) -> None:
    simulation, service = simulated(folder, seed=seed, patients=PATIENTS)
    moments = random.Random(f"{seed}/moments")
    load = Load(waiting=deque(message.payload for message in simulation.messages))
    with service:
        load_panel(simulation, service, folder)
        for left in range(ROUNDS, 0, -1):
            share = len(load.waiting) // (left + 1)
            killed_at = len(load.acknowledged) + moments.randrange(max(1, share))
            asyncio.run(_send_until_killed(service, load, killed_at, moments))
            assert load.waiting, "the kill came too late to matter"
            assert_all_are_kept(service, load.acknowledged)
            assert_no_task_is_doubled(service)
            books = service.books()
            assert books.balanced, (seed, left, books.problems)
            service.start()
        load.on_answer = lambda _count: None
        asyncio.run(load.run(service.mllp))
        _assert_nothing_is_missing(simulation, service, load)


async def _send_until_killed(service: Service, load: Load, killed_at: int, moments: random.Random) -> None:
    loop = asyncio.get_running_loop()
    delay_s = moments.uniform(0, COMMIT_S)
    worker = service.worker() if moments.random() < 0.5 else None
    worker_killed_at = moments.randint(len(load.acknowledged), killed_at)

    def count(answers: int) -> None:
        if answers == worker_killed_at and worker is not None:
            worker.kill()
        if answers == killed_at:
            loop.call_later(delay_s, psutil.Process(service.pid).kill)

    load.on_answer = count
    if killed_at == len(load.acknowledged):  # before the first answer
        count(killed_at)
    await load.run(service.mllp)
    assert service.wait() == -9


def _assert_nothing_is_missing(simulation: Simulation, service: Service, load: Load) -> None:
    assert not load.waiting
    assert len(load.acknowledged) == len(simulation.messages)
    books = service.settle(within_s=60)
    assert_all_are_kept(service, load.acknowledged)
    assert_no_task_is_doubled(service)
    assert_tasks_are_the_expected_ones(simulation, service)
    assert books.received == len(service.records())
    assert books.outcomes.dead_letter == simulation.expected_dead_letters
    assert {entry["event"] for entry in service.complaints()} <= {"worker_ended"}
    applied = {event_id for (event_id,) in rows(service, sa.select(tables.event.c.event_id))}
    assert applied == {event.event_id for event in service.events()}
    status = service.status()
    outcomes = status["outcomes"]
    ended = outcomes["effect"] + sum(outcomes["no_effect"].values()) + outcomes["review"] + outcomes["dead_letter"]
    assert (status["pending"], ended) == (0, status["received"])
