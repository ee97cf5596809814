"""Promise P9 and P1 for the listener in front of Kafka, with real processes (faults F01, F17 to F20).

Goal: whatever happens to the listener or to its broker, what a hospital got AA for is in the topic in the end, in the
order of its connection within each partition, and everything heals without anybody. Method: one campaign over one
broker. A steady listener is never harmed and shows what hospitals notice of the broker's faults; a second one is killed
twenty times, whatever state its spool is in; a third has a spool of 1 MB that becomes full. Messages are in flight at
each fault, or the test fails. The last scenario has three brokers and loses one.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pytest
from aiokafka.admin import NewTopic

from schemas.topics import ADT_EVENTS
from services.runtime.eventlog.port import Record
from tests.support.kafka import Brokers, kafka_admin
from tests.system.ingest_service import (
    Hospital,
    IngestService,
    assert_kept_in_order,
    longest_gap_s,
    longest_wait_s,
    read_topic,
    until,
)

pytestmark = pytest.mark.system

FROZEN_S: Final = 30.0
HEALS_WITHIN_S: Final = 60.0
COMMIT_S: Final = 0.004
"""How long a group commit takes at most, on an ordinary disk: a kill falls anywhere in it."""
KILLS: Final = (5, 6, 5, 4)
"""Of the listener: while the broker is well, is frozen, comes back from a stop, comes back from a kill."""
NOTICED_WITHIN_S: Final = 2.0
SLACK_S: Final = 1.5
"""What a machine that runs the broker, three listeners and the tests on two cores adds to it."""


@dataclass(kw_only=True)
class Outage:
    """One fault of the broker: when it began, when the broker was back, when the spool was empty again."""

    name: str
    began_s: float
    back_s: float = 0.0
    healed_s: float = 0.0
    in_flight: int = 0


@dataclass(kw_only=True)
class Found:
    """What the campaign saw."""

    steady: list[Hospital]
    killed: list[Hospital]
    small: list[Hospital]
    outages: list[Outage] = field(default_factory=list)
    restarts_s: list[float] = field(default_factory=list)
    in_flight_at_kills: list[int] = field(default_factory=list)
    was_full: bool = False
    topic: dict[int, list[Record]] = field(default_factory=dict)
    complaints: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    folder = tmp_path_factory.mktemp("faults")
    with Brokers(folder / "kafka") as brokers:
        yield asyncio.run(_Campaign(folder, brokers).run())


async def make_topic(bootstrap: str, *, replicas: int, min_in_sync: int) -> None:
    async with kafka_admin(bootstrap) as admin:
        topic = NewTopic(ADT_EVENTS, 12, replicas, topic_configs={"min.insync.replicas": str(min_in_sync)})
        made = await admin.create_topics([topic])
        assert not any(error[1] for error in made.topic_errors), made.topic_errors


@asynccontextmanager
async def sending(hospitals: list[Hospital]) -> AsyncIterator[None]:
    """Let hospitals send; at the end wait until all is answered."""
    async with asyncio.TaskGroup() as group:
        for hospital in hospitals:
            group.create_task(hospital.run())
        try:
            yield
        finally:
            for hospital in hospitals:
                hospital.stop()


async def in_flight_of(hospitals: list[Hospital]) -> int:
    """Wait for a moment at which messages are in flight, and return how many."""
    await until(lambda: any(hospital.in_flight for hospital in hospitals), HEALS_WITHIN_S, poll_s=0)
    return sum(hospital.in_flight for hospital in hospitals)


def answered(hospitals: list[Hospital]) -> int:
    return sum(len(hospital.answered_s) for hospital in hospitals)


def report(text: str) -> None:
    """Print a figure, for whoever runs pytest with -s."""
    print(text)  # noqa: T201 - recovery times are to be seen


class _Campaign:
    def __init__(self, folder: Path, brokers: Brokers) -> None:
        self._brokers = brokers
        self._moments = random.Random("moments")
        self._steady = IngestService(folder / "steady", brokers.bootstrap)
        self._killed = IngestService(folder / "killed", brokers.bootstrap)
        self._small = IngestService(folder / "small", brokers.bootstrap, spool_mb=1)
        self._found = Found(
            steady=[Hospital(name=f"STEADY{i}", listener=self._steady, rate=40) for i in range(5)],
            killed=[Hospital(name=f"KILLED{i}", listener=self._killed, rate=50, window=16) for i in range(4)],
            small=[Hospital(name=f"SMALL{i}", listener=self._small, rate=20, padding=3000) for i in range(2)],
        )

    async def run(self) -> Found:
        found = self._found
        await make_topic(self._brokers.bootstrap, replicas=1, min_in_sync=1)
        services = [self._steady, self._killed, self._small]
        try:
            await asyncio.gather(*(asyncio.to_thread(service.start) for service in services))
            async with sending(found.steady + found.killed + found.small):
                await self._kill_listener(KILLS[0])
                await self._outage("frozen", KILLS[1])
                await self._outage("stopped", KILLS[2])
                await self._outage("killed", KILLS[3])
            for service in services:
                await service.until_forwarded(HEALS_WITHIN_S)
            codes = await asyncio.gather(*(asyncio.to_thread(service.terminate) for service in services))
            assert codes == [0, 0, 0]
        finally:
            for service in services:
                service.close()
        found.topic = await read_topic(self._brokers.bootstrap)
        found.complaints = {line["event"] for service in services for line in service.log() if is_complaint(line)}
        return found

    async def _outage(self, name: Literal["frozen", "stopped", "killed"], kills: int) -> None:
        hospitals = self._found.steady
        in_flight = await in_flight_of(hospitals)
        outage = Outage(name=name, began_s=time.monotonic(), in_flight=in_flight)
        self._found.outages.append(outage)
        if name == "frozen":
            self._brokers.freeze()
        elif name == "stopped":
            await asyncio.to_thread(self._brokers.stop)
        else:
            self._brokers.kill()
        if name == "frozen":
            await self._kill_listener(kills)
            await self._small.until_metrics(lambda numbers: numbers["state:full"] == 1, HEALS_WITHIN_S)
            self._found.was_full = True
            await asyncio.sleep(max(0.0, outage.began_s + FROZEN_S - time.monotonic()))
            self._brokers.thaw()
            await self._note_recovery(outage)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._kill_listener(kills))
                await asyncio.to_thread(self._brokers.start)
                await self._note_recovery(outage)

    async def _note_recovery(self, outage: Outage) -> None:
        outage.back_s = time.monotonic()
        await self._steady.until_forwarded(HEALS_WITHIN_S)
        outage.healed_s = time.monotonic()

    async def _kill_listener(self, times: int) -> None:
        hospitals = self._found.killed
        for _ in range(times):
            goal = answered(hospitals) + self._moments.randrange(1, 100)
            await until(lambda goal=goal: answered(hospitals) >= goal, HEALS_WITHIN_S)  # type: ignore[misc]
            in_flight = await in_flight_of(hospitals)
            await asyncio.sleep(self._moments.uniform(0, COMMIT_S))
            self._killed.kill()
            killed_s, before = time.monotonic(), answered(hospitals)
            self._found.in_flight_at_kills.append(in_flight)
            await asyncio.to_thread(self._killed.start)
            await until(lambda before=before: answered(hospitals) > before, HEALS_WITHIN_S)  # type: ignore[misc]
            self._found.restarts_s.append(time.monotonic() - killed_s)


def is_complaint(line: dict[str, object]) -> bool:
    """Tell whether a log line calls for somebody; Kafka's client has words of its own for a broker that is away."""
    return line["level"] in {"error", "critical"} and line["event"] != "library_logged"


