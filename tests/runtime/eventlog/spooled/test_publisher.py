"""What callers are told, and what reaches the log in which order, while the log comes and goes (F17 to F21)."""

import asyncio
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from services.runtime.errors import Ambiguous, Permanent, Transient
from services.runtime.eventlog.port import Position
from services.runtime.eventlog.spooled.entry import SPOOLED_OFFSET
from services.runtime.eventlog.spooled.publisher import SpooledPublisher
from services.runtime.eventlog.spooled.settings import SpoolSettings
from services.runtime.eventlog.spooled.spool import BATCH_RECORDS_MAX
from tests.runtime.eventlog.embedded.support import sqlite_error, watched
from tests.runtime.eventlog.spooled.support import (
    PARTITIONS,
    QUICK,
    TOPIC,
    Broker,
    Mood,
    Sender,
    new_record,
    opened,
    small,
    until,
    until_direct,
)


def assert_all_there_in_order(broker: Broker, sender: Sender) -> None:
    """Check that what was acknowledged is in the log, and first occurrences are in the order of submission."""
    for partition in range(PARTITIONS):
        found = broker.first_occurrences(partition)
        assert found == sorted(found)
    assert set(sender.acknowledged) <= set(broker.numbers)


# While the log is well


async def test_the_answer_of_the_log_is_passed_on_and_the_spool_stays_empty(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        await sender.send_and_wait(300)
        assert [sender.outcomes[number] for number in range(300)] == [
            Position(topic=TOPIC, partition=number % PARTITIONS, offset=number // PARTITIONS) for number in range(300)
        ]
        stats = spool.publisher.stats
        assert (stats.state, stats.records, stats.spooled_total, stats.oldest_timestamp_us) == ("direct", 0, 0, None)


async def test_what_the_log_refuses_for_good_is_passed_on_and_costs_the_others_nothing(tmp_path: Path) -> None:
    broker = Broker()
    broker.record_bytes_max = 1000
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        sender.send(2)
        sender.send(1, padding=2000)
        await sender.send_and_wait(2)
        refused = sender.outcomes[2]
        assert isinstance(refused, Permanent)
        assert refused.code == "record-too-large"
        assert len(sender.acknowledged) == 4
        assert spool.publisher.stats.state == "direct"


async def test_more_than_may_wait_is_refused_at_once(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker, settings=small(queue_records_max=10)) as spool:
        broker.change("frozen")
        sender = Sender(publisher=spool.publisher)
        sender.send(12)
        await until(lambda: not sender.unanswered)
        assert sender.acknowledged == list(range(10))
        for number in (10, 11):
            outcome = sender.outcomes[number]
            assert isinstance(outcome, Transient)
            assert outcome.code == "log-overloaded"
        broker.change("up")


# When it is lost


@pytest.mark.parametrize("mood", ["down", "frozen", "deaf"])
async def test_what_the_log_does_not_answer_is_spooled_in_order_and_forwarded_later(tmp_path: Path, mood: Mood) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        await sender.send_and_wait(30)
        broker.change(mood)
        sender.send(30)
        await until(lambda: not sender.unanswered)
        assert sender.acknowledged[:30] == list(range(30))
        await until(lambda: spool.publisher.stats.outages_total == 1)
        broker.change("up")
        await until_direct(spool.publisher)
        await sender.send_and_wait(30)
        assert sorted(sender.acknowledged) == list(range(90))
        assert_all_there_in_order(broker, sender)


async def test_a_spooled_record_is_durable_without_a_place_in_the_log(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        broker.change("down")
        position = await spool.publisher.publish(new_record(1))
        assert position == Position(topic=TOPIC, partition=1, offset=SPOOLED_OFFSET)
        stats = spool.publisher.stats
        assert (stats.state, stats.records, stats.last_error) == ("spooling", 1, "log-unavailable")
        assert stats.oldest_timestamp_us == new_record(1).timestamp_us
        assert stats.bytes > 0


async def test_a_log_that_does_not_answer_is_noticed_within_two_seconds(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker, settings=SpoolSettings(bytes_max=2**30)) as spool:
        broker.change("frozen")
        begin = time.monotonic()
        await spool.publisher.publish(new_record(1))
        took_s = time.monotonic() - begin
        broker.change("up")
    assert 1.7 < took_s < 2.5, "2 s and the disk's sync"


async def test_a_loop_that_was_held_up_does_not_take_a_quick_log_for_a_dead_one(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        sender.send(1)
        time.sleep(QUICK.answer_timeout_s * 2)  # noqa: ASYNC251 - the point of the test
        await until(lambda: not sender.unanswered)
        assert spool.publisher.stats.outages_total == 0


async def test_records_that_the_log_answered_are_not_spooled_with_the_others(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        sender.send(5)
        asyncio.get_running_loop().call_soon(broker.change, "down")  # between the fifth answer and the sixth
        sender.send(7)
        await until(lambda: not sender.unanswered)
        assert spool.publisher.stats.spooled_total == 7
        broker.change("up")
        await until_direct(spool.publisher)
        assert sorted(broker.numbers) == list(range(12)), "each once"


async def test_an_answer_that_comes_after_the_record_was_spooled_changes_nothing(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("frozen")
        sender.send(6)
        await until(lambda: not sender.unanswered)
        broker.change("up")  # what lay in the sockets is stored and answered now; the sender fails on a second answer
        await until_direct(spool.publisher)
        assert_all_there_in_order(broker, sender)


async def test_while_anything_is_spooled_everything_goes_through_the_spool(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        await sender.send_and_wait(BATCH_RECORDS_MAX * 5)
        broker.change("up")
        await until(lambda: spool.publisher.stats.state == "draining")
        sender.send(100)
        await until_direct(spool.publisher)
        await until(lambda: not sender.unanswered)
        assert spool.publisher.stats.drained_total >= BATCH_RECORDS_MAX * 5
        assert_all_there_in_order(broker, sender)
        assert len(broker.numbers) == sender.next_number


async def test_the_circuit_closes_although_records_keep_coming(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        await sender.send_and_wait(1000)
        broker.change("up")

        async def load() -> None:
            while True:
                sender.send(1)
                await asyncio.sleep(0.001)  # so that there is always something on its way to the disk

        loading = asyncio.create_task(load())
        await until(lambda: spool.publisher.stats.state == "direct")
        loading.cancel()
        await until(lambda: not sender.unanswered)
        assert sender.acknowledged == list(range(sender.next_number))
        assert_all_there_in_order(broker, sender)


async def test_a_log_that_flaps_loses_and_reorders_nothing(tmp_path: Path) -> None:
    moods: list[Mood] = ["down", "up", "frozen", "up", "deaf", "up", "down", "frozen", "up"]
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        for mood in moods * 3:
            broker.change(mood)
            sender.send(50)
            await asyncio.sleep(0.01)
        await until_direct(spool.publisher)
        await until(lambda: not sender.unanswered)
        assert sorted(sender.acknowledged) == list(range(50 * len(moods) * 3))
        assert_all_there_in_order(broker, sender)


async def test_a_log_without_its_topic_keeps_what_is_acknowledged_until_the_topic_is_there(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("topicless")
        await sender.send_and_wait(20)
        assert sender.acknowledged == list(range(20))
        assert spool.publisher.stats.last_error == "topic-unknown"
        broker.change("up")
        await until_direct(spool.publisher)
        assert_all_there_in_order(broker, sender)


async def test_a_partition_without_a_leader_does_not_send_the_others_again_and_again(tmp_path: Path) -> None:
    broker = Broker()
    broker.leaderless = {1}
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        sender.send(90)
        await until(lambda: not sender.unanswered)
        assert sender.acknowledged == list(range(90))
        tries = broker.opened
        await until(lambda: broker.opened >= tries + 5)
        assert broker.first_occurrences(0) == list(range(0, 90, 3)), "those that can be stored are, meanwhile"
        assert spool.publisher.stats.records > 80
        broker.leaderless = set()
        await until_direct(spool.publisher)
        assert_all_there_in_order(broker, sender)
        assert max(Counter(broker.numbers).values()) <= 2, "by the one that was lost, and once more"


async def test_a_publisher_whose_close_hangs_holds_up_nothing(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        broker.closes_hang = True
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        await sender.send_and_wait(3)
        broker.change("up")
        await until_direct(spool.publisher)
        broker.closes_hang = False
        assert broker.opened == 2


# The limit


async def test_past_its_limit_the_spool_refuses_until_forwarding_has_made_room(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker, settings=small(bytes_max=400_000)) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        while spool.publisher.stats.state != "full":
            await sender.send_and_wait(10, padding=2000)
        accepted = len(sender.acknowledged)
        assert 50 < accepted < 250
        refused = sender.outcomes[sender.next_number - 1]
        assert isinstance(refused, Transient)
        assert refused.code == "log-unavailable"
        assert spool.publisher.stats.disk_bytes < 500_000
        assert spool.publisher.stats.refused_total == sender.next_number - accepted

        broker.change("up")
        await until_direct(spool.publisher)
        await sender.send_and_wait(10)
        assert len(sender.acknowledged) == accepted + 10
        assert_all_there_in_order(broker, sender)


async def test_what_was_handed_to_the_log_before_is_spooled_even_past_the_limit(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker, settings=small(bytes_max=10_000)) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("frozen")
        sender.send(20, padding=2000)
        await until(lambda: not sender.unanswered)
        assert sender.acknowledged == list(range(20))
        broker.change("up")
        await until_direct(spool.publisher)


# When the spool's own disk fails


class FailingCommits:
    """Fails commits of the spool with an error, while told to."""

    def __init__(self, error: sqlite3.Error) -> None:
        self.error: sqlite3.Error | None = None
        self._kind = error

    def start(self) -> None:
        self.error = self._kind

    def stop(self) -> None:
        self.error = None

    def __call__(self, _connection: sqlite3.Connection, sql: str) -> None:
        if sql == "COMMIT" and self.error is not None:
            raise self.error


async def test_a_full_disk_is_passed_on_and_heals(tmp_path: Path) -> None:
    broker = Broker()
    disk = FailingCommits(sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL"))
    async with opened(tmp_path, broker, factory=watched(disk)) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        disk.start()
        await sender.send_and_wait(1)  # was handed to the log, which did not say what became of it
        assert isinstance(sender.outcomes[0], Ambiguous)
        await sender.send_and_wait(1)
        refused = sender.outcomes[1]
        assert isinstance(refused, Transient)
        assert refused.code == "log-unavailable"
        assert spool.publisher.stats.records == 0
        disk.stop()
        await sender.send_and_wait(1)
        assert sender.acknowledged == [2]
        broker.change("up")
        await until_direct(spool.publisher)
        assert_all_there_in_order(broker, sender)
        assert spool.failures == []


async def test_a_failed_sync_of_the_spool_ends_the_publisher_although_the_log_is_well(tmp_path: Path) -> None:
    broker = Broker()
    disk = FailingCommits(sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"))
    async with opened(tmp_path, broker, factory=watched(disk)) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        await sender.send_and_wait(5)
        disk.start()
        await sender.send_and_wait(1)
        assert isinstance(sender.outcomes[5], Ambiguous)
        await until(lambda: bool(spool.failures))
        assert [failure.code for failure in spool.failures] == ["log-failed"]
        broker.change("up")
        await sender.send_and_wait(1)
        refused = sender.outcomes[6]
        assert isinstance(refused, Transient)
        assert refused.code == "log-failed"


# Start and end


async def test_a_start_while_the_log_is_away_accepts_with_the_declared_partitions(tmp_path: Path) -> None:
    broker = Broker()
    broker.change("down")
    async with opened(tmp_path, broker, topics={TOPIC: 2}) as spool:
        assert await spool.publisher.partitions(TOPIC) == (0, 1)
        sender = Sender(publisher=spool.publisher)
        sender.send(3, partition=1)
        await until(lambda: not sender.unanswered)
        assert sender.acknowledged == [0, 1, 2]
        broker.change("up")
        await until_direct(spool.publisher)
        assert await spool.publisher.partitions(TOPIC) == (0, 1), "they do not change while the process runs"


async def test_a_start_while_the_log_is_away_remembers_the_partitions_that_it_had(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker, topics={TOPIC: 2}) as spool:
        assert await spool.publisher.partitions(TOPIC) == (0, 1, 2)
    broker.change("frozen")
    async with opened(tmp_path, broker, topics={TOPIC: 2}) as spool:
        assert await spool.publisher.partitions(TOPIC) == (0, 1, 2)
        broker.change("up")


async def test_a_start_with_a_full_spool_accepts_at_once_and_forwards_what_is_there_first(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("down")
        await sender.send_and_wait(700)
        oldest = spool.publisher.stats.oldest_timestamp_us
    async with opened(tmp_path, broker) as spool:
        stats = spool.publisher.stats
        assert (stats.state, stats.records, stats.oldest_timestamp_us) == ("spooling", 700, oldest)
        sender.publisher = spool.publisher
        await sender.send_and_wait(50)
        broker.change("up")
        await until_direct(spool.publisher)
        assert_all_there_in_order(broker, sender)
        assert sorted(broker.numbers) == list(range(750))


async def test_closing_while_the_log_hangs_spools_what_it_has_not_answered(tmp_path: Path) -> None:
    broker = Broker()
    sender: Sender
    async with opened(tmp_path, broker) as spool:
        sender = Sender(publisher=spool.publisher)
        broker.change("frozen")
        broker.closes_hang = True
        sender.send(10)
        await until(lambda: True)
        closing = asyncio.create_task(spool.publisher.close())
        await until(lambda: not sender.unanswered)
        broker.closes_hang = False
        broker.change("up")
        await closing
    assert sender.acknowledged == list(range(10))
    async with opened(tmp_path, broker) as spool:
        await until_direct(spool.publisher)
        assert_all_there_in_order(broker, sender)


async def test_a_spool_has_one_owner(tmp_path: Path) -> None:
    broker = Broker()
    async with opened(tmp_path, broker):
        with pytest.raises(Permanent) as refusal:
            async with opened(tmp_path, broker):
                pytest.fail("two processes would forward the same records")
        assert refusal.value.code == "data-folder-in-use"
        assert "--spool" in refusal.value.message


@pytest.mark.parametrize("mood", ["down", "frozen"])
async def test_a_topic_that_is_not_declared_is_refused_whatever_the_log_does(tmp_path: Path, mood: Mood) -> None:
    broker = Broker()
    broker.change(mood)
    async with opened(tmp_path, broker, topics={"followup.tasks.v1": 1}) as spool:
        with pytest.raises(Permanent) as refusal:
            await spool.publisher.publish(new_record(1))
        assert refusal.value.code == "topic-unknown"
        with pytest.raises(Permanent):
            await spool.publisher.partitions(TOPIC)
        broker.change("up")


def test_the_settings_that_are_not_said_are_those_of_the_issue() -> None:
    settings = SpoolSettings(bytes_max=1)
    assert settings.answer_timeout_s == 2.0
    assert settings.probe_interval_s == 0.25
    assert BATCH_RECORDS_MAX == 200


async def test_numbers_for_metrics_are_plain(tmp_path: Path) -> None:
    async with opened(tmp_path, Broker()) as spool:
        assert isinstance(spool.publisher, SpooledPublisher)
        stats = spool.publisher.stats
        assert all(
            value is None or isinstance(value, int | str)
            for value in (getattr(stats, name) for name in stats.__slots__)
        )
