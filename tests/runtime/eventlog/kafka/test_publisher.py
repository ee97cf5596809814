"""Goal: whatever a broker answers or fails to, each record is told once what is certain of it, and order holds."""

import asyncio

import pytest
from aiokafka.record.memory_records import MemoryRecords

from services.runtime.eventlog.kafka import publisher as module
from services.runtime.eventlog.port import OnPublished, PublishOutcome
from tests.runtime.eventlog.kafka.support import ScriptedClient, publisher_on, record, told, until

NOT_LEADER, TOO_LARGE, TIMED_OUT, AFTER_APPEND, BAD_TIMESTAMP, NOT_AUTHORIZED = 6, 10, 7, 20, 32, 29


def values_in(batch: bytes) -> list[bytes | None]:
    records = MemoryRecords(batch)
    found: list[bytes | None] = []
    while records.has_next():
        batch_read = records.next_batch()
        assert batch_read is not None
        found += [one.value for one in batch_read]
    return found


class Told:
    """What became of each record, by its value, in the order of telling."""

    def __init__(self) -> None:
        self.all: list[tuple[bytes, str | int]] = []

    def of(self, value: bytes) -> OnPublished:
        def on_done(outcome: PublishOutcome) -> None:
            self.all.append((value, told(outcome)))

        return on_done


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient()


async def test_what_queues_while_a_request_is_on_its_way_leaves_as_one_batch_for_each_partition(
    client: ScriptedClient,
) -> None:
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"first"), heard.of(b"first"))
    assert {partition: values_in(batch) for partition, batch in (await client.request()).items()} == {0: [b"first"]}
    for number in range(6):
        publisher.submit(record(b"%d" % number, number % 2), heard.of(b"%d" % number))
    await asyncio.sleep(0.01)
    assert len(client.asked) == 1, "one request at a time for a broker"
    client.answer(base_offset=7)
    batches = await client.request()
    assert {partition: values_in(batch) for partition, batch in batches.items()} == {
        0: [b"0", b"2", b"4"],
        1: [b"1", b"3", b"5"],
    }
    client.answer(base_offset=8)
    await until(lambda: len(heard.all) == 7)
    assert heard.all[0] == (b"first", 7)
    assert dict(heard.all[1:]) == {b"0": 8, b"2": 9, b"4": 10, b"1": 8, b"3": 9, b"5": 10}
    await publisher.close()
    assert client.closed


async def test_a_partition_whose_leader_moved_is_tried_again_in_order(client: ScriptedClient) -> None:
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"1"), heard.of(b"1"))
    await client.request()
    publisher.submit(record(b"2"), heard.of(b"2"))
    client.answer({0: NOT_LEADER})
    assert values_in((await client.request())[0]) == [b"1"], "the later record does not overtake it"
    assert client.refreshes
    client.answer(base_offset=5)
    assert values_in((await client.request())[0]) == [b"2"]
    client.answer(base_offset=6)
    await until(lambda: len(heard.all) == 2)
    assert heard.all == [(b"1", 5), (b"2", 6)]
    assert publisher.broken is None
    await publisher.close()


async def test_another_partition_goes_on_while_one_has_no_leader(client: ScriptedClient) -> None:
    client.leaders[0] = None
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"stuck", 0), heard.of(b"stuck"))
    publisher.submit(record(b"free", 1), heard.of(b"free"))
    assert set(await client.request()) == {1}
    client.answer(base_offset=3)
    await until(lambda: heard.all == [(b"free", 3)])
    client.leaders[0] = 1
    assert set(await client.request()) == {0}
    client.answer(base_offset=4)
    await until(lambda: heard.all == [(b"free", 3), (b"stuck", 4)])
    await publisher.close()


async def test_a_leader_that_does_not_come_ends_it_with_nothing_stored(
    client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEND_S", 0.2)
    client.leaders[0] = None
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"stuck", 0), heard.of(b"stuck"))
    await until(lambda: heard.all)
    assert heard.all == [(b"stuck", "Transient log-unavailable")]
    assert publisher.broken is not None
    await publisher.close()


async def test_a_connection_that_breaks_ends_it_and_everything_outstanding_is_told(client: ScriptedClient) -> None:
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"sent"), heard.of(b"sent"))
    await client.request()
    publisher.submit(record(b"waits"), heard.of(b"waits"))
    publisher.submit(record(b"elsewhere", 1), heard.of(b"elsewhere"))
    publisher.submit(record(b"topic", topic="new.topic"), heard.of(b"topic"))
    client.lose()
    await until(lambda: len(heard.all) == 4)
    assert dict(heard.all) == {
        b"sent": "Ambiguous log-write-unknown",
        b"waits": "Transient log-unavailable",
        b"elsewhere": "Transient log-unavailable",
        b"topic": "Transient log-unavailable",
    }
    assert publisher.broken is not None
    publisher.submit(record(b"late"), heard.of(b"late"))
    await until(lambda: len(heard.all) == 5)
    assert heard.all[-1] == (b"late", "Transient log-unavailable")
    assert not client.asked, "a broken publisher sends nothing"
    await publisher.close()