def test_what_was_acknowledged_before_twenty_kills_of_the_listener_is_in_the_topic_in_order(found: Found) -> None:
    assert len(found.in_flight_at_kills) == sum(KILLS) == 20
    assert min(found.in_flight_at_kills) > 0
    twice = sum(assert_kept_in_order(hospital, found.topic) for hospital in found.killed)
    total = sum(len(hospital.acknowledged) for hospital in found.killed)
    assert total == sum(len(hospital.sent) for hospital in found.killed)
    restarts_s = sorted(found.restarts_s)
    report(
        f"listener killed 20 times: {total} acknowledged, 0 lost, {twice} twice; kill to next AA: median "
        f"{restarts_s[10]:.1f} s, worst {restarts_s[-1]:.1f} s"
    )


@pytest.mark.parametrize("name", ["frozen", "stopped", "killed"])
def test_hospitals_notice_a_moment_of_a_broker_that_is_away_and_nothing_else(found: Found, name: str) -> None:
    (outage,) = [outage for outage in found.outages if outage.name == name]
    assert outage.in_flight > 0
    wait_s = longest_wait_s(found.steady, outage.began_s - NOTICED_WITHIN_S, outage.healed_s)
    gap_s = longest_gap_s(found.steady, outage.began_s, outage.healed_s)
    sent = sum(
        outage.began_s <= moment <= outage.healed_s for hospital in found.steady for moment in hospital.first_sent_s
    )
    report(
        f"broker {name} for {outage.back_s - outage.began_s:.1f} s: longest wait for an answer {wait_s:.2f} s, longest "
        f"time without any {gap_s:.2f} s, spool empty {outage.healed_s - outage.back_s:.1f} s after it was back; "
        f"{sent} messages meanwhile"
    )
    assert gap_s < NOTICED_WITHIN_S + SLACK_S
    assert wait_s < NOTICED_WITHIN_S + SLACK_S


