"""Limits, group commit, and what callers are told when the writer or its disk fails."""

import asyncio
import gc
import sqlite3
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.runtime.errors import Ambiguous, Permanent, Transient
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher, PublisherLimits
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.embedded.writer import WriterLimits
from services.runtime.eventlog.port import Position
from tests.runtime.eventlog.embedded.support import TOPIC, new_record, opened, sqlite_error, until, wait_until, watched
from tests.runtime.eventlog.suite import Outcomes, read_all


class CommitCounter:
    """Counts commits, tells how each was synced, and can hold one open."""

    def __init__(self) -> None:
        self.commits = 0
        self.synchronous: set[int] = set()
        self.held = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, connection: sqlite3.Connection, sql: str) -> None:
        if sql == "COMMIT":
            self.commits += 1
            self.synchronous.add(connection.cursor().execute("PRAGMA synchronous").fetchone()[0])
            self.held.set()
            assert self.go.wait(20)

    def hold(self) -> None:
        self.held.clear()
        self.go.clear()


class FailOn:
    """Fails the next statements that begin like this, a number of times."""

    def __init__(self, beginning: str, error: sqlite3.Error) -> None:
        self.beginning = beginning
        self.error = error
        self.times = 0

    def __call__(self, _connection: sqlite3.Connection, sql: str) -> None:
        if self.times and sql.startswith(self.beginning):
            self.times -= 1
            raise self.error


async def values_in(folder: Path) -> list[bytes]:
    subscriber = await EmbeddedSubscriber.open(folder)
    try:
        return [record.value for records in (await read_all(subscriber, TOPIC)).values() for record in records]
    finally:
        await subscriber.close()


# Group commit


async def test_records_of_one_turn_of_the_loop_share_one_commit(tmp_path: Path) -> None:
    counter = CommitCounter()
    async with opened(tmp_path, watch=counter) as log:
        await log.publisher.publish(new_record())
        before = counter.commits
        outcomes = Outcomes(200)
        for number in range(200):
            log.publisher.submit(new_record(), outcomes.taker(number))
        await outcomes.all()
        assert counter.commits == before + 1


async def test_records_that_arrive_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    counter = CommitCounter()
    async with opened(tmp_path, watch=counter) as log:
        await log.publisher.publish(new_record())
        before = counter.commits
        counter.hold()
        first = asyncio.create_task(log.publisher.publish(new_record(b"first")))
        await until(counter.held.is_set)
        others = [asyncio.create_task(log.publisher.publish(new_record(b"other"))) for _ in range(50)]
        await asyncio.sleep(0)
        assert not first.done()
        counter.go.set()
        await asyncio.gather(first, *others)
        assert counter.commits == before + 2


async def test_every_commit_is_synced_in_full(tmp_path: Path) -> None:
    counter = CommitCounter()
    async with opened(tmp_path, watch=counter) as log:
        await log.publisher.publish(new_record())
    assert counter.synchronous == {2}  # PRAGMA synchronous: 2 is FULL


@pytest.mark.parametrize(
    ("limits", "commits"),
    [
        pytest.param(WriterLimits(batch_records_max=10), 10, id="by records"),
        pytest.param(WriterLimits(batch_bytes_max=2_500), 50, id="by bytes"),
        pytest.param(WriterLimits(batch_bytes_max=1), 100, id="a record above the limit goes alone"),
    ],
)
async def test_a_large_hand_over_is_split_into_commits_within_the_limits(
    tmp_path: Path, limits: WriterLimits, commits: int
) -> None:
    counter = CommitCounter()
    async with opened(tmp_path, watch=counter, limits=PublisherLimits(writer=limits)) as log:
        await log.publisher.publish(new_record())
        before = counter.commits
        outcomes = Outcomes(100)
        for number in range(100):
            log.publisher.submit(new_record(b"x" * 1000), outcomes.taker(number))
        told = await outcomes.all()
        assert [outcome.offset for _number, outcome in told if isinstance(outcome, Position)] == list(range(1, 101))
        assert counter.commits == before + commits


# Limits


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(PublisherLimits(queue_records_max=3), id="records"),
        pytest.param(PublisherLimits(queue_bytes_max=3_500), id="bytes"),
    ],
)
async def test_beyond_the_queue_s_limits_a_record_is_refused_at_once_and_untried(
    tmp_path: Path, limits: PublisherLimits
) -> None:
    async with opened(tmp_path, limits=limits) as log:
        outcomes = Outcomes(4)
        for number in range(4):
            log.publisher.submit(new_record(b"x" * 1000), outcomes.taker(number))
        told = dict(await outcomes.all())
        refused = told.pop(3)
        assert isinstance(refused, Transient)
        assert refused.code == "log-overloaded"
        assert all(isinstance(outcome, Position) for outcome in told.values())
        await log.publisher.publish(new_record(b"x" * 1000))  # there is room again
    assert len(await values_in(tmp_path)) == 4


