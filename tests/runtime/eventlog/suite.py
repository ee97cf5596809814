"""What every event log adapter keeps: the port's docstrings as tests.

An adapter's test module subclasses `EventLogSuite`, says its limit for one record and gives the fixtures `open_log`
(opens the same log every time it is called, and closes what is still open at the end), `topic` and `other_topic`
(topics that exist, have at least two partitions and are empty).
Nothing here assumes dense offsets, offsets from 0, a number of partitions, or how soon a sync happens, so that Kafka
runs it unchanged.
"""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from services.runtime.errors import AfterstayError, Permanent, Transient
from services.runtime.eventlog.port import (
    GroupPositions,
    NewRecord,
    Position,
    Publisher,
    PublishOutcome,
    Record,
    Subscriber,
)

WAIT_S = 20.0  # a bound for what must happen, never a pause
BYTES_MAX = 64 * 1024 * 1024
ANY_BYTE = bytes(range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLog:
    publisher: Publisher
    subscriber: Subscriber
    groups: GroupPositions

    async def close(self) -> None:
        await self.publisher.close()
        await self.subscriber.close()
        await self.groups.close()


Opener = Callable[[], Awaitable[OpenLog]]


def new_record(topic: str, partition: int = 0, value: bytes = b"value") -> NewRecord:
    return NewRecord(
        topic=topic,
        partition=partition,
        key=b"key",
        value=value,
        headers=(("raw", b"MSH|^~\\&\r"),),
        timestamp_us=1_790_000_000_123_000,
    )


async def read_all(subscriber: Subscriber, topic: str, *, page: int = 1000) -> dict[int, list[Record]]:
    """Read every partition from its beginning to its end, page by page."""
    found: dict[int, list[Record]] = {}
    for partition, begin in (await subscriber.begin_offsets(topic)).items():
        records: list[Record] = []
        offset = begin
        while batch := await subscriber.read(topic, partition, offset, max_records=page, bytes_max=BYTES_MAX):
            assert len(batch) <= page
            records += batch
            offset = batch[-1].offset + 1
        found[partition] = records
    return found


class Outcomes:
    """Collects what `submit` reports, and lets a test wait until all of it has come."""

    def __init__(self, expected: int) -> None:
        self.told: list[tuple[int, PublishOutcome]] = []
        self._expected = expected
        self._complete = asyncio.Event()

    def taker(self, number: int) -> Callable[[PublishOutcome], None]:
        def on_done(outcome: PublishOutcome) -> None:
            self.told.append((number, outcome))
            if len(self.told) == self._expected:
                self._complete.set()

        return on_done

    async def all(self) -> list[tuple[int, PublishOutcome]]:
        async with asyncio.timeout(WAIT_S):
            await self._complete.wait()
        return self.told


class EventLogSuite:
    record_bytes_max: int
    """The adapter's limit for one record."""

    @pytest.fixture
    async def log(self, open_log: Opener) -> OpenLog:
        return await open_log()

    @pytest.fixture
    def publisher(self, log: OpenLog) -> Publisher:
        return log.publisher

    @pytest.fixture
    def subscriber(self, log: OpenLog) -> Subscriber:
        return log.subscriber

    @pytest.fixture
    def groups(self, log: OpenLog) -> GroupPositions:
        return log.groups

    @pytest.fixture
    def reopen(self, log: OpenLog, open_log: Opener) -> Opener:
        async def reopen() -> OpenLog:
            await log.close()
            return await open_log()

        return reopen

    # What is written is what is read

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({}, id="plain"),
            pytest.param({"headers": ()}, id="no headers"),
            pytest.param({"timestamp_us": 1_790_000_000_123_456}, id="microseconds"),
            pytest.param({"key": b"", "value": b"", "headers": (("empty", b""),)}, id="everything empty"),
            pytest.param({"key": ANY_BYTE, "value": ANY_BYTE * 9, "headers": (("raw", ANY_BYTE),)}, id="any byte"),
            pytest.param({"headers": (("a", b"1"), ("a", b"2"), ("b", b"3"))}, id="a header name twice"),
            pytest.param({"value": b"x" * 300_000, "headers": (("raw", b"y" * 300_000),)}, id="large"),
        ],
    )
    async def test_a_record_is_read_as_it_was_published(
        self, publisher: Publisher, subscriber: Subscriber, topic: str, changes: dict[str, Any]
    ) -> None:
        sent = replace(new_record(topic), **changes)
        position = await publisher.publish(sent)
        assert (position.topic, position.partition) == (topic, 0)
        (record,) = await subscriber.read(topic, 0, position.offset, max_records=10, bytes_max=BYTES_MAX)
        assert record == Record(
            topic=topic,
            partition=0,
            offset=position.offset,
            key=sent.key,
            value=sent.value,
            headers=sent.headers,
            timestamp_us=sent.timestamp_us,
        )
        assert not record.damaged

    async def test_a_header_is_found_by_its_name(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        sent = replace(new_record(topic), headers=(("a", b"1"), ("a", b"2")))
        position = await publisher.publish(sent)
        (record,) = await subscriber.read(topic, 0, position.offset, max_records=1, bytes_max=BYTES_MAX)
        assert record.header("a") == b"1"
        assert record.header("b") is None

    async def test_a_published_record_is_seen_at_once_by_a_reader_that_was_there_before(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        for number in range(20):
            ends = await subscriber.end_offsets(topic)
            position = await publisher.publish(new_record(topic, value=b"%d" % number))
            assert position.offset >= ends[0]
            records = await subscriber.read(topic, 0, position.offset, max_records=5, bytes_max=BYTES_MAX)
            assert [record.value for record in records] == [b"%d" % number]

    # Order and offsets

    async def test_records_handed_over_one_after_the_other_keep_their_order_in_each_partition(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        partitions = await publisher.partitions(topic)
        choose = random.Random(7)
        outcomes = Outcomes(600)
        sent: dict[int, list[bytes]] = {partition: [] for partition in partitions}
        for number in range(600):
            partition = choose.choice(partitions)
            sent[partition].append(b"%d" % number)
            publisher.submit(new_record(topic, partition, b"%d" % number), outcomes.taker(number))
            if choose.random() < 0.05:
                await asyncio.sleep(0)
        await outcomes.all()
        found = await read_all(subscriber, topic)
        assert {partition: [record.value for record in records] for partition, records in found.items()} == sent

    async def test_offsets_rise_strictly_within_a_partition(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        positions = [await publisher.publish(new_record(topic)) for _ in range(10)]
        offsets = [position.offset for position in positions]
        assert offsets == sorted(set(offsets))
        assert [record.offset for record in (await read_all(subscriber, topic))[0]] == offsets

    async def test_concurrent_publishers_each_learn_the_place_of_their_own_record(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        partitions = await publisher.partitions(topic)

        async def publish(number: int) -> tuple[int, Position]:
            record = new_record(topic, partitions[number % len(partitions)], b"%d" % number)
            return number, await publisher.publish(record)

        told = dict(await asyncio.gather(*(publish(number) for number in range(300))))
        found = await read_all(subscriber, topic)
        stored = {int(record.value): (record.partition, record.offset) for part in found.values() for record in part}
        assert stored == {number: (position.partition, position.offset) for number, position in told.items()}

    async def test_topics_do_not_see_each_other(
        self, publisher: Publisher, subscriber: Subscriber, topic: str, other_topic: str
    ) -> None:
        await publisher.publish(new_record(topic, value=b"here"))
        await publisher.publish(new_record(other_topic, value=b"there"))
        assert [record.value for record in (await read_all(subscriber, topic))[0]] == [b"here"]
        assert [record.value for record in (await read_all(subscriber, other_topic))[0]] == [b"there"]

    async def test_publisher_and_subscriber_agree_on_the_partitions(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        partitions = await publisher.partitions(topic)
        assert partitions == tuple(range(len(partitions)))
        assert partitions
        assert await subscriber.partitions(topic) == partitions
        assert tuple(await subscriber.begin_offsets(topic)) == partitions
        assert tuple(await subscriber.end_offsets(topic)) == partitions

    # Reading

    async def test_an_offset_means_next_to_read(self, publisher: Publisher, subscriber: Subscriber, topic: str) -> None:
        first = await publisher.publish(new_record(topic, value=b"first"))
        await publisher.publish(new_record(topic, value=b"second"))
        records = await subscriber.read(topic, 0, first.offset + 1, max_records=9, bytes_max=BYTES_MAX)
        assert [record.value for record in records] == [b"second"]

    async def test_reading_at_the_end_gives_nothing(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        end = (await subscriber.end_offsets(topic))[0]
        assert await subscriber.read(topic, 0, end, max_records=9, bytes_max=BYTES_MAX) == []
        position = await publisher.publish(new_record(topic))
        end = (await subscriber.end_offsets(topic))[0]
        assert end > position.offset
        assert await subscriber.read(topic, 0, end, max_records=9, bytes_max=BYTES_MAX) == []

    async def test_reading_below_the_beginning_starts_at_the_beginning(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        await publisher.publish(new_record(topic))
        begin = (await subscriber.begin_offsets(topic))[0]
        at_begin = await subscriber.read(topic, 0, begin, max_records=9, bytes_max=BYTES_MAX)
        below = await subscriber.read(topic, 0, min(begin - 1, 0), max_records=9, bytes_max=BYTES_MAX)
        assert len(at_begin) == 1
        assert below == at_begin

    @pytest.mark.parametrize("page", [1, 2, 3, 7, 1000])
    async def test_pages_of_any_size_give_every_record_once(
        self, publisher: Publisher, subscriber: Subscriber, topic: str, page: int
    ) -> None:
        outcomes = Outcomes(20)
        for number in range(20):
            publisher.submit(new_record(topic, value=b"%d" % number), outcomes.taker(number))
        await outcomes.all()
        found = await read_all(subscriber, topic, page=page)
        assert [int(record.value) for record in found[0]] == list(range(20))

    async def test_bytes_max_ends_a_page_before_it_would_be_passed(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        first = await publisher.publish(new_record(topic, value=b"x" * 1000))
        for _ in range(9):
            await publisher.publish(new_record(topic, value=b"x" * 1000))
        records = await subscriber.read(topic, 0, first.offset, max_records=100, bytes_max=3500)
        assert len(records) == 3

    async def test_a_record_above_bytes_max_comes_alone_instead_of_blocking(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        position = await publisher.publish(new_record(topic, value=b"x" * 1000))
        await publisher.publish(new_record(topic))
        records = await subscriber.read(topic, 0, position.offset, max_records=100, bytes_max=1)
        assert [record.value for record in records] == [b"x" * 1000]

    async def test_an_unknown_partition_cannot_be_read(self, subscriber: Subscriber, topic: str) -> None:
        unknown = max(await subscriber.partitions(topic)) + 1
        with pytest.raises(Permanent) as refusal:
            await subscriber.read(topic, unknown, 0, max_records=1, bytes_max=BYTES_MAX)
        assert refusal.value.code == "partition-unknown"

    # Waiting

    async def test_waiting_ends_at_once_when_something_is_there_already(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        position = await publisher.publish(new_record(topic))
        assert await subscriber.wait_for_records(topic, {0: position.offset}, timeout_s=WAIT_S)

    async def test_waiting_ends_when_a_record_arrives(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        ends = await subscriber.end_offsets(topic)
        waiting = asyncio.create_task(subscriber.wait_for_records(topic, ends, timeout_s=WAIT_S))
        await asyncio.sleep(0)
        assert not waiting.done()
        await publisher.publish(new_record(topic))
        assert await waiting

    async def test_waiting_gives_up_after_its_time_out(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        await publisher.publish(new_record(topic))
        ends = await subscriber.end_offsets(topic)
        assert not await subscriber.wait_for_records(topic, ends, timeout_s=0.05)

    async def test_waiting_overlooks_topics_and_partitions_that_were_not_asked_for(
        self, publisher: Publisher, subscriber: Subscriber, topic: str, other_topic: str
    ) -> None:
        ends = await subscriber.end_offsets(topic)
        await publisher.publish(new_record(other_topic))
        await publisher.publish(new_record(topic, partition=max(ends)))
        asked = {partition: end for partition, end in ends.items() if partition != max(ends)}
        assert not await subscriber.wait_for_records(topic, asked, timeout_s=0.05)

    # Publishing

    async def test_submit_reports_each_record_once_later_and_on_the_loop_thread(
        self, publisher: Publisher, topic: str
    ) -> None:
        outcomes = Outcomes(50)
        threads: set[int] = set()

        def on_done(number: int) -> Callable[[PublishOutcome], None]:
            take = outcomes.taker(number)

            def remember(outcome: PublishOutcome) -> None:
                threads.add(threading.get_ident())
                take(outcome)

            return remember

        for number in range(50):
            publisher.submit(new_record(topic), on_done(number))
            assert outcomes.told == []
        told = await outcomes.all()
        assert [number for number, _outcome in told] == list(range(50))
        assert all(isinstance(outcome, Position) for _number, outcome in told)
        assert threads == {threading.get_ident()}

    async def test_a_callback_that_raises_does_not_cost_the_others_their_answer(
        self, publisher: Publisher, topic: str
    ) -> None:
        heard: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context["exception"]))
        outcomes = Outcomes(2)

        def broken(_outcome: PublishOutcome) -> None:
            raise ZeroDivisionError

        publisher.submit(new_record(topic), outcomes.taker(0))
        publisher.submit(new_record(topic), broken)
        publisher.submit(new_record(topic), outcomes.taker(2))
        assert [number for number, _outcome in await outcomes.all()] == [0, 2]
        assert [type(exception) for exception in heard] == [ZeroDivisionError]

    async def test_a_canceled_publish_leaves_the_publisher_working(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        canceled = asyncio.create_task(publisher.publish(new_record(topic, value=b"canceled")))
        await asyncio.sleep(0)
        canceled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await canceled
        await publisher.publish(new_record(topic, value=b"next"))
        values = [record.value for record in (await read_all(subscriber, topic))[0]]
        assert values[-1] == b"next"
        assert set(values) <= {b"canceled", b"next"}

    async def test_what_can_never_be_stored_is_refused_for_good_and_costs_the_others_nothing(
        self, publisher: Publisher, subscriber: Subscriber, topic: str
    ) -> None:
        unknown = max(await publisher.partitions(topic)) + 1
        refused = {
            "partition-unknown": new_record(topic, unknown),
            "topic-unknown": new_record("no/topic is called this"),
            "record-too-large": new_record(topic, value=bytes(self.record_bytes_max + 1)),
        }
        outcomes = Outcomes(len(refused) + 1)
        publisher.submit(new_record(topic, value=b"good"), outcomes.taker(0))
        for record in refused.values():
            publisher.submit(record, outcomes.taker(1))
        told = await outcomes.all()
        assert [type(outcome) for number, outcome in told if number == 0] == [Position]
        refusals = [outcome for number, outcome in told if number == 1]
        assert all(isinstance(refusal, Permanent) for refusal in refusals)
        assert {refusal.code for refusal in refusals if isinstance(refusal, AfterstayError)} == set(refused)
        assert [record.value for record in (await read_all(subscriber, topic))[0]] == [b"good"]

    async def test_publish_raises_what_submit_reports(self, publisher: Publisher, topic: str) -> None:
        unknown = max(await publisher.partitions(topic)) + 1
        with pytest.raises(Permanent) as refusal:
            await publisher.publish(new_record(topic, unknown))
        assert refusal.value.code == "partition-unknown"

    # Closing and opening again

    async def test_close_finishes_what_was_handed_over_and_refuses_what_comes_later(
        self, log: OpenLog, open_log: Opener, topic: str
    ) -> None:
        outcomes = Outcomes(101)
        for number in range(100):
            log.publisher.submit(new_record(topic, value=b"%d" % number), outcomes.taker(number))
        await log.publisher.close()
        log.publisher.submit(new_record(topic, value=b"late"), outcomes.taker(100))
        told = dict(await outcomes.all())
        late = told.pop(100)
        assert isinstance(late, Transient)
        assert late.code == "log-unavailable"
        assert all(isinstance(outcome, Position) for outcome in told.values())
        again = await open_log()
        assert len((await read_all(again.subscriber, topic))[0]) == 100

    async def test_closing_twice_is_harmless(self, log: OpenLog) -> None:
        await log.close()
        await log.close()

    async def test_records_offsets_and_positions_survive_reopening(
        self, log: OpenLog, reopen: Opener, topic: str
    ) -> None:
        before = [await log.publisher.publish(new_record(topic, value=b"%d" % number)) for number in range(5)]
        await log.groups.commit("matching", topic, {0: before[2].offset})
        found = await read_all(log.subscriber, topic)

        again = await reopen()
        assert await read_all(again.subscriber, topic) == found
        assert await again.groups.committed("matching", topic) == {0: before[2].offset}
        after = await again.publisher.publish(new_record(topic, value=b"after"))
        assert after.offset > before[-1].offset

    # Group positions

    async def test_a_group_that_never_committed_has_no_positions(self, groups: GroupPositions, topic: str) -> None:
        assert await groups.committed("matching", topic) == {}

    async def test_a_commit_moves_the_partitions_it_names_and_no_others(
        self, publisher: Publisher, groups: GroupPositions, topic: str, other_topic: str
    ) -> None:
        position = await publisher.publish(new_record(topic))
        last = max(await publisher.partitions(topic))
        await groups.commit("matching", topic, {0: position.offset})
        await groups.commit("matching", topic, {last: 0})
        await groups.commit("matching", topic, {0: position.offset + 1})
        assert await groups.committed("matching", topic) == {0: position.offset + 1, last: 0}
        assert await groups.committed("export", topic) == {}
        assert await groups.committed("matching", other_topic) == {}

    async def test_a_position_may_be_set_back(self, publisher: Publisher, groups: GroupPositions, topic: str) -> None:
        position = await publisher.publish(new_record(topic))
        await groups.commit("matching", topic, {0: position.offset + 1})
        await groups.commit("matching", topic, {0: position.offset})
        assert await groups.committed("matching", topic) == {0: position.offset}
