"""Lag figures against the truth, on a real log: what the observer says is within 2 seconds of it, or exactly zero.

Goal: acceptance O1 of the lag in patients' time. Method: the test knows when each record was received and what was
committed, and computes the age for itself. An adapter's test module subclasses `LagSuite` and gives the fixture
`lagging` (a log whose topic is empty). Nothing here assumes offsets from 0.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.runtime.clock import SystemClock, to_timestamp_us
from services.runtime.eventlog.lag import PartitionLag, Status
from services.runtime.eventlog.lag_observer import GroupMembers, LagObserver
from services.runtime.eventlog.port import GroupPositions, NewRecord, Publisher, Subscriber

WITHIN_S = 2.0
WAIT_S = 20.0  # a bound for what must happen, never a pause
SHORT_WINDOW_S = 0.3
GROUP = "followup"
CLOCK = SystemClock()


def now_us() -> int:
    return to_timestamp_us(CLOCK.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class LaggingLog:
    """A log, a topic and a group; what was published is remembered with its time."""

    topic: str
    publisher: Publisher
    subscriber: Subscriber
    groups: GroupPositions
    members: GroupMembers | None
    received: dict[tuple[int, int], int]
    group: str = GROUP

    def observer(self, window_s: float = SHORT_WINDOW_S) -> LagObserver:
        return LagObserver(
            self.subscriber,
            self.groups,
            group=self.group,
            topic=self.topic,
            clock=CLOCK,
            window_s=window_s,
            members=self.members,
        )

    async def publish(self, *ages_s: float, partition: int = 0) -> list[int]:
        """Publish records that were received so long ago; return their offsets."""
        offsets = []
        for age_s in ages_s:
            received_us = now_us() - int(age_s * 1_000_000)
            record = NewRecord(
                topic=self.topic, partition=partition, key=b"k", value=b"v", headers=(), timestamp_us=received_us
            )
            offset = (await self.publisher.publish(record)).offset
            self.received[partition, offset] = received_us
            offsets.append(offset)
        return offsets

    async def commit(self, offset: int, partition: int = 0) -> None:
        await self.groups.commit(self.group, self.topic, {partition: offset})

    def true_age_s(self, position: int, partition: int = 0) -> float:
        """Return how long the oldest record at a position or after it has been waiting; 0 if there is none."""
        waiting = [offset for held, offset in self.received if held == partition and offset >= position]
        return (now_us() - self.received[partition, min(waiting)]) / 1_000_000 if waiting else 0.0

    def is_true(self, row: PartitionLag, position: int) -> None:
        """Hold a row against the truth, as of this moment."""
        truth_s = self.true_age_s(position, row.partition)
        if truth_s == 0.0:
            assert (row.lag, row.oldest_age_seconds) == (0, 0.0)
        else:
            assert row.oldest_age_seconds == pytest.approx(truth_s, abs=WITHIN_S)


async def look_until(observer: LagObserver, said: Callable[[PartitionLag], bool], partition: int = 0) -> PartitionLag:
    """Look until a partition's row is as expected."""
    deadline = time.monotonic() + WAIT_S
    while True:
        row = (await observer.look())[partition]
        if said(row):
            return row
        assert time.monotonic() < deadline, row
        await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become so."""
    deadline = time.monotonic() + WAIT_S
    while True:
        if condition():
            return
        assert time.monotonic() < deadline, "it did not become so"
        await asyncio.sleep(0.005)


async def look_for(observer: LagObserver, word: Status) -> PartitionLag:
    return await look_until(observer, lambda row: row.status == word)


class LagSuite:
    """What the observer says of any log."""

    async def test_idle_is_exactly_zero(self, lagging: LaggingLog) -> None:
        offsets = await lagging.publish(86_400.0, 3_600.0, 1.0)
        await lagging.commit(offsets[-1] + 1)

        rows = await lagging.observer().look()

        assert [row.partition for row in rows] == list(await lagging.subscriber.partitions(lagging.topic))
        for row in rows:
            assert (row.lag, row.oldest_age_seconds, row.status) == (0, 0.0, "OK")
        assert rows[0].current_offset == rows[0].log_end_offset == offsets[-1] + 1
        assert rows[1].current_offset is None

    async def test_a_backlog_is_as_old_as_its_oldest_record(self, lagging: LaggingLog) -> None:
        offsets = await lagging.publish(7_200.0, 300.0, 20.0, 1.0)
        (other,) = await lagging.publish(45.0, partition=1)
        await lagging.commit(offsets[1])

        first, second, *_ = await lagging.observer().look()

        lagging.is_true(first, offsets[1])
        assert (first.lag, first.current_offset) == (3, offsets[1])
        lagging.is_true(second, other)
        assert second.current_offset is None

    async def test_a_group_that_stops_is_seen_to_age_by_one_second_a_second(self, lagging: LaggingLog) -> None:
        offsets = await lagging.publish(10.0)
        await lagging.commit(offsets[-1] + 1)
        observer = lagging.observer()
        before = (await observer.look())[0]
        (waiting,) = await lagging.publish(0.0)
        published_s = time.monotonic()

        stuck = await look_until(observer, lambda row: row.status in {"STALLED", "STOPPED"})
        later = await look_until(observer, lambda row: (row.oldest_age_seconds or 0.0) > 1.0)

        assert (before.status, before.oldest_age_seconds) == ("OK", 0.0)
        assert stuck.lag == later.lag == 1
        assert later.oldest_age_seconds == pytest.approx(time.monotonic() - published_s, abs=0.5)
        lagging.is_true(later, waiting)

    async def test_positions_rewound_are_said_and_the_age_is_that_of_the_record_they_went_back_to(
        self, lagging: LaggingLog
    ) -> None:
        offsets = await lagging.publish(600.0, 400.0, 200.0, 0.0)
        await lagging.commit(offsets[-1] + 1)
        observer = lagging.observer(window_s=60.0)
        assert (await observer.look())[0].status == "OK"

        await lagging.commit(offsets[1])
        rewound = (await observer.look())[0]
        lagging.is_true(rewound, offsets[1])
        await lagging.commit(offsets[-1] + 1)
        recovered = (await observer.look())[0]

        assert (rewound.status, rewound.lag) == ("REWIND", 3)
        assert (recovered.status, recovered.oldest_age_seconds) == ("OK", 0.0)

    async def test_a_log_that_ends_before_the_commit_is_another_log(self, lagging: LaggingLog) -> None:
        offsets = await lagging.publish(5.0)
        await lagging.commit(offsets[-1] + 50)
        row = (await lagging.observer().look())[0]
        assert (row.status, row.lag, row.oldest_age_seconds) == ("AHEAD", 0, 0.0)

    async def test_the_figures_are_true_at_every_look_while_messages_come_and_a_consumer_goes_on_and_stops(
        self, lagging: LaggingLog
    ) -> None:
        """Method: bursts with receipts up to an hour back, as a spool delivers them, against a consumer that reads
        in steps, rests, and once goes back; two hundred looks, each against the truth of that moment."""
        dice = random.Random(20_261_127)
        observer = lagging.observer(window_s=60.0)
        (first,) = await lagging.publish(0.0)
        position, end = first, first + 1
        seen: set[bool] = set()
        for step in range(200):
            if dice.random() < 0.4:
                offsets = await lagging.publish(*(dice.choice([0.0, 0.0, 30.0, 3_600.0]) for _ in range(3)))
                end = offsets[-1] + 1
            if dice.random() < 0.5:
                position = first if step == 120 else min(end, position + dice.randint(1, 6))
                await lagging.commit(position)
            row = (await observer.look())[0]
            assert row.lag == end - position
            lagging.is_true(row, position)
            seen.add(row.lag == 0)
        assert seen == {True, False}
