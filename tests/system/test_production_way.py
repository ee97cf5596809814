"""The simulator's truth through production: MLLP, Kafka, two faust workers, PostgreSQL (promises P1 to P3 and P7).

Goal: the same seed at the same moment leaves the same stays and open obligations as the embedded run, although two
workers share the partitions, lines break, and every message is sent again in another order. Method: both are real
processes; each is given the simulation's panel and feeds; what stands in their databases is compared as a whole.
"""

import asyncio
import random
from collections import deque
from pathlib import Path

import pytest

from services.simulator.simulation import Simulation
from tests.support.kafka import Brokers
from tests.system.production import Production, fresh_log
from tests.system.senders import Load
from tests.system.simulated import (
    assert_all_are_kept,
    assert_no_task_is_doubled,
    assert_tasks_are_the_expected_ones,
    load_panel,
    simulated,
    standing,
)

pytestmark = pytest.mark.system

PATIENTS = 240
SEED = 7
AGAIN_SHARE = 0.3
"""Of the messages, sent a second time in any order by senders that saw no answer."""


def test_two_workers_on_kafka_and_postgresql_come_to_the_embedded_run_s_stays_and_tasks(
    tmp_path: Path, kafka: Brokers, postgres_url: str
) -> None:
    simulation, service = simulated(tmp_path / "embedded", seed=SEED, patients=PATIENTS)
    fresh_log(kafka.bootstrap)
    production = Production(
        tmp_path / "production", bootstrap=kafka.bootstrap, database=postgres_url, feeds=simulation.feeds_yaml
    )
    with service:
        load_panel(simulation, service, tmp_path)
        asyncio.run(Load(waiting=_told(simulation, random.Random(1))).run(service.mllp))
        service.settle()
        embedded = standing(service)
    load_panel(simulation, production, tmp_path)
    with production:
        load = Load(waiting=_told(simulation, random.Random(2)), breaks=random.Random(3))
        while load.waiting:
            asyncio.run(load.run(production.mllp))
        books = production.settle()
        assert_all_are_kept(production, load.acknowledged)
        assert_no_task_is_doubled(production)
        assert_tasks_are_the_expected_ones(simulation, production)
        assert standing(production) == embedded
        assert books.outcomes.no_effect["duplicate"] >= AGAIN_SHARE * len(simulation.messages) / 2
        assert all(_processed(worker.get("/metrics").text) for worker in production.workers), "one did nothing"
        assert production.complaints() == []
    assert [child.wait() for child in production.children()] == [0] * len(production.children())


def _told(simulation: Simulation, rng: random.Random) -> deque[bytes]:
    """Return the messages as hospitals send them, some again, and the second half in any order."""
    said = [message.payload for message in simulation.messages]
    again = rng.sample(said, round(AGAIN_SHARE * len(said)))
    late = said[len(said) // 2 :] + again
    rng.shuffle(late)
    return deque(said[: len(said) // 2] + late)


def _processed(metrics: str) -> bool:
    return any(line.startswith("afterstay_consumer_processed_total") for line in metrics.splitlines())
