"""Lag figures on the embedded log, against the truth; and what only a file can do."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.runtime.errors import Transient
from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.lag import Membership, Owner
from services.runtime.eventlog.lag_observer import LagObserver
from tests.runtime.eventlog.lag_suite import LaggingLog, LagSuite, look_for, look_until, until
from tests.runtime.eventlog.test_embedded import open_embedded

TOPIC = "adt.events.v1"


@pytest.fixture
async def lagging(tmp_path: Path) -> AsyncIterator[LaggingLog]:
    log = await open_embedded(tmp_path, partitions=3)
    yield LaggingLog(
        topic=TOPIC,
        publisher=log.publisher,
        subscriber=log.subscriber,
        groups=log.groups,
        members=None,
        received={},
    )
    await log.close()


class TestLagOfTheEmbeddedLog(LagSuite):
    pass


class Members:
    """Says who is in the group."""

    def __init__(self, members: int, *owned: int) -> None:
        self.is_away = False
        self._membership = Membership(
            members=members, owners=dict.fromkeys(owned, Owner(client_id="worker-1", host="node-7"))
        )

    async def membership(self, group: str, topic: str) -> Membership:
        if self.is_away:
            raise Transient("positions-unavailable", "the group's coordinator is away")
        return self._membership


async def test_a_group_without_members_has_stopped_at_the_first_look(lagging: LaggingLog) -> None:
    await lagging.publish(3.0)
    row = (await replace(lagging, members=Members(0)).observer().look())[0]
    assert (row.status, row.client_id, row.host) == ("STOPPED", None, None)


async def test_an_owner_who_does_not_get_on_is_stalled_and_named(lagging: LaggingLog) -> None:
    await lagging.publish(3.0)
    row = await look_for(replace(lagging, members=Members(1, 0)).observer(), "STALLED")
    assert (row.client_id, row.host) == ("worker-1", "node-7")


async def test_who_is_there_may_be_unknown_and_then_two_windows_of_silence_are_a_stop(lagging: LaggingLog) -> None:
    await lagging.publish(3.0)
    observer = lagging.observer()
    await look_for(observer, "STALLED")
    await look_for(observer, "STOPPED")


async def test_a_damaged_record_is_as_old_as_the_next_sound_one(lagging: LaggingLog, tmp_path: Path) -> None:
    """A damaged record has no time of its own; without a sound one behind it the age is unknown, and never zero."""
    await lagging.publish(500.0, 499.0, 498.0)
    _damage(tmp_path, count=2)

    damaged = (await lagging.observer().look())[0]
    assert damaged.oldest_age_seconds == pytest.approx(498.0, abs=2.0)
    assert damaged.lag == 3

    _damage(tmp_path, count=3)
    lost = (await lagging.observer().look())[0]
    assert (lost.lag, lost.oldest_age_seconds) == (3, None)


def _damage(folder: Path, *, count: int) -> None:
    connection = sqlite3.connect(folder / layout.LOG_FILE)
    with connection:
        connection.execute(
            "UPDATE record SET checksum = 7 WHERE id IN (SELECT id FROM record ORDER BY id LIMIT ?)", (count,)
        )
    connection.close()


class CountingSubscriber:
    """Counts what is read of the log behind it."""

    def __init__(self, subscriber: Any) -> None:
        self._subscriber = subscriber
        self.reads: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subscriber, name)

    async def read(self, topic: str, partition: int, offset: int, **limits: int) -> Any:
        self.reads.append(offset)
        return await self._subscriber.read(topic, partition, offset, **limits)


async def test_a_record_that_goes_on_waiting_is_read_once(lagging: LaggingLog) -> None:
    first, second = await lagging.publish(9.0, 8.0)
    counting = CountingSubscriber(lagging.subscriber)
    observer = replace(lagging, subscriber=counting).observer()
    for _ in range(5):
        await observer.look()
    await lagging.commit(second)
    await observer.look()
    assert counting.reads == [first, second]


async def test_a_look_that_fails_leaves_no_old_row_and_the_observer_looks_again(lagging: LaggingLog) -> None:
    members = Members(1, 0, 1, 2)
    observer = replace(lagging, members=members).observer()
    assert observer.rows == ()
    stop = asyncio.Event()
    running = asyncio.create_task(observer.run(stop, every_s=0.01))

    await until(lambda: len(observer.rows) == 3)
    members.is_away = True
    await until(lambda: observer.rows == ())
    failed_with = observer.failure
    members.is_away = False
    await until(lambda: len(observer.rows) == 3)
    stop.set()
    await running

    assert (failed_with, observer.failure) == ("positions-unavailable", None)


async def test_retention_is_asked_for_and_turned_into_a_share_and_the_time_that_is_left(lagging: LaggingLog) -> None:
    async def a_day(topic: str) -> float:
        assert topic == TOPIC
        return 86_400.0

    await lagging.publish(43_200.0)
    observer = LagObserver(
        lagging.subscriber,
        lagging.groups,
        group="g",
        topic=TOPIC,
        clock=lagging.observer()._clock,
        retention=a_day,
    )
    row = await look_until(observer, lambda seen: seen.lag == 1)
    assert row.retention_used == pytest.approx(0.5, abs=0.001)
    assert row.data_loss_in_seconds == pytest.approx(43_200.0, abs=2.0)
