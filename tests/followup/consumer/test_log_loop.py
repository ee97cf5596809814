"""The plain loop, over a log in memory and over the embedded one: it follows, waits, stops and says when it may not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.topics import ADT_EVENTS
from services.followup.consumer.log_loop import LogLoop
from services.runtime.errors import Permanent, Transient
from services.runtime.eventlog.embedded.groups import EmbeddedGroupPositions
from services.runtime.log import get_logger
from tests.followup.consumer.test_delivery import Bench, some
from tests.support.waiting import until_true

GROUP = "test"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def groups(tmp_path: Path) -> AsyncIterator[EmbeddedGroupPositions]:
    opened = await EmbeddedGroupPositions.open(tmp_path)
    yield opened
    await opened.close()


def loop_on(bench: Bench, groups: EmbeddedGroupPositions) -> LogLoop:
    return LogLoop(
        group=GROUP,
        delivery=bench.delivery,
        subscriber=bench.log,
        groups=groups,
        observer=bench.progress,
        log=get_logger("test"),
    )


async def test_it_applies_what_is_there_and_what_comes_and_hints_how_far_it_is(
    bench: Bench, groups: EmbeddedGroupPositions
) -> None:
    bench.log.add(*some(*range(600)), *some(0, 1, partition=1))
    running = asyncio.create_task(loop_on(bench, groups).run(bench.stop))
    await until_true(lambda: bench.progress.processed["dead_letter"] == 602)
    bench.log.add(*some(600))
    await until_true(lambda: bench.progress.processed["dead_letter"] == 603)
    bench.stop.set()
    await asyncio.wait_for(running, 5)
    assert bench.applied() == list(range(601))
    assert await groups.committed(GROUP, ADT_EVENTS) == {0: 601, 1: 2, 2: 0}
    assert bench.progress.partitions == {0, 1, 2}


async def test_it_goes_on_from_the_database_and_not_from_the_hint(bench: Bench, groups: EmbeddedGroupPositions) -> None:
    bench.log.add(*some(*range(5)))
    await bench.delivery.deliver(some(0, 1))
    await groups.commit(GROUP, ADT_EVENTS, {0: 4})
    running = asyncio.create_task(loop_on(bench, groups).run(bench.stop))
    await until_true(lambda: len(bench.applied()) == 5)
    bench.stop.set()
    await asyncio.wait_for(running, 5)
    assert bench.log.reads[0] == (0, 2)


async def test_what_retention_takes_under_it_is_an_alarm_and_the_rest_is_applied(
    bench: Bench, groups: EmbeddedGroupPositions
) -> None:
    bench.log.add(*some(0, 1))
    running = asyncio.create_task(loop_on(bench, groups).run(bench.stop))
    await until_true(lambda: len(bench.applied()) == 2)
    bench.log.failure = Transient("log-unavailable", "the log is away")
    await until_true(lambda: bench.progress.waiting_for == "log-unavailable")
    bench.log.add(*some(*range(2, 9)))
    bench.log.cut(0, 7)
    bench.log.failure = None
    await until_true(lambda: len(bench.applied()) == 4)
    bench.stop.set()
    await asyncio.wait_for(running, 5)
    assert bench.applied() == [0, 1, 7, 8]
    assert [str(lost) for lost in bench.progress.losses] == ["adt.events.v1 partition 0 offsets 2 to 6"]


async def test_it_ends_on_another_log(bench: Bench, groups: EmbeddedGroupPositions) -> None:
    bench.log.add(*some(0, 1))
    await bench.delivery.deliver(some(0, 1))
    bench.log.empty()
    with pytest.raises(Permanent) as caught:
        await loop_on(bench, groups).run(bench.stop)
    assert caught.value.code == "log-replaced"


async def test_it_stops_while_the_database_is_away(bench: Bench, groups: EmbeddedGroupPositions) -> None:
    bench.log.add(*some(0))
    bench.fail(*[Transient("database-unavailable", "the database is away")] * 1000)
    running = asyncio.create_task(loop_on(bench, groups).run(bench.stop))
    await until_true(lambda: bench.progress.retries)
    bench.stop.set()
    await asyncio.wait_for(running, 5)
    assert bench.applied() == []