async def test_a_record_above_the_queue_s_bytes_passes_when_nothing_else_waits(tmp_path: Path) -> None:
    async with opened(tmp_path, limits=PublisherLimits(queue_bytes_max=10)) as log:
        await log.publisher.publish(new_record(b"x" * 1000))
    assert await values_in(tmp_path) == [b"x" * 1000]


# A disk that fails


async def test_a_full_disk_refuses_for_certain_and_heals_by_itself(tmp_path: Path) -> None:
    connections: list[sqlite3.Connection] = []

    def limit_pages(connection: sqlite3.Connection, sql: str) -> None:
        if not connections and sql == "BEGIN IMMEDIATE":
            connections.append(connection)
            connection.cursor().execute("PRAGMA max_page_count = 40")  # SQLite then answers SQLITE_FULL

    stored: list[bytes] = []
    async with opened(tmp_path, watch=limit_pages) as log:
        refusals: list[str] = []
        for number in range(60):
            try:
                await log.publisher.publish(new_record(b"%d" % number + bytes(4000)))
                stored.append(b"%d" % number + bytes(4000))
            except Transient as refusal:
                refusals.append(refusal.code)
        assert set(refusals) == {"log-unavailable"}
        assert len(stored) > 1, "some records fitted before the disk was full"

        connections[0].cursor().execute("PRAGMA max_page_count = 1000000")
        stored.append(b"after")
        position = await log.publisher.publish(new_record(b"after"))
        assert position.offset == len(stored) - 1, "what was refused took no offset"
        assert log.failures == []
    assert await values_in(tmp_path) == stored


