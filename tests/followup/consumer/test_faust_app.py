"""The faust worker against a real broker: every record once through restarts, rebalances and outages; nothing escapes.

Records are garbage on purpose: each becomes a dead letter at its place, so that what was applied, and how often, can be
read from the database exactly.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.followup.consumer.delivery import Delivery
from services.followup.consumer.faust_app import FaustWorker
from services.followup.consumer.observation import Progress
from services.followup.usecases.apply_events import ApplyEvents
from services.runtime.clock import SystemClock
from services.runtime.errors import Ambiguous, Defect, Permanent, Transient
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.log import get_logger
from services.runtime.work_thread import WorkThread
from tests.support.household import Household, local
from tests.support.kafka import Brokers, fresh_topic, kafka_admin
from tests.support.waiting import until_true

NOW = local("2026-11-19 12:00")
PARTITIONS = 4


@dataclass
class Site:
    """A topic, a group of the same name, and the database that the group's workers write."""

    bootstrap: str
    topic: str
    household: Household
    sent: int = 0
    workers: list["Worker"] = field(default_factory=list)

    async def send(self, count: int) -> None:
        """Append records, spread over the partitions."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=False)
        await producer.start()
        try:
            done = [
                await producer.send(self.topic, b"{", key=b"k", partition=n % PARTITIONS, headers=[("n", b"%d" % n)])
                for n in range(self.sent, self.sent + count)
            ]
            await asyncio.gather(*done)
        finally:
            await producer.stop()
        self.sent += count

    def applied(self) -> int:
        """Return how many positions have an outcome."""
        return sum(self.household.books().values())

    def places(self) -> Counter[tuple[int, int]]:
        """Return where records were applied."""
        return Counter((row.partition, row.offset) for row in self.household.letters())

    async def settled(self, within_s: float = 30.0) -> None:
        """Wait until everything sent was applied, and check that it was applied once, in books and letters."""
        await until_true(lambda: self.applied() >= self.sent or self._failed(), within_s)
        assert self.applied() == self.sent
        places = self.places()
        assert len(places) == self.sent
        assert set(places.values()) <= {1}

    def _failed(self) -> bool:
        for worker in self.workers:
            if worker.running.done() and not worker.stop.is_set():
                worker.running.result()
        return False

    def worker(self) -> "Worker":
        """Start one more worker of the group."""
        made = Worker(self)
        self.workers.append(made)
        return made

    async def committed(self) -> dict[int, int]:
        """Return the group's own positions."""
        async with kafka_admin(self.bootstrap) as admin:
            offsets = await admin.list_consumer_group_offsets(self.topic)
        return {place.partition: found.offset for place, found in offsets.items()}


