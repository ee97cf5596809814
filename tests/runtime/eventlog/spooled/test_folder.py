"""What lies on disk: damage is found and set aside, never forwarded; room comes back; a restart is quick (F08, F09)."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher, PublisherLimits
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.port import PublishOutcome
from services.runtime.eventlog.spooled import folder as on_disk
from services.runtime.eventlog.spooled.folder import KEEP_FILE, POSITION_FILE, QUARANTINE, SEGMENTS, TOPICS_FILE
from services.runtime.eventlog.spooled.spooled_record import SPOOL_TOPIC, from_spool, to_spool
from tests.runtime.eventlog.embedded.support import raw
from tests.runtime.eventlog.spooled.support import Broker, Sender, new_record, opened, small, until, until_direct


def segments_of(folder: Path) -> list[Path]:
    return sorted((folder / SEGMENTS).iterdir())


def quarantined_in(folder: Path) -> list[Path]:
    return sorted((folder / QUARANTINE).iterdir())


async def leave_spooled(folder: Path, count: int) -> None:
    """Leave a spool with records that were never forwarded."""
    broker = Broker()
    broker.change("down")
    async with opened(folder, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        await sender.send_and_wait(count)
        assert len(sender.acknowledged) == count


async def leave_segments(folder: Path, count: int, records: int) -> None:
    """Leave a spool of so many segments, with so many records in each of them."""
    broker = Broker()
    broker.change("down")
    async with opened(folder, broker, settings=small(segment_bytes=records * 2000)) as spool:
        sender = Sender(publisher=spool.publisher)
        for number in range(count):
            await sender.send_and_wait(records, padding=2000)
            await until(lambda made=number + 2: is_rolled(folder, made))  # type: ignore[misc]  # bound at once
        assert len(sender.acknowledged) == count * records


def is_rolled(folder: Path, segments: int) -> bool:
    """Tell whether the last of so many segments is the one that is written to: those before it are closed."""
    found = segments_of(folder)
    return len(found) == segments and not any((path / f"{LOG_FILE}-wal").exists() for path in found[:-1])


async def drain(folder: Path) -> Broker:
    broker = Broker()
    async with opened(folder, broker) as spool:
        await until_direct(spool.publisher)
    return broker


# Damage


def change_row(segment: Path, sql: str) -> None:
    connection = raw(segment)
    assert connection.execute(sql).rowcount == 1
    connection.close()


ROW = "(SELECT min(id) + 4 FROM record)"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(f"UPDATE record SET value = x'00' || substr(value, 2) WHERE id = {ROW}", id="value"),
        pytest.param(f"UPDATE record SET headers = substr(headers, 2) WHERE id = {ROW}", id="headers"),
        pytest.param(f"UPDATE record SET timestamp_us = timestamp_us + 1 WHERE id = {ROW}", id="timestamp"),
        pytest.param(f"DELETE FROM record WHERE id = {ROW}", id="row gone"),
    ],
)
async def test_a_damaged_record_is_never_forwarded_and_its_segment_is_kept(tmp_path: Path, damage: str) -> None:
    await leave_spooled(tmp_path, 10)
    (segment,) = segments_of(tmp_path)
    change_row(segment, damage)
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        await until_direct(spool.publisher)
        assert spool.publisher.stats.quarantined_total == 1
        assert spool.publisher.stats.quarantined_segments == 1
        assert spool.publisher.stats.drained_total == 9
    assert sorted(broker.numbers) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [path.name for path in quarantined_in(tmp_path)] == [segment.name]
    async with opened(tmp_path, broker) as spool:
        assert spool.publisher.stats.quarantined_segments == 1, "it stays until somebody looks at it"


async def test_a_table_cut_short_loses_no_more_than_what_is_gone(tmp_path: Path) -> None:
    await leave_spooled(tmp_path, 10)
    (segment,) = segments_of(tmp_path)
    connection = raw(segment)
    connection.execute("DELETE FROM record WHERE id > (SELECT min(id) + 6 FROM record)")
    connection.close()
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        await until_direct(spool.publisher)
        assert spool.publisher.stats.quarantined_total == 3
    assert sorted(broker.numbers) == list(range(7))


def overwrite_beginning(file: Path) -> None:
    with file.open("r+b") as content:
        content.write(b"\xff" * 4096)


def spoil_streams(file: Path) -> None:
    connection = raw(file.parent)
    connection.execute("UPDATE stream SET checksum = checksum + 1")
    connection.close()


def drop_tables(file: Path) -> None:
    connection = raw(file.parent)
    connection.execute("DROP TABLE meta")
    connection.close()


@pytest.mark.parametrize("damage", [overwrite_beginning, spoil_streams, drop_tables])
async def test_a_segment_that_cannot_be_read_is_set_aside_whole_and_the_others_are_forwarded(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    await leave_segments(tmp_path, 4, 50)
    first, second, *_others = segments_of(tmp_path)
    damage(second / LOG_FILE)
    broker = await drain(tmp_path)
    assert sorted(set(range(200)) - set(broker.numbers)) == list(range(50, 100)), "those of one segment"
    assert [path.name for path in quarantined_in(tmp_path)] == [second.name]
    assert not first.exists()
    for partition in range(3):
        assert broker.first_occurrences(partition) == sorted(broker.first_occurrences(partition))


async def test_a_segment_that_becomes_unreadable_while_it_is_written_is_set_aside(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        await sender.send_and_wait(10)
        (active,) = segments_of(tmp_path)
        spoil_streams(active / LOG_FILE)
        broker.change("up")
        await until_direct(spool.publisher)
        assert spool.publisher.stats.quarantined_total == 10
        await sender.send_and_wait(5)
        broker.change("down")
        await sender.send_and_wait(5)
        broker.change("up")
        await until_direct(spool.publisher)
    assert sorted(broker.numbers) == list(range(10, 20))
    assert [path.name for path in quarantined_in(tmp_path)] == [active.name]


async def test_a_record_that_the_log_takes_never_is_set_aside_and_blocks_nothing(tmp_path: Path) -> None:
    broker = Broker()
    broker.change("down")
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        await sender.send_and_wait(3)
        await sender.send_and_wait(1, padding=5000)
        await sender.send_and_wait(3)
        broker.record_bytes_max = 4000
        broker.change("up")
        await until_direct(spool.publisher)
        stats = spool.publisher.stats
        assert (stats.quarantined_total, stats.drained_total) == (1, 6)
        await until(lambda: spool.publisher.stats.quarantined_segments == 1)
    (kept,) = quarantined_in(tmp_path)
    subscriber = await EmbeddedSubscriber.open(kept)
    (found,) = await subscriber.read(SPOOL_TOPIC, 0, 3, max_records=1, bytes_max=1)
    await subscriber.close()
    assert from_spool(found) == new_record(3, padding=5000)


async def test_a_quarantined_segment_can_be_brought_back_as_the_reference_says(tmp_path: Path) -> None:
    broker = Broker()
    broker.change("down")
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        await sender.send_and_wait(3)
        await sender.send_and_wait(1, padding=5000)
        broker.record_bytes_max = 4000
        broker.change("up")
        await until_direct(spool.publisher)
        await until(lambda: spool.publisher.stats.quarantined_segments == 1)
    (kept,) = quarantined_in(tmp_path)
    back = kept.rename(tmp_path / SEGMENTS / kept.name)
    (back / KEEP_FILE).unlink()
    (back / POSITION_FILE).unlink()
    broker.record_bytes_max = 10_000
    async with opened(tmp_path, broker) as spool:
        assert spool.publisher.stats.records == 4
        await until_direct(spool.publisher)
    assert set(broker.numbers) == {0, 1, 2, 3}
    assert quarantined_in(tmp_path) == []


# How far it is forwarded


async def test_what_is_forwarded_is_not_forwarded_again_after_a_restart(tmp_path: Path) -> None:
    broker = Broker()
    broker.change("down")
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        await sender.send_and_wait(2000)
        broker.change("up")
        await until(lambda: spool.publisher.stats.drained_total >= 400)
        broker.change("down")
        await until(lambda: spool.publisher.stats.state == "spooling")
        left = spool.publisher.stats.records
        assert 0 < left <= 1600
    broker.change("up")
    async with opened(tmp_path, broker) as spool:
        await until_direct(spool.publisher)
        assert spool.publisher.stats.drained_total == left
    assert sorted(set(broker.numbers)) == list(range(2000))


@pytest.mark.parametrize(
    "content", [b"", b"00000000000000000009 00000000\n", b"\xff\x00", b"99999999999999999999 00000000\n"]
)
async def test_a_position_that_cannot_be_trusted_means_from_the_start(tmp_path: Path, content: bytes) -> None:
    await leave_spooled(tmp_path, 10)
    (segment,) = segments_of(tmp_path)
    (segment / POSITION_FILE).write_bytes(content)
    assert sorted((await drain(tmp_path)).numbers) == list(range(10))


async def test_a_position_of_another_segment_is_not_taken_for_its_own(tmp_path: Path) -> None:
    await leave_spooled(tmp_path, 10)
    (segment,) = segments_of(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    on_disk.write_position(other, 7)
    (other / POSITION_FILE).rename(segment / POSITION_FILE)
    assert sorted((await drain(tmp_path)).numbers) == list(range(10))


async def test_a_position_beyond_the_end_means_from_the_start(tmp_path: Path) -> None:
    await leave_spooled(tmp_path, 10)
    (segment,) = segments_of(tmp_path)
    on_disk.write_position(segment, 11)
    assert sorted((await drain(tmp_path)).numbers) == list(range(10))


# Room


async def test_a_forwarded_segment_gives_its_room_back(tmp_path: Path) -> None:
    broker = Broker()
    broker.change("down")
    async with opened(tmp_path, broker, settings=small(segment_bytes=2_000_000)) as spool:
        sender = Sender(publisher=spool.publisher)
        for _ in range(60):
            await sender.send_and_wait(50, padding=3000)
        assert len(segments_of(tmp_path)) >= 4
        used = spool.publisher.stats.disk_bytes
        assert used > 9_000_000
        assert sum(on_disk.disk_bytes(path) for path in segments_of(tmp_path)) == pytest.approx(used, rel=0.6)
        broker.change("up")
        await until_direct(spool.publisher)
        await until(lambda: len(segments_of(tmp_path)) == 1)
        await until(lambda: spool.publisher.stats.disk_bytes < 1_100_000)
        assert sum(on_disk.disk_bytes(path) for path in segments_of(tmp_path)) < 3_000_000


async def test_what_a_killed_process_left_half_made_or_half_deleted_is_removed(tmp_path: Path) -> None:
    await leave_spooled(tmp_path, 10)
    folder = tmp_path / SEGMENTS
    (folder / "trash-00000001-0badcafe").mkdir()
    (folder / "trash-00000001-0badcafe" / LOG_FILE).write_bytes(b"half")
    (folder / "00000007-0badcafe").mkdir()
    (folder / "00000008-0badcafe").mkdir()
    (folder / "00000008-0badcafe" / LOG_FILE).touch()
    (folder / "00000009-0badcafe").mkdir()
    sqlite3.connect(folder / "00000009-0badcafe" / LOG_FILE).execute("PRAGMA journal_mode = WAL").close()
    assert sorted((await drain(tmp_path)).numbers) == list(range(10))
    assert quarantined_in(tmp_path) == []
    assert len(segments_of(tmp_path)) == 1, "the one that was written to last"


async def test_a_memory_of_partitions_that_makes_no_sense_is_overlooked(tmp_path: Path) -> None:
    tmp_path.joinpath(TOPICS_FILE).write_bytes(b'{"adt.events.v1": ')
    broker = Broker()
    broker.change("down")
    async with opened(tmp_path, broker) as spool:
        assert await spool.publisher.partitions("adt.events.v1") == (0, 1, 2)


# A start with much in the spool


async def fill(segment: Path, begin: int, count: int) -> None:
    """Write records into a segment as the spool does, by the embedded log itself."""
    writer = await EmbeddedPublisher.open(
        segment,
        on_failure=lambda error: pytest.fail(str(error)),
        partitions=1,
        limits=PublisherLimits(queue_records_max=count, queue_bytes_max=2**30),
    )
    last: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()
    for number in range(begin, begin + count):
        on_done = last.set_result if number == begin + count - 1 else _ignore
        writer.submit(to_spool(new_record(number)), on_done)
    await last
    await writer.close()


def _ignore(_outcome: PublishOutcome) -> None:
    pass


async def accepts_after(folder: Path, records: int) -> float:
    """Return how long a start with so many spooled records takes until a new one is acknowledged."""
    broker = Broker()
    broker.change("down")
    begin = time.monotonic()
    async with opened(folder, broker, settings=small(bytes_max=2**40)) as spool:
        await spool.publisher.publish(new_record(10_000_000))
        took_s = time.monotonic() - begin
        assert spool.publisher.stats.records == records + 1
        assert spool.publisher.stats.oldest_timestamp_us == new_record(0).timestamp_us
    return took_s


async def test_a_start_takes_no_longer_for_what_is_in_the_spool(tmp_path: Path) -> None:
    on_disk.prepare(tmp_path)
    for part in range(10):
        await fill(on_disk.new_segment(tmp_path).folder, part * 2000, 2000)
    assert await accepts_after(tmp_path, 20_000) < 3


@pytest.mark.slow
async def test_a_start_with_a_million_spooled_records_accepts_within_five_seconds(tmp_path: Path) -> None:
    on_disk.prepare(tmp_path)
    for part in range(50):
        await fill(on_disk.new_segment(tmp_path).folder, part * 20_000, 20_000)
    took_s = await accepts_after(tmp_path, 1_000_000)
    print(f"a start with 1,000,000 spooled records accepted after {took_s:.2f} s")  # noqa: T201 - a figure to report
    assert took_s < 5