async def test_one_full_batch_refuses_all_its_records_together(tmp_path: Path) -> None:
    fail = FailOn("INSERT INTO record", sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL"))
    async with opened(tmp_path, watch=fail) as log:
        await log.publisher.publish(new_record(b"before"))
        fail.times = 1
        outcomes = Outcomes(20)
        for number in range(20):
            log.publisher.submit(new_record(b"refused"), outcomes.taker(number))
        assert {type(outcome) for _number, outcome in await outcomes.all()} == {Transient}
        await log.publisher.publish(new_record(b"after"))
    assert await values_in(tmp_path) == [b"before", b"after"]


@pytest.mark.parametrize("code", ["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_BUSY_SNAPSHOT"])
async def test_a_commit_that_found_no_room_or_no_turn_has_stored_nothing(tmp_path: Path, code: str) -> None:
    fail = FailOn("COMMIT", sqlite_error(getattr(sqlite3, code), code))
    async with opened(tmp_path, watch=fail) as log:
        await log.publisher.publish(new_record(b"before"))
        fail.times = 1
        with pytest.raises(Transient) as refusal:
            await log.publisher.publish(new_record(b"refused"))
        assert refusal.value.code == "log-unavailable"
        assert code in refusal.value.message
        await log.publisher.publish(new_record(b"after"))
        assert log.failures == []
    assert await values_in(tmp_path) == [b"before", b"after"]


async def test_a_failed_fsync_is_ambiguous_and_ends_the_publisher_for_good(tmp_path: Path) -> None:
    fail = FailOn("COMMIT", sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"))
    async with opened(tmp_path, watch=fail) as log:
        await log.publisher.publish(new_record(b"before"))
        fail.times = 1
        with pytest.raises(Ambiguous) as unknown:
            await log.publisher.publish(new_record(b"unknown"))
        assert unknown.value.code == "log-write-unknown"
        for _ in range(2):
            with pytest.raises(Transient) as refusal:
                await log.publisher.publish(new_record(b"refused"))
            assert refusal.value.code == "log-failed"
        assert [failure.code for failure in log.failures] == ["log-failed"]
    gc.collect()
    assert (tmp_path / "log.db-wal").exists(), "closing would have synced the file again, and removed this one"
    async with opened(tmp_path) as again:
        await again.publisher.publish(new_record(b"after"))
    values = await values_in(tmp_path)
    assert values[0] == b"before"
    assert values[-1] == b"after"
    assert b"refused" not in values


async def test_a_rollback_that_fails_ends_the_publisher_for_good(tmp_path: Path) -> None:
    error = sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL")
    insert, rollback = FailOn("INSERT INTO record", error), FailOn("ROLLBACK", error)

    def watch(connection: sqlite3.Connection, sql: str) -> None:
        insert(connection, sql)
        rollback(connection, sql)

    async with opened(tmp_path, watch=watch) as log:
        insert.times = rollback.times = 1
        with pytest.raises(Transient) as refusal:
            await log.publisher.publish(new_record())
        assert refusal.value.code == "log-failed"
        assert [failure.code for failure in log.failures] == ["log-failed"]


async def test_what_waited_behind_a_failed_fsync_is_refused_untried(tmp_path: Path) -> None:
    fail = FailOn("COMMIT", sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"))
    limits = PublisherLimits(writer=WriterLimits(batch_records_max=1))
    async with opened(tmp_path, watch=fail, limits=limits) as log:
        await log.publisher.publish(new_record())
        fail.times = 1
        outcomes = Outcomes(3)
        for number in range(3):
            log.publisher.submit(new_record(), outcomes.taker(number))
        told = dict(await outcomes.all())
        assert {number: type(outcome) for number, outcome in told.items()} == {0: Ambiguous, 1: Transient, 2: Transient}


async def test_an_fsync_that_fails_in_a_checkpoint_ends_the_publisher_but_not_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    fail = FailOn("PRAGMA wal_checkpoint", sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"))
    limits = PublisherLimits(writer=WriterLimits(checkpoint_bytes=1))
    async with opened(tmp_path, watch=fail, limits=limits) as log:
        fail.times = 1
        await log.publisher.publish(new_record(b"acknowledged"))
        await until(lambda: bool(log.failures))
        assert [failure.code for failure in log.failures] == ["log-failed"]
        with pytest.raises(Transient):
            await log.publisher.publish(new_record(b"refused"))
    assert await values_in(tmp_path) == [b"acknowledged"]


async def test_a_checkpoint_without_room_is_tried_again_later(tmp_path: Path) -> None:
    fail = FailOn("PRAGMA wal_checkpoint", sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL"))
    limits = PublisherLimits(writer=WriterLimits(checkpoint_bytes=1))
    async with opened(tmp_path, watch=fail, limits=limits) as log:
        fail.times = 1
        for number in range(3):
            await log.publisher.publish(new_record(b"%d" % number))
        assert log.failures == []
    assert fail.times == 0
    assert await values_in(tmp_path) == [b"0", b"1", b"2"]


async def test_a_second_writer_is_found_out_instead_of_overwriting(tmp_path: Path) -> None:
    async with opened(tmp_path) as first, opened(tmp_path) as second:
        await first.publisher.publish(new_record(b"first"))
        with pytest.raises(Transient) as refusal:
            await second.publisher.publish(new_record(b"second"))
        assert refusal.value.code == "log-failed"
        assert [failure.code for failure in second.failures] == ["log-failed"]
        await first.publisher.publish(new_record(b"third"))
    assert await values_in(tmp_path) == [b"first", b"third"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_defect_in_the_writer_leaves_nobody_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path, limits=PublisherLimits(writer=WriterLimits(batch_records_max=1))) as log:
        await log.publisher.publish(new_record(b"before"))
        outcomes = Outcomes(3)
        log.publisher.submit(replace(new_record(), timestamp_us=2**70), outcomes.taker(0))  # SQLite cannot hold it
        log.publisher.submit(new_record(), outcomes.taker(1))
        log.publisher.submit(new_record(), outcomes.taker(2))
        told = dict(await outcomes.all())
        assert {type(outcome) for outcome in told.values()} == {Ambiguous}
        assert [failure.code for failure in log.failures] == ["log-failed"]
        with pytest.raises(Transient):
            await log.publisher.publish(new_record(b"refused"))
    assert await values_in(tmp_path) == [b"before"]


def test_a_loop_that_was_closed_without_closing_the_log_does_not_leave_the_thread(tmp_path: Path) -> None:
    counter = CommitCounter()
    writers: list[threading.Thread] = []

    async def abandon() -> None:
        before = set(threading.enumerate())
        publisher = await EmbeddedPublisher.open(tmp_path, on_failure=print, factory=watched(counter))
        writers.extend(thread for thread in set(threading.enumerate()) - before if thread.name == "log-writer")
        await publisher.publish(new_record())
        counter.hold()
        publisher.submit(new_record(), lambda _outcome: None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(abandon())
    counter.go.set()
    (writer,) = writers
    wait_until(lambda: not writer.is_alive())


# The file


async def test_the_partition_count_is_fixed_when_the_log_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        assert await log.publisher.partitions(TOPIC) == (0, 1)
    again = await EmbeddedPublisher.open(tmp_path, on_failure=print, partitions=9)
    assert await again.partitions(TOPIC) == (0, 1)
    await again.close()


async def test_an_illegal_topic_has_no_partitions(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        with pytest.raises(Permanent) as refusal:
            await log.publisher.partitions("no/topic")
        assert refusal.value.code == "topic-unknown"
        assert "no/topic" not in refusal.value.message


async def test_readers_do_not_hold_up_the_writer_and_the_write_ahead_log_starts_again_after_them(
    tmp_path: Path,
) -> None:
    limits = PublisherLimits(writer=WriterLimits(checkpoint_bytes=50_000, wal_bytes_max=160_000))
    async with opened(tmp_path, limits=limits) as log:
        await log.publisher.publish(new_record())
        reader = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM record").fetchone()
        for _ in range(30):
            await log.publisher.publish(new_record(bytes(4000)))
        wal = tmp_path / "log.db-wal"
        assert reader.execute("SELECT count(*) FROM record").fetchone() == seen
        assert wal.stat().st_size > limits.writer.wal_bytes_max, "a reader keeps the file from starting again"
        reader.close()
        for _ in range(30):
            await log.publisher.publish(new_record(bytes(4000)))
        assert wal.stat().st_size < limits.writer.wal_bytes_max
    assert len(await values_in(tmp_path)) == 61