def test_a_listener_that_is_never_harmed_hangs_up_on_nobody_and_loses_and_reorders_nothing(found: Found) -> None:
    twice = sum(assert_kept_in_order(hospital, found.topic) for hospital in found.steady)
    total = sum(len(hospital.acknowledged) for hospital in found.steady)
    assert total == sum(len(hospital.sent) for hospital in found.steady)
    assert [hospital.hung_up for hospital in found.steady] == [0] * len(found.steady)
    report(f"three faults of the broker: {total} acknowledged, 0 lost, {twice} twice")


def test_a_full_spool_hangs_up_on_its_hospitals_loses_nothing_and_goes_on_by_itself(found: Found) -> None:
    assert found.was_full
    assert sum(hospital.hung_up for hospital in found.small) > 0
    for hospital in found.small:
        assert_kept_in_order(hospital, found.topic)
        assert len(hospital.acknowledged) == len(hospital.sent), "in the end all is answered"


def test_nobody_is_called_but_for_the_full_spool(found: Found) -> None:
    assert found.complaints == {"spool_filled", "intake_blocked"}


def test_one_of_three_brokers_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    with Brokers(tmp_path / "kafka", brokers=3) as brokers:
        asyncio.run(_lose_one_of_three(tmp_path, brokers))


async def _lose_one_of_three(folder: Path, brokers: Brokers) -> None:
    await make_topic(brokers.bootstrap, replicas=3, min_in_sync=2)
    service = IngestService(folder / "listener", brokers.bootstrap)
    hospitals = [Hospital(name=f"THREE{i}", listener=service, rate=40) for i in range(5)]
    with service:
        async with sending(hospitals):
            await until(lambda: answered(hospitals) >= 300, HEALS_WITHIN_S)
            in_flight = await in_flight_of(hospitals)
            killed_s = time.monotonic()
            brokers.kill(2)
            goal = answered(hospitals) + 600
            await until(lambda: answered(hospitals) >= goal, HEALS_WITHIN_S)
            await service.until_forwarded(HEALS_WITHIN_S)
            healed_s = time.monotonic()
        await service.until_forwarded(HEALS_WITHIN_S)
        topic = await read_topic(brokers.bootstrap)
    assert in_flight > 0
    twice = sum(assert_kept_in_order(hospital, topic) for hospital in hospitals)
    total = sum(len(hospital.acknowledged) for hospital in hospitals)
    assert total == sum(len(hospital.sent) for hospital in hospitals)
    wait_s = longest_wait_s(hospitals, killed_s - NOTICED_WITHIN_S, healed_s)
    report(
        f"one of three brokers killed: {total} acknowledged, 0 lost, {twice} twice; longest wait for an answer "
        f"{wait_s:.2f} s, nothing spooled any more {healed_s - killed_s:.1f} s after the kill"
    )
    assert wait_s < NOTICED_WITHIN_S + SLACK_S
