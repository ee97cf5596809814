"""The consumer of a production process: what it waits for, refuses, tells and does, on a real broker."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas.events import encode_event
from services.followup.stream_worker import FollowupWorker
from services.runtime.clock import SystemClock
from services.runtime.errors import Permanent
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.port import NewRecord
from services.runtime.log import get_logger
from services.runtime.metrics import Metrics
from tests.support.adt import adt
from tests.support.household import Household, local
from tests.support.kafka import Brokers, fresh_name, fresh_topic
from tests.support.waiting import until_true

NOW = local("2026-11-19 12:00")
NOBODY = "127.0.0.1:1"
"""Nothing listens there."""


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    made = Household(tmp_path, now=NOW)
    yield made
    made.close()


def worker_on(engine: sa.Engine, bootstrap: str, topic: str, metrics: Metrics | None = None) -> FollowupWorker:
    return FollowupWorker(
        engine,
        KafkaConnection(bootstrap=bootstrap),
        clock=SystemClock(),
        closures=frozenset(),
        metrics=metrics or Metrics(),
        log=get_logger("test"),
        topic=topic,
        group=fresh_name("group"),
    )


async def test_it_waits_for_a_broker_that_is_away_says_so_and_ends_when_asked(household: Household) -> None:
    worker, stop = worker_on(household.engine, NOBODY, "topic"), asyncio.Event()
    assert worker.reasons() == ("consumer-starting",)
    running = asyncio.create_task(worker.run(stop))
    await until_true(lambda: worker.reasons() == ("log-unavailable",))
    assert not worker.reached.is_set()
    stop.set()
    await asyncio.wait_for(running, 10)


async def test_a_topic_that_is_not_there_ends_it_with_what_to_do(household: Household, kafka: Brokers) -> None:
    with pytest.raises(Permanent) as caught:
        await worker_on(household.engine, kafka.bootstrap, fresh_name("nowhere")).run(asyncio.Event())
    assert caught.value.code == "topic-unknown"
    assert "topics create" in caught.value.message


async def test_a_message_becomes_a_task_and_the_metrics_say_how_long_it_took(
    household: Household, kafka: Brokers
) -> None:
    topic, metrics, stop = await fresh_topic(kafka.bootstrap), Metrics(), asyncio.Event()
    worker = worker_on(household.engine, kafka.bootstrap, topic, metrics)
    running = asyncio.create_task(worker.run(stop))
    await asyncio.wait_for(worker.reached.wait(), 30)
    assert worker.reasons() == ()
    await _publish(household, kafka, topic)
    await until_true(lambda: len(household.open_tasks()) == 2)
    await until_true(lambda: worker.progress.processed["effect"])
    stop.set()
    await asyncio.wait_for(running, 10)
    told = metrics.render().decode()
    assert 'afterstay_consumer_processed_total{outcome="effect"} 1.0' in told
    assert 'afterstay_event_to_task_seconds_count{feed="mercy"} 1.0' in told
    assert "afterstay_consumer_partitions 4.0" in told
    assert "afterstay_consumer_idle_seconds " in told
    assert worker.notes() == ()


async def _publish(household: Household, kafka: Brokers, topic: str) -> None:
    now = SystemClock().now()
    event = household.event_of(
        adt(
            "A03",
            sent=f"{now:%Y%m%d%H%M%S}+0000",
            control_id="M1",
            admitted=f"{now:%Y%m%d}0000+0000",
            discharged=f"{now:%Y%m%d%H%M%S}+0000",
            disposition="01",
        ),
        now,
    )
    record = NewRecord(
        topic=topic,
        partition=1,
        key=b"k",
        value=encode_event(event),
        headers=(),
        timestamp_us=int(now.timestamp() * 1e6),
    )
    publisher = await KafkaPublisher.open(KafkaConnection(bootstrap=kafka.bootstrap), client_id="test")
    await publisher.publish(record)
    await publisher.close()