@pytest.mark.parametrize(
    ("code", "of_the_record"),
    [
        (TIMED_OUT, "Ambiguous log-write-unknown"),
        (AFTER_APPEND, "Ambiguous log-write-unknown"),
        (BAD_TIMESTAMP, "Transient log-unavailable"),
        (NOT_AUTHORIZED, "Transient log-unavailable"),
        (12_345, "Ambiguous log-write-unknown"),
    ],
)
async def test_an_error_code_says_what_is_certain(client: ScriptedClient, code: int, of_the_record: str) -> None:
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"1", 0), heard.of(b"1"))
    publisher.submit(record(b"2", 1), heard.of(b"2"))
    await client.request()
    client.answer({0: code})
    await until(lambda: len(heard.all) == 2)
    assert dict(heard.all)[b"1"] == of_the_record
    assert publisher.broken is not None
    await publisher.close()


async def test_a_broker_that_cannot_be_reached_ends_it_with_nothing_stored(client: ScriptedClient) -> None:
    client.reachable = False
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"1"), heard.of(b"1"))
    await until(lambda: heard.all)
    assert heard.all == [(b"1", "Transient log-unavailable")]
    await publisher.close()


async def test_a_batch_that_is_too_large_is_split_and_only_what_is_too_large_alone_is_refused(
    client: ScriptedClient,
) -> None:
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    for value in (b"a", b"large", b"c"):
        publisher.submit(record(value), heard.of(value))
    assert len(values_in((await client.request())[0])) == 3
    client.answer({0: TOO_LARGE})
    for value, code in ((b"a", 0), (b"large", TOO_LARGE), (b"c", 0)):
        assert values_in((await client.request())[0]) == [value]
        client.answer({0: code}, base_offset=50)
    await until(lambda: len(heard.all) == 3)
    assert heard.all == [(b"a", 50), (b"large", "Permanent record-too-large"), (b"c", 50)]
    assert publisher.broken is None
    await publisher.close()


async def test_more_than_the_limits_allow_is_not_even_tried(client: ScriptedClient) -> None:
    publisher, heard = publisher_on(client, queue_records_max=2), Told()
    await publisher.partitions("adt.events.v1")
    for value in (b"1", b"2", b"3"):
        publisher.submit(record(value), heard.of(value))
    assert heard.all == [], "never inside submit"
    await client.request()
    client.answer(base_offset=0)
    await until(lambda: len(heard.all) == 3)
    assert dict(heard.all) == {b"1": 0, b"2": 1, b"3": "Transient log-overloaded"}
    publisher.submit(record(b"4"), heard.of(b"4"))
    await client.request()
    client.answer(base_offset=2)
    await until(lambda: len(heard.all) == 4)
    assert heard.all[-1] == (b"4", 2)
    await publisher.close()


async def test_bytes_that_wait_are_limited_too_but_for_a_single_record(client: ScriptedClient) -> None:
    publisher, heard = publisher_on(client, queue_bytes_max=1000), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"x" * 5000), heard.of(b"alone"))
    publisher.submit(record(b"y"), heard.of(b"second"))
    await until(lambda: heard.all)
    assert heard.all == [(b"second", "Transient log-overloaded")]
    client.answer()
    await until(lambda: len(heard.all) == 2)
    await publisher.close()


async def test_closing_gives_up_after_its_limit_and_says_what_is_unknown(
    client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.1)
    publisher, heard = publisher_on(client), Told()
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"sent"), heard.of(b"sent"))
    await client.request()
    publisher.submit(record(b"waits"), heard.of(b"waits"))
    async with asyncio.timeout(5):
        await publisher.close()
    await asyncio.sleep(0)
    assert heard.all == [(b"sent", "Ambiguous log-write-unknown"), (b"waits", "Transient log-unavailable")]


async def test_records_of_a_topic_that_is_new_keep_their_order_with_what_follows(client: ScriptedClient) -> None:
    publisher, heard = publisher_on(client), Told()
    publisher.submit(record(b"1"), heard.of(b"1"))
    publisher.submit(record(b"2"), heard.of(b"2"))
    await publisher.partitions("adt.events.v1")
    publisher.submit(record(b"3"), heard.of(b"3"))
    stored: list[bytes | None] = []
    while len(stored) < 3:
        stored += values_in((await client.request())[0])
        client.answer()
    assert stored == [b"1", b"2", b"3"]
    await publisher.close()
