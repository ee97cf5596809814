"""Delivery: every record once, whatever the group offers, the log has lost and the database does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import ADT_EVENTS
from services.followup.consumer.delivery import Delivery, Stopped
from services.followup.consumer.observation import Progress
from services.followup.store.status import SqlBooks
from services.followup.usecases.pending import read_extent
from services.followup.usecases.status import status_of
from services.runtime.clock import SystemClock
from services.runtime.errors import Ambiguous, Permanent, Transient
from services.runtime.log import get_logger
from services.runtime.work_thread import WorkThread
from tests.support.household import Household, local
from tests.support.kept_log import KeptLog, garbage
from tests.support.waiting import until_true

NOW = local("2026-11-19 12:00")


class Bench:
    """A delivery on a real database, from a log in memory."""

    def __init__(self, folder: Path) -> None:
        self.household = Household(folder, now=NOW)
        self.log = KeptLog()
        self.progress = Progress(SystemClock())
        self.stop = asyncio.Event()
        self.work = WorkThread("test")
        self.restart()

    def restart(self) -> None:
        """Be another process on the same database."""
        self.delivery = Delivery(
            topic=ADT_EVENTS,
            apply=self.household.apply,
            subscriber=self.log,
            executor=self.work,
            observer=self.progress,
            log=get_logger("test"),
            stop=self.stop,
        )

    def applied(self, partition: int = 0) -> list[int]:
        """Return the offsets that were applied, from the dead letters that each became."""
        return [row.offset for row in self.household.letters() if row.partition == partition]

    def fail(self, *errors: Exception) -> None:
        """Let the next transactions fail before they do anything, one error each."""
        apply: Any = self.household.apply
        begin, left = apply._begin, list(errors)

        def failing() -> Any:
            if left:
                raise left.pop(0)
            return begin()

        apply._begin = failing

    def close(self) -> None:
        self.work.shutdown()
        self.household.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def some(*offsets: int, partition: int = 0) -> list[Any]:
    return [garbage(partition, offset) for offset in offsets]


async def test_records_are_applied_once_however_often_and_in_whatever_order_they_are_offered(bench: Bench) -> None:
    bench.log.add(*some(*range(10)))
    await bench.delivery.deliver(some(0, 1, 2, 3))
    await bench.delivery.deliver(some(5, 2, 4, 3, 4))
    await bench.delivery.deliver(some(0, 1, 2, 3, 4, 5))
    assert bench.applied() == [0, 1, 2, 3, 4, 5]
    assert bench.progress.processed == {"dead_letter": 6}


async def test_what_the_group_passed_over_is_read_from_the_log_and_applied_first(bench: Bench) -> None:
    bench.log.add(*some(*range(10)), *some(*range(4), partition=1))
    await bench.delivery.deliver(some(0, 1))
    await bench.delivery.deliver([*some(7, 8), *some(0, 1, partition=1)])
    assert bench.applied() == list(range(9))
    assert bench.applied(1) == [0, 1]
    assert bench.progress.records_caught_up == 5


async def test_a_hole_within_a_batch_is_filled_too(bench: Bench) -> None:
    bench.log.add(*some(*range(10)))
    await bench.delivery.deliver(some(0, 1, 6, 7))
    assert bench.applied() == list(range(8))


async def test_a_new_group_whose_commit_is_ahead_begins_where_the_log_does(bench: Bench) -> None:
    bench.log.add(*some(*range(6)))
    bench.log.cut(0, 2)
    await bench.delivery.deliver(some(4, 5))
    assert bench.applied() == [2, 3, 4, 5]
    assert bench.progress.records_lost == 0


async def test_offsets_that_no_record_has_are_passed(bench: Bench) -> None:
    bench.log.add(*some(0, 1, 5, 6))
    await bench.delivery.deliver(some(0, 1))
    await bench.delivery.deliver(some(5, 6))
    assert bench.applied() == [0, 1, 5, 6]
    assert bench.progress.records_lost == 0


async def test_what_retention_took_is_an_alarm_with_its_range_and_the_rest_is_applied(bench: Bench) -> None:
    bench.log.add(*some(*range(10)))
    await bench.delivery.deliver(some(0, 1))
    bench.log.cut(0, 6)
    await bench.delivery.deliver(some(8, 9))
    assert bench.applied() == [0, 1, 6, 7, 8, 9]
    assert [str(lost) for lost in bench.progress.losses] == ["adt.events.v1 partition 0 offsets 2 to 5"]
    assert bench.household.books() == {
        ("dead_letter", "event-undecodable"): 6,
        ("no_effect", "lost-to-retention"): 4,
    }


async def test_a_cut_is_found_at_the_start_when_nothing_new_comes_and_is_told_once(bench: Bench) -> None:
    bench.log.add(*some(*range(3)))
    await bench.delivery.deliver(some(0))
    bench.log.cut(0, 3)
    for _ in range(2):
        bench.restart()
        assert await bench.delivery.begin((0, 1, 2)) == {0: 3, 1: 0, 2: 0}
    assert [str(lost) for lost in bench.progress.losses] == ["adt.events.v1 partition 0 offsets 1 to 2"]


async def test_the_books_balance_whatever_retention_takes(bench: Bench) -> None:
    bench.log.add(*some(*range(9)), *some(*range(9), partition=1))
    bench.log.cut(1, 4)
    await bench.delivery.deliver([*some(0, 1, 2), *some(4, 5, partition=1)])
    for begin in (2, 6):
        bench.log.cut(0, begin)
        bench.log.cut(1, 5)
        bench.restart()
        await bench.delivery.begin((0, 1, 2))
        books = SqlBooks(bench.household.engine).read("test", ADT_EVENTS)
        status = status_of(books, await read_extent(bench.log, ADT_EVENTS, books))
        assert status.problems == ()
    assert status.outcomes.no_effect["lost-to-retention"] == 3
    assert status.received == 9 + 5


async def test_a_partition_that_was_empty_when_the_group_began_is_not_cut_unseen(bench: Bench) -> None:
    await bench.delivery.begin((0, 1, 2))
    bench.log.add(*some(0, 1))
    bench.log.cut(0, 2)
    bench.restart()
    await bench.delivery.begin((0, 1, 2))
    assert bench.progress.records_lost == 2


async def test_another_log_is_not_read(bench: Bench) -> None:
    bench.log.add(*some(*range(3)))
    await bench.delivery.deliver(some(0, 1, 2))
    bench.log.empty()
    with pytest.raises(Permanent) as caught:
        await bench.delivery.check((0, 1, 2))
    assert caught.value.code == "log-replaced"
    bench.restart()
    with pytest.raises(Permanent):
        await bench.delivery.begin((0, 1, 2))


async def test_what_may_pass_by_itself_is_tried_again_in_place(bench: Bench) -> None:
    bench.log.add(*some(*range(3)))
    await bench.delivery.begin((0, 1, 2))
    bench.fail(
        Transient("database-unavailable", "the database is away"),
        Ambiguous("database-write-unknown", "the connection was lost at the commit"),
    )
    await bench.delivery.deliver(some(0, 1, 2))
    assert bench.applied() == [0, 1, 2]
    assert bench.progress.retries == {"database-unavailable": 1, "database-write-unknown": 1}
    assert bench.progress.waiting_for is None


async def test_a_log_that_is_away_while_a_gap_is_filled_is_waited_for(bench: Bench) -> None:
    bench.log.add(*some(*range(5)))
    await bench.delivery.deliver(some(0))
    bench.log.failure = Transient("log-unavailable", "the broker is away")
    delivering = asyncio.create_task(bench.delivery.deliver(some(4)))
    await until_true(lambda: bench.progress.retries["log-unavailable"])
    bench.log.failure = None
    await delivering
    assert bench.applied() == [0, 1, 2, 3, 4]


async def test_a_log_that_is_back_is_no_longer_waited_for_although_nothing_new_comes(bench: Bench) -> None:
    await bench.delivery.begin((0, 1, 2))
    bench.log.failure = Transient("log-unavailable", "the broker is away")
    checking = asyncio.create_task(bench.delivery.check((0, 1, 2)))
    await until_true(lambda: bench.progress.waiting_for == "log-unavailable")
    bench.log.failure = None
    await checking
    assert bench.progress.waiting_for is None


async def test_a_retry_ends_when_the_consumer_is_asked_to_stop(bench: Bench) -> None:
    await bench.delivery.begin((0, 1, 2))
    bench.fail(*[Transient("database-unavailable", "the database is away")] * 1000)
    delivering = asyncio.create_task(bench.delivery.deliver(some(0)))
    await until_true(lambda: bench.progress.retries)
    assert bench.progress.waiting_for == "database-unavailable"
    bench.stop.set()
    with pytest.raises(Stopped):
        await asyncio.wait_for(delivering, 5)


async def test_a_thread_that_is_committing_is_waited_for_although_its_delivery_was_canceled(bench: Bench) -> None:
    await bench.delivery.begin((0, 1, 2))
    entered, leave = threading.Event(), threading.Event()
    apply: Any = bench.household.apply
    begin = apply._begin

    def slow() -> Any:
        entered.set()
        leave.wait(10)
        return begin()

    apply._begin = slow
    delivering = asyncio.create_task(bench.delivery.deliver(some(0)))
    await until_true(entered.is_set)
    delivering.cancel()
    settled = asyncio.create_task(bench.delivery.settled())
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert not settled.done()
    leave.set()
    await asyncio.wait_for(settled, 5)
    assert bench.applied() == [0]