class Worker:
    """One worker in this process, with a thread and a log reader of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.stop = asyncio.Event()
        self.progress = Progress(SystemClock())
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        connection = KafkaConnection(bootstrap=self.site.bootstrap)
        subscriber = await KafkaSubscriber.open(connection, client_id="test")
        work = WorkThread("test")
        try:
            delivery = Delivery(
                topic=self.site.topic,
                apply=self.site.household.apply,
                subscriber=subscriber,
                executor=work,
                observer=self.progress,
                log=get_logger("test"),
                stop=self.stop,
            )
            await FaustWorker(
                connection, group=self.site.topic, delivery=delivery, observer=self.progress, log=get_logger("test")
            ).run(self.stop)
        finally:
            work.shutdown(wait=False)
            await subscriber.close()

    async def has_partitions(self, count: int) -> None:
        """Wait until it was given that many."""
        await until_true(lambda: self.running.done() or len(self.progress.partitions) == count)
        assert not self.running.done(), self.running.result()

    async def end(self, within_s: float = 10.0) -> None:
        """Ask it to stop and wait for it."""
        self.stop.set()
        await asyncio.wait_for(self.running, within_s)


@asynccontextmanager
async def site_on(bootstrap: str, folder: Path) -> AsyncIterator[Site]:
    """Make a site and end all of its workers, whatever happened."""
    household = Household(folder, now=NOW)
    site = Site(bootstrap=bootstrap, topic=await fresh_topic(bootstrap, partitions=PARTITIONS), household=household)
    try:
        yield site
    finally:
        for worker in site.workers:
            worker.stop.set()
        await asyncio.gather(*(worker.running for worker in site.workers), return_exceptions=True)
        household.close()


@pytest.fixture
async def site(kafka: Brokers, tmp_path: Path) -> AsyncIterator[Site]:
    async with site_on(kafka.bootstrap, tmp_path) as made:
        yield made


def fail(apply: ApplyEvents, *errors: Exception) -> None:
    """Let the next transactions fail before they do anything, one error each."""
    inner: Any = apply
    begin, left = inner._begin, list(errors)

    def failing() -> Any:
        if left:
            raise left.pop(0)
        return begin()

    inner._begin = failing


async def test_everything_is_applied_once_and_the_group_knows_how_far(site: Site) -> None:
    await site.send(2_000)
    worker = site.worker()
    await site.settled()
    await site.send(3)
    await site.settled()
    await worker.end(5.0)
    assert worker.progress.processed == {"dead_letter": 2_003}
    assert sum((await site.committed()).values()) == 2_003


async def test_a_worker_that_comes_after_another_goes_on_where_it_was(site: Site) -> None:
    for _ in range(3):
        await site.send(200)
        worker = site.worker()
        await site.settled()
        await worker.end()
    assert worker.progress.processed == {"dead_letter": 200}


async def test_what_the_database_refuses_for_a_while_is_tried_again_and_nothing_is_buried_for_it(site: Site) -> None:
    worker = site.worker()
    await worker.has_partitions(PARTITIONS)
    await site.send(10)
    await site.settled()
    fail(
        site.household.apply,
        Transient("database-unavailable", "the database is away"),
        Ambiguous("database-write-unknown", "the connection was lost at the commit"),
        Transient("database-unavailable", "the database is away"),
    )
    await site.send(500)
    await site.settled()
    assert worker.progress.retries["database-unavailable"] >= 1
    assert site.household.books() == {("dead_letter", "event-undecodable"): 510}


async def test_a_commit_of_the_group_that_is_ahead_skips_nothing(site: Site) -> None:
    """As after a database was restored from a backup: the group says 90, the database 0."""
    await site.send(400)
    await commit(site, 90)
    worker = site.worker()
    await site.settled()
    assert worker.progress.records_caught_up == 0, "it went where the database is"


async def test_a_commit_that_is_ahead_skips_nothing_either_when_the_database_cannot_say_so_in_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.followup.consumer.faust_app.RESUME_WITHIN_S", 0.0)
    await site.send(400)
    await commit(site, 90)
    worker = site.worker()
    await site.settled()
    assert worker.progress.records_caught_up > 0, "it read what the group would have skipped"


async def commit(site: Site, offset: int) -> None:
    """Set the group's own positions."""
    consumer = AIOKafkaConsumer(bootstrap_servers=site.bootstrap, group_id=site.topic, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(site.topic, n) for n in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.commit(dict.fromkeys(places, offset))
    finally:
        await consumer.stop()


async def test_workers_join_and_leave_under_load_and_every_record_is_applied_once(site: Site) -> None:
    first = site.worker()
    await first.has_partitions(PARTITIONS)
    sending = asyncio.create_task(_send_steadily(site, 6_000))
    second = site.worker()
    await second.has_partitions(2)
    third = site.worker()
    await until_true(lambda: len(third.progress.partitions) >= 1)
    await second.end()
    await third.end()
    await first.has_partitions(PARTITIONS)
    await sending
    await site.settled()
    assert first.progress.rebalances >= 3
    assert second.progress.processed["dead_letter"] > 0


async def _send_steadily(site: Site, count: int) -> None:
    for _ in range(count // 200):
        await site.send(200)


async def test_what_is_not_foreseen_ends_the_worker_and_skips_nothing(site: Site) -> None:
    await site.send(100)
    worker = site.worker()
    await site.settled()
    apply: Any = site.household.apply
    apply.deliver = apply.bury = _broken
    await site.send(100)
    with pytest.raises(Defect) as caught:
        await asyncio.wait_for(worker.running, 20)
    assert caught.value.code == "consumer-failed"
    site.workers.remove(worker)
    del apply.deliver, apply.bury
    site.worker()
    await site.settled()


def _broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError


async def test_a_topic_made_anew_under_the_worker_stops_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.followup.consumer.faust_app.CHECK_EVERY_S", 0.2)
    await site.send(100)
    worker = site.worker()
    await site.settled()
    async with kafka_admin(site.bootstrap) as admin:
        await admin.delete_topics([site.topic])
        await gone(admin, site.topic)
        await admin.create_topics([NewTopic(site.topic, PARTITIONS, 1)])
    with pytest.raises(Permanent) as caught:
        await asyncio.wait_for(worker.running, 20)
    assert caught.value.code == "log-replaced"


async def gone(admin: AIOKafkaAdminClient, topic: str) -> None:
    """Wait until a topic is deleted."""
    async with asyncio.timeout(20):
        while topic in await admin.list_topics():  # noqa: ASYNC110 - the broker sets no event of ours
            await asyncio.sleep(0.05)


async def test_it_ends_in_time_while_the_database_is_away(site: Site) -> None:
    await site.send(10)
    worker = site.worker()
    await site.settled()
    fail(site.household.apply, *[Transient("database-unavailable", "the database is away")] * 1000)
    await site.send(10)
    await until_true(lambda: worker.progress.waiting_for == "database-unavailable")
    await worker.end(10.0)
    assert site.applied() == 10
