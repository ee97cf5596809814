"""Goal: a real broker that dies, freezes or refuses is noticed in time, and what was acknowledged is there after it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from services.runtime.errors import AfterstayError, Ambiguous, Permanent, Transient
from services.runtime.eventlog.kafka.client import CLOSE_S as CLIENT_CLOSE_S
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.publisher import CLOSE_S, KafkaPublisher
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.port import NewRecord, Position, PublishOutcome
from tests.runtime.eventlog.suite import BYTES_MAX, WAIT_S, new_record, read_all
from tests.support.kafka import Brokers, fresh_topic

NOTICED_WITHIN_S = 2.0  # the issue: a dead or frozen broker is noticed within 2 s
LOADED_S = 1.0  # what this machine may add when other tests run beside it
READ_FAILS_WITHIN_S = 8.0
BACK_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    with Brokers(tmp_path_factory.mktemp("faulty")) as brokers:
        yield brokers


@pytest.fixture
def broker(own_broker: Brokers) -> Iterator[Brokers]:
    """The broker, running again after each test."""
    yield own_broker
    if own_broker.processes():
        own_broker.thaw()
    own_broker.start()


@pytest.fixture
def connection(broker: Brokers) -> KafkaConnection:
    return KafkaConnection(bootstrap=broker.bootstrap)


@pytest.fixture
async def topic(broker: Brokers) -> str:
    return await fresh_topic(broker.bootstrap, partitions=2)


@pytest.fixture
async def publisher(connection: KafkaConnection, topic: str) -> AsyncIterator[KafkaPublisher]:
    opened = await KafkaPublisher.open(connection, client_id="test")
    await opened.partitions(topic)
    yield opened
    await opened.close()


class Load:
    """Keeps some records in flight, and remembers what became of each and when."""

    def __init__(self, publisher: KafkaPublisher, topic: str) -> None:
        self._publisher = publisher
        self._topic = topic
        self._sent = 0
        self.outcomes: list[tuple[bytes, PublishOutcome, float]] = []

    def start(self, in_flight: int = 16) -> None:
        for _ in range(in_flight):
            self._send()

    def _send(self) -> None:
        value = b"%d" % self._sent
        self._sent += 1
        began = time.monotonic()

        def on_done(outcome: PublishOutcome) -> None:
            self.outcomes.append((value, outcome, time.monotonic() - began))
            if isinstance(outcome, Position):
                self._send()

        self._publisher.submit(new_record(self._topic, self._sent % 2, value), on_done)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.005)

    async def running(self) -> None:
        await self.until(lambda: len(self.outcomes) > 200)

    async def over(self) -> None:
        await self.until(lambda: len(self.outcomes) == self._sent)

    @property
    def acknowledged(self) -> set[bytes]:
        return {value for value, outcome, _took in self.outcomes if isinstance(outcome, Position)}

    @property
    def failures(self) -> list[AfterstayError]:
        return [outcome for _value, outcome, _took in self.outcomes if isinstance(outcome, AfterstayError)]


@pytest.mark.parametrize("fault", ["kill", "freeze", "stop"])
async def test_what_happens_to_the_broker_under_load_is_told_in_time_and_costs_nothing_acknowledged(
    broker: Brokers, connection: KafkaConnection, publisher: KafkaPublisher, topic: str, fault: str
) -> None:
    load = Load(publisher, topic)
    load.start()
    await load.running()
    await asyncio.to_thread(getattr(broker, fault))
    await load.over()
    assert load.failures, "records were in flight"
    for error in load.failures:
        assert (type(error), error.code) in {(Ambiguous, "log-write-unknown"), (Transient, "log-unavailable")}
    assert max(took for _value, _outcome, took in load.outcomes) < NOTICED_WITHIN_S + LOADED_S
    assert publisher.broken is not None
    await asyncio.to_thread(bring_back, broker, fault)

    again = await opened_again(connection)
    position = await again.publish(new_record(topic, value=b"after"))
    subscriber = await KafkaSubscriber.open(connection, client_id="test")
    stored = [record.value for part in (await read_all(subscriber, topic)).values() for record in part]
    assert load.acknowledged <= set(stored)
    assert position.offset > 0
    assert stored.count(b"after") == 1
    await subscriber.close()
    await again.close()


def bring_back(broker: Brokers, fault: str) -> None:
    if fault == "freeze":
        broker.thaw()
    else:
        broker.start()


async def opened_again(connection: KafkaConnection) -> KafkaPublisher:
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            try:
                return await KafkaPublisher.open(connection, client_id="test")
            except Transient:
                await asyncio.sleep(0.1)


async def test_a_frozen_broker_holds_up_neither_closing_nor_opening(
    broker: Brokers, connection: KafkaConnection, publisher: KafkaPublisher, topic: str
) -> None:
    await publisher.publish(new_record(topic))
    broker.freeze()
    outcomes: list[PublishOutcome] = []
    publisher.submit(new_record(topic), outcomes.append)
    began = time.monotonic()
    with pytest.raises(Transient):
        await KafkaPublisher.open(connection, client_id="test")
    assert time.monotonic() - began < NOTICED_WITHIN_S + LOADED_S
    began = time.monotonic()
    await publisher.close()
    assert time.monotonic() - began < CLOSE_S + CLIENT_CLOSE_S + LOADED_S
    assert [type(outcome) for outcome in outcomes] == [Ambiguous]


async def test_a_broker_that_is_not_there_is_noticed_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(Transient) as refusal:
        await KafkaPublisher.open(KafkaConnection(bootstrap="127.0.0.1:1"), client_id="test")
    assert refusal.value.code == "log-unavailable"
    assert "127.0.0.1:1" in refusal.value.message
    assert time.monotonic() - began < NOTICED_WITHIN_S


async def test_readers_fail_in_time_and_read_on_by_themselves(
    broker: Brokers, connection: KafkaConnection, publisher: KafkaPublisher, topic: str
) -> None:
    await publisher.publish(new_record(topic, value=b"before"))
    subscriber = await KafkaSubscriber.open(connection, client_id="test")
    groups = await KafkaGroupPositions.open(connection, client_id="test")
    await groups.commit("matching", topic, {0: 1})
    begin = (await subscriber.begin_offsets(topic))[0]
    for away in (broker.freeze, broker.kill):
        await asyncio.to_thread(away)
        began = time.monotonic()
        with pytest.raises(Transient) as no_read:
            await subscriber.read(topic, 1, 0, max_records=9, bytes_max=BYTES_MAX)
        with pytest.raises(Transient):
            await subscriber.wait_for_records(topic, {1: 0}, timeout_s=WAIT_S)
        with pytest.raises(Transient):
            await subscriber.end_offsets(topic)
        with pytest.raises(Transient) as no_positions:
            await groups.committed("matching", topic)
        assert time.monotonic() - began < 4 * READ_FAILS_WITHIN_S
        assert no_read.value.code == "log-unavailable"
        assert no_positions.value.code == "positions-unavailable"
    await asyncio.to_thread(broker.start)
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            try:
                (record,) = await subscriber.read(topic, 0, begin, max_records=9, bytes_max=BYTES_MAX)
                assert await groups.committed("matching", topic) == {0: 1}
                break
            except Transient:
                await asyncio.sleep(0.1)
    assert record.value == b"before"
    await subscriber.close()
    await groups.close()


async def test_a_record_above_the_topics_own_limit_costs_the_others_nothing(
    broker: Brokers, connection: KafkaConnection
) -> None:
    topic = await fresh_topic(broker.bootstrap, partitions=1, settings={"max.message.bytes": "20000"})
    publisher = await KafkaPublisher.open(connection, client_id="test")
    await publisher.partitions(topic)
    records = [sized(topic, 10_000), sized(topic, 30_000), sized(topic, 10_000), sized(topic, 10_000)]
    told = await asyncio.gather(*(publisher.publish(one) for one in records), return_exceptions=True)
    assert [type(one) for one in told] == [Position, Permanent, Position, Position]
    assert publisher.broken is None
    await publisher.close()


def sized(topic: str, size: int) -> NewRecord:
    return new_record(topic, value=bytes(size))
