"""Lag figures on a real broker, against the truth; and what only a broker can do: members, retention, being away."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete

from services.runtime.clock import SystemClock, to_timestamp_us
from services.runtime.errors import Transient
from services.runtime.eventlog.kafka import lag_watch
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.lag_parts import KafkaLagParts
from services.runtime.eventlog.kafka.lag_watch import LagWatch
from services.runtime.eventlog.kafka.members import KafkaGroupMembers
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.lag import PartitionLag
from services.runtime.eventlog.port import NewRecord
from tests.runtime.eventlog.lag_suite import WITHIN_S, LaggingLog, LagSuite, look_for, look_until, until
from tests.support.kafka import Brokers, fresh_name, fresh_topic, kafka_admin


@pytest.fixture
async def lagging(kafka: Brokers) -> AsyncIterator[LaggingLog]:
    connection = KafkaConnection(bootstrap=kafka.bootstrap)
    groups = await KafkaGroupPositions.open(connection, client_id="observer")
    log = LaggingLog(
        topic=await fresh_topic(kafka.bootstrap, partitions=3),
        publisher=await KafkaPublisher.open(connection, client_id="listener"),
        subscriber=await KafkaSubscriber.open(connection, client_id="observer"),
        groups=groups,
        members=KafkaGroupMembers(groups),
        received={},
        group=fresh_name("group"),
    )
    yield log
    for part in (log.publisher, log.subscriber, groups):
        await part.close()


class TestLagOfKafka(LagSuite):
    pass


@pytest.fixture
async def consumer(kafka: Brokers, lagging: LaggingLog) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of the group that reads only when a test says so, as one that hangs does."""
    member = AIOKafkaConsumer(
        lagging.topic,
        bootstrap_servers=kafka.bootstrap,
        group_id=lagging.group,
        client_id="worker-1",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    await member.start()
    yield member
    await member.stop()


async def test_a_member_that_does_not_get_on_is_stalled_and_named_and_one_that_leaves_has_stopped(
    lagging: LaggingLog, consumer: AIOKafkaConsumer
) -> None:
    (offset,) = await lagging.publish(120.0)
    observer = lagging.observer()

    stalled = await look_for(observer, "STALLED")
    lagging.is_true(stalled, offset)
    assert (stalled.client_id, stalled.host, stalled.lag) == ("worker-1", "127.0.0.1", 1)

    await consumer.getone()
    await consumer.commit()
    well = await look_until(observer, lambda row: row.lag == 0)
    assert (well.status, well.oldest_age_seconds) == ("OK", 0.0)

    await consumer.stop()
    (offset,) = await lagging.publish(7.0)
    stopped = await look_for(observer, "STOPPED")
    lagging.is_true(stopped, offset)
    assert (stopped.client_id, stopped.lag) == (None, 1)


async def test_a_consumer_that_goes_on_is_seen_to_catch_up(lagging: LaggingLog, consumer: AIOKafkaConsumer) -> None:
    """Method: a backlog of 300 records ten seconds apart, read a few at a time; the age falls with each step."""
    await lagging.publish(*(4_000.0 - 10 * n for n in range(300)))
    observer = lagging.observer(window_s=60.0)
    place = TopicPartition(lagging.topic, 0)
    rows: list[PartitionLag] = []
    while not rows or rows[-1].lag:
        if rows:
            while not await consumer.getmany(timeout_ms=1_000, max_records=10):
                pass
            await consumer.commit()
        rows.append((await observer.look())[0])
        lagging.is_true(rows[-1], await consumer.committed(place) or 0)

    ages = [row.oldest_age_seconds or 0.0 for row in rows]
    assert len(ages) > 20
    assert all(later < earlier for earlier, later in pairwise(ages))
    assert rows[0].catch_up_seconds is None
    assert all(row.catch_up_seconds is not None for row in rows[1:])


async def test_retention_that_cuts_what_nobody_has_read_is_lost_and_the_age_is_that_of_what_is_left(
    kafka: Brokers, lagging: LaggingLog
) -> None:
    offsets = await lagging.publish(900.0, 800.0, 700.0, 600.0)
    await lagging.commit(offsets[1])
    async with kafka_admin(kafka.bootstrap) as admin:
        await admin.delete_records({TopicPartition(lagging.topic, 0): RecordsToDelete(before_offset=offsets[3])})

    cut = (await lagging.observer().look())[0]

    assert (cut.status, cut.lag, cut.data_lost_records) == ("LOST", 1, 2)
    assert cut.log_start_offset == offsets[3]
    lagging.is_true(cut, offsets[3])


async def test_a_topic_that_was_read_and_then_emptied_by_retention_has_exactly_no_lag(
    kafka: Brokers, lagging: LaggingLog
) -> None:
    offsets = await lagging.publish(900.0, 800.0)
    await lagging.commit(offsets[-1] + 1)
    async with kafka_admin(kafka.bootstrap) as admin:
        await admin.delete_records({TopicPartition(lagging.topic, 0): RecordsToDelete(before_offset=offsets[-1] + 1)})

    idle = (await lagging.observer().look())[0]

    assert idle.log_start_offset == idle.log_end_offset == offsets[-1] + 1
    assert (idle.status, idle.lag, idle.oldest_age_seconds, idle.data_lost_records) == ("OK", 0, 0.0, 0)


@pytest.mark.parametrize(("retention_ms", "retention_s"), [("86400000", 86_400.0), ("-1", None)])
async def test_the_retention_is_the_topic_s(kafka: Brokers, retention_ms: str, retention_s: float | None) -> None:
    topic = await fresh_topic(kafka.bootstrap, settings={"retention.ms": retention_ms})
    connection = KafkaConnection(bootstrap=kafka.bootstrap)
    parts = await KafkaLagParts.open(connection, client_id="observer")
    publisher = await KafkaPublisher.open(connection, client_id="listener")
    try:
        received_us = to_timestamp_us(SystemClock().now()) - 6 * 3_600 * 1_000_000
        await publisher.publish(
            NewRecord(topic=topic, partition=0, key=b"k", value=b"v", headers=(), timestamp_us=received_us)
        )
        observer = parts.observer(group=fresh_name("group"), topic=topic, clock=SystemClock(), window_s=60.0)
        row = (await observer.look())[0]
        waited_s = (to_timestamp_us(SystemClock().now()) - received_us) / 1_000_000
        assert await parts.retention_s(topic) == retention_s
    finally:
        await publisher.close()
        await parts.close()
    assert row.oldest_age_seconds == pytest.approx(waited_s, abs=WITHIN_S)
    if retention_s is None:
        assert (row.retention_used, row.data_loss_in_seconds) == (None, None)
    else:
        assert row.retention_used == pytest.approx(0.25, abs=0.001)
        assert row.data_loss_in_seconds == pytest.approx(86_400.0 - waited_s, abs=WITHIN_S)


async def test_a_broker_that_is_away_is_said_and_looked_at_again_when_it_is_back(tmp_path: Path) -> None:
    with Brokers(tmp_path / "broker") as brokers:
        topic = await fresh_topic(brokers.bootstrap)
        parts = await KafkaLagParts.open(KafkaConnection(bootstrap=brokers.bootstrap), client_id="observer")
        observer = parts.observer(group="followup", topic=topic, clock=SystemClock(), window_s=60.0)
        assert {row.status for row in await observer.look()} == {"OK"}
        brokers.kill()
        with pytest.raises(Transient):
            await observer.look()
        assert observer.rows == ()
        brokers.restart()
        stop = asyncio.Event()
        running = asyncio.create_task(observer.run(stop, every_s=0.05))
        await until(lambda: len(observer.rows) == 4)
        stop.set()
        await running
        await parts.close()


async def test_a_watch_starts_without_a_broker_and_shows_figures_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_watch, "RECONNECT_S", 0.1)
    brokers = Brokers(tmp_path / "broker").start()
    topic = await fresh_topic(brokers.bootstrap)
    brokers.stop()
    watch = LagWatch(
        KafkaConnection(bootstrap=brokers.bootstrap),
        client_id="observer",
        group="followup",
        topic=topic,
        clock=SystemClock(),
        look_every_s=0.05,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(watch.run(stop))
    await asyncio.to_thread(brokers.start)
    try:
        await until(lambda: len(watch.rows()) == 4)
        stop.set()
        await running
    finally:
        brokers.stop()
    assert watch.rows() == ()
