"""Production under load while its parts are killed, frozen and restarted (promises P1 to P3 and P9; faults F03, F04,
F17, F22, F23, F27, F42).

Goal: nothing that was acknowledged is lost, nothing is done twice, and everything goes on without a person. Method: one
running system, to which a simulated region sends steadily. Each fault strikes while messages are in flight; then the
test waits until everything that was received before it is applied, says how long that took, and looks whether the books
balance and no task is doubled. In the end all acknowledged bytes are in the log and the tasks are those that the
simulation's own script expects. `PRINT` shows the times.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from schemas.topics import ADT_EVENTS
from services.followup.store.migrate import migrate
from services.followup.store.tables import stream_position
from services.runtime.database import open_database
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.simulator.simulation import Simulation, generate
from tests.support.kafka import Brokers
from tests.support.postgres import PostgresServer
from tests.system.production import PARTITIONS, Child, Production, fresh_log
from tests.system.service import DRAIN_WITHIN_S, until
from tests.system.simulated import (
    assert_all_are_kept,
    assert_no_task_is_doubled,
    assert_tasks_are_the_expected_ones,
    load_panel,
)
from tests.system.steady import SteadyLoad

pytestmark = pytest.mark.system

SEED: Final = 11
PATIENTS: Final = 1_000
PER_SECOND: Final = 200.0  # faults.md §4: at least so many, from five hospitals
CONNECTIONS: Final = 20  # four from each hospital
KILLS_OF_ONE, KILLS_OF_BOTH = 4, 8
"""Rounds: twenty kills, each at a seeded moment of its own; a killed worker is missed for a session of 6 s."""
RECOVERS_WITHIN_S: Final = 120.0
ZOMBIE_S: Final = 8.0
"""Past the session time-out of 6 s: the others have its partitions by then."""
DATABASE_AWAY_S: Final = 4.0
BROKER_AWAY_S: Final = 5.0
BROKER_FROZEN_S: Final = 15.0
"""Past every time-out of a client; half a minute is what the listener's own campaign freezes it for."""
BATCH_S: Final = 0.05
"""About how long a batch takes: the kill falls anywhere in it."""


@dataclass(repr=False)  # it holds thousands of messages
class Site:
    """Everything that runs, and how long each recovery took."""

    production: Production
    brokers: Brokers
    server: PostgresServer
    database: str
    load: SteadyLoad
    simulation: Simulation
    times: dict[str, list[float]] = field(default_factory=dict)

    def reached(self) -> dict[int, int]:
        """Return the positions that the database has."""
        engine = open_database(self.database)
        try:
            with engine.connect() as connection:
                place = stream_position.c
                rows = connection.execute(sa.select(place.partition, place.next_offset))
                return {row.partition: row.next_offset for row in rows}
        finally:
            engine.dispose()

    def ends(self) -> dict[int, int]:
        """Return where the log ends."""
        return asyncio.run(self._ends())

    async def _ends(self) -> dict[int, int]:
        log = await KafkaSubscriber.open(KafkaConnection(bootstrap=self.brokers.bootstrap), client_id="test")
        try:
            return await log.end_offsets(ADT_EVENTS)
        finally:
            await log.close()

    def in_flight(self) -> int:
        """Return how many records wait to be applied just now."""
        reached = self.reached()
        return sum(end - reached.get(partition, 0) for partition, end in self.ends().items())

    def strike(self, fault: Callable[[], object], moments: random.Random) -> dict[int, int]:
        """Let something happen while messages are in flight; return where the log ended just before."""
        until(lambda: self.in_flight())  # noqa: PLW0108 - says no more than that when it fails
        ends = self.ends()
        time.sleep(moments.uniform(0, BATCH_S))
        fault()
        return ends

    def recovers(self, name: str, since: float, ends: dict[int, int]) -> None:
        """Wait until everything before `ends` is applied, and look at the books."""
        until(lambda: self._is_past(ends), RECOVERS_WITHIN_S)
        self.times.setdefault(name, []).append(time.monotonic() - since)
        books = self.production.books()
        assert books.balanced, (name, books.problems)
        assert_no_task_is_doubled(self.production)

    def _is_past(self, ends: dict[int, int]) -> bool:
        try:
            reached = self.reached()
        except (AfterstayError, sa.exc.DBAPIError):
            return False
        return all(reached.get(partition, 0) >= end for partition, end in ends.items())

    def table(self) -> str:
        """Return the times as the documents show them."""
        lines = ["| fault | times | median s | worst s |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {len(taken)} | {statistics.median(taken):.1f} | {max(taken):.1f} |"
            for name, taken in self.times.items()
        ]
        return "\n".join(lines)


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    """Run production on servers of its own, with a region that sends to it."""
    simulation = generate(SEED, now=datetime.now(UTC), patients=PATIENTS)
    load = SteadyLoad(
        (message.payload for message in simulation.messages), connections=CONNECTIONS, per_second=PER_SECOND
    )
    with Brokers(folder / "kafka") as brokers, PostgresServer() as server:
        database = server.create("production")
        engine = open_database(database)
        migrate(engine)
        engine.dispose()
        fresh_log(brokers.bootstrap)
        production = Production(
            folder / "production", bootstrap=brokers.bootstrap, database=database, feeds=simulation.feeds_yaml
        )
        load_panel(simulation, production, folder)
        with production, load.to(production.mllp):
            yield Site(
                production=production,
                brokers=brokers,
                server=server,
                database=database,
                load=load,
                simulation=simulation,
            )


def test_nothing_acknowledged_is_lost_and_nothing_is_doubled_whatever_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        began, sent = time.monotonic(), len(site.load.acknowledged)
        for seed in range(KILLS_OF_ONE):
            kill_a_worker(site, random.Random(f"{SEED}/one/{seed}"))
        for seed in range(KILLS_OF_BOTH):
            kill_both_workers(site, [random.Random(f"{SEED}/both/{seed}/{number}") for number in range(2)])
        let_a_worker_join_and_leave(site, random.Random(f"{SEED}/join"))
        freeze_a_worker(site, random.Random(f"{SEED}/freeze"))
        crash_the_database(site, random.Random(f"{SEED}/database"))
        restart_the_broker(site, random.Random(f"{SEED}/broker"))
        freeze_the_broker(site, random.Random(f"{SEED}/frozen"))
        rate = (len(site.load.acknowledged) - sent) / (time.monotonic() - began)
        site.load.finish()
        books = site.production.settle()
        print(f"\n{rate:.0f} messages a second acknowledged meanwhile, {books.received} in all\n{site.table()}")  # noqa: T201 - what the test measured
        assert_all_are_kept(site.production, site.load.acknowledged)
        assert_no_task_is_doubled(site.production)
        assert_tasks_are_the_expected_ones(site.simulation, site.production)
        assert not [line for line in site.production.complaints() if line["event"] == "record_buried"]


def kill_a_worker(site: Site, moments: random.Random) -> None:
    """Kill one of the two, as the kernel does when memory is short; the service manager starts it again at once."""
    victim = moments.choice(site.production.workers)
    until(lambda: partitions_of(victim), RECOVERS_WITHIN_S)
    ends = site.strike(victim.kill, moments)
    since = time.monotonic()
    victim.launch()
    site.recovers("one of two workers is killed", since, ends)


def kill_both_workers(site: Site, moments: Sequence[random.Random]) -> None:
    """Kill the two, each while it works, so that nobody takes over before they are started again."""
    for victim in site.production.workers:
        until(partial(partitions_of, victim), RECOVERS_WITHIN_S)
    for victim, own in zip(site.production.workers, moments, strict=True):
        ends = site.strike(victim.kill, own)
    since = time.monotonic()
    for victim in site.production.workers:
        victim.launch()
    site.recovers("both workers are killed", since, ends)


def let_a_worker_join_and_leave(site: Site, moments: random.Random) -> None:
    """Scale up and down again (fault F22)."""
    third = site.production.new_worker("followup-3")
    site.production.workers.append(third)
    ends = site.strike(third.launch, moments)
    third.await_ready()
    until(lambda: partitions_of(third) == PARTITIONS / 3, RECOVERS_WITHIN_S)
    site.recovers("a third worker joins", time.monotonic(), ends)
    ends = site.strike(third.terminate, moments)
    since = time.monotonic()
    assert third.wait(DRAIN_WITHIN_S) == 0
    site.recovers("it leaves by SIGTERM", since, ends)
    site.production.workers.remove(third)


def freeze_a_worker(site: Site, moments: random.Random) -> None:
    """Freeze one until the others have its partitions, then let it go on with what it holds (fault F23)."""
    zombie = moments.choice(site.production.workers)
    ends = site.strike(zombie.freeze, moments)
    since = time.monotonic()
    site.recovers("a worker is frozen", since, ends)
    time.sleep(max(0.0, ZOMBIE_S - (time.monotonic() - since)))
    ends = site.strike(zombie.thaw, moments)
    site.recovers("and goes on as a zombie", time.monotonic(), ends)
    assert zombie.runs


def crash_the_database(site: Site, moments: random.Random) -> None:
    """Stop PostgreSQL as a crash does, and start it again (fault F27)."""
    ends = site.strike(lambda: site.server.stop("immediate"), moments)
    time.sleep(DATABASE_AWAY_S)
    assert all(child.runs for child in site.production.children())
    site.server.start()
    site.recovers("PostgreSQL crashes and is back", time.monotonic(), ends)


def restart_the_broker(site: Site, moments: random.Random) -> None:
    """Stop the only broker in order and start it again; the listener goes on acknowledging (fault F17)."""
    ends = site.strike(site.brokers.stop, moments)
    _acknowledges_meanwhile(site, BROKER_AWAY_S)
    site.brokers.start()
    since = time.monotonic()
    _drains(site, "Kafka is stopped and back", since, ends)


def freeze_the_broker(site: Site, moments: random.Random) -> None:
    """Freeze the only broker: connections stay open and nothing is answered."""
    ends = site.strike(site.brokers.freeze, moments)
    _acknowledges_meanwhile(site, BROKER_FROZEN_S)
    site.brokers.thaw()
    _drains(site, "Kafka is frozen and goes on", time.monotonic(), ends)


def _acknowledges_meanwhile(site: Site, away_s: float) -> None:
    before = len(site.load.acknowledged)
    time.sleep(away_s)
    assert len(site.load.acknowledged) > before + away_s * PER_SECOND / 10, "hospitals were not answered"


def _drains(site: Site, name: str, since: float, ends: dict[int, int]) -> None:
    """Wait until the spool is empty and everything is applied that was acknowledged up to then."""
    until(lambda: _spooled(site.production.listener) == 0, RECOVERS_WITHIN_S)
    site.recovers(name, since, ends | site.ends())


def partitions_of(worker: Child) -> float:
    """Return how many partitions a worker has; none while it starts."""
    if not worker.ready:
        worker.await_ready(RECOVERS_WITHIN_S)
    return _metric(worker, "afterstay_consumer_partitions")


def _spooled(listener: Child) -> float:
    return _metric(listener, "afterstay_spool_messages")


def _metric(child: Child, name: str) -> float:
    (line,) = [line for line in child.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])
