"""Goal: what others have written, what retention has cut and what a disk has damaged is read as the port says."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import TopicPartition

from services.runtime.errors import Transient
from services.runtime.eventlog.kafka.client import KafkaClient
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.kafka.records import MICROSECONDS_HEADER
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.port import Record
from tests.runtime.eventlog.suite import BYTES_MAX, WAIT_S, new_record, read_all
from tests.support.kafka import Brokers, fresh_name, fresh_topic, kafka_admin


@pytest.fixture
def connection(kafka: Brokers) -> KafkaConnection:
    return KafkaConnection(bootstrap=kafka.bootstrap)


@pytest.fixture
async def topic(kafka: Brokers) -> str:
    return await fresh_topic(kafka.bootstrap, partitions=2)


@pytest.fixture
async def subscriber(connection: KafkaConnection) -> AsyncIterator[KafkaSubscriber]:
    opened = await KafkaSubscriber.open(connection, client_id="test")
    yield opened
    await opened.close()


@pytest.fixture
async def publisher(connection: KafkaConnection) -> AsyncIterator[KafkaPublisher]:
    opened = await KafkaPublisher.open(connection, client_id="test")
    yield opened
    await opened.close()


class FetchCounter:
    """Counts what a subscriber asks the brokers for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        send = KafkaClient.send

        async def counted(client: KafkaClient, *arguments: object) -> object:
            self.requests += 1
            return await send(client, *arguments)  # type: ignore[arg-type] # handed on as they came

        monkeypatch.setattr(KafkaClient, "send", counted)


async def test_reading_on_asks_for_nothing_while_the_last_fetch_lasts(
    publisher: KafkaPublisher, subscriber: KafkaSubscriber, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = [await publisher.publish(new_record(topic, value=b"%d" % number)) for number in range(30)]
    counter = FetchCounter(monkeypatch)
    offset = positions[0].offset
    seen: list[Record] = []
    for _page in range(10):
        seen += await subscriber.read(topic, 0, offset, max_records=3, bytes_max=BYTES_MAX)
        offset = seen[-1].offset + 1
    assert [record.value for record in seen] == [b"%d" % number for number in range(30)]
    assert counter.requests == 1


async def test_what_waiting_brought_is_read_without_asking_again(
    publisher: KafkaPublisher, subscriber: KafkaSubscriber, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = await publisher.publish(new_record(topic, value=b"there"))
    counter = FetchCounter(monkeypatch)
    assert await subscriber.wait_for_records(topic, {0: position.offset, 1: 0}, timeout_s=WAIT_S)
    (record,) = await subscriber.read(topic, 0, position.offset, max_records=9, bytes_max=BYTES_MAX)
    assert record.value == b"there"
    assert counter.requests == 1


async def test_waiting_idly_costs_two_requests_a_second(
    subscriber: KafkaSubscriber, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = await subscriber.end_offsets(topic)
    counter = FetchCounter(monkeypatch)
    assert not await subscriber.wait_for_records(topic, ends, timeout_s=1.5)
    assert counter.requests <= 4


async def test_waiting_beyond_the_end_and_below_the_beginning_is_no_busy_loop(
    publisher: KafkaPublisher, subscriber: KafkaSubscriber, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publisher.publish(new_record(topic))
    counter = FetchCounter(monkeypatch)
    assert not await subscriber.wait_for_records(topic, {0: 10_000}, timeout_s=1.0)
    assert counter.requests < 20
    assert await subscriber.wait_for_records(topic, {0: -5}, timeout_s=WAIT_S)


@pytest.mark.parametrize("left_over_us", [0, 1, 999])
async def test_the_microseconds_of_the_receipt_are_kept_and_their_header_is_hidden(
    publisher: KafkaPublisher, subscriber: KafkaSubscriber, connection: KafkaConnection, topic: str, left_over_us: int
) -> None:
    from msgspec.structs import replace

    sent = replace(new_record(topic), timestamp_us=1_790_000_000_123_000 + left_over_us)
    position = await publisher.publish(sent)
    (record,) = await subscriber.read(topic, 0, position.offset, max_records=1, bytes_max=BYTES_MAX)
    assert record.timestamp_us == sent.timestamp_us
    assert record.headers == sent.headers
    consumer = AIOKafkaConsumer(bootstrap_servers=connection.bootstrap)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.seek_to_beginning()
    stored = await consumer.getone()
    await consumer.stop()
    assert stored.timestamp == 1_790_000_000_123, "Kafka's own time, by which it retains, is the receipt"
    assert (MICROSECONDS_HEADER in dict(stored.headers)) == (left_over_us > 0)


async def test_records_of_other_producers_are_read_with_nulls_as_empty_and_compressed_ones_within_limits(
    subscriber: KafkaSubscriber, connection: KafkaConnection, topic: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=connection.bootstrap, compression_type="gzip", linger_ms=50)
    await producer.start()
    sent = [await producer.send(topic, b"x" * 10_000, partition=0) for _ in range(20)]
    first = (await sent[0]).offset
    nothing = await producer.send_and_wait(topic, None, key=b"key", partition=1, headers=[("null", None)])
    await producer.stop()
    page = await subscriber.read(topic, 0, first, max_records=99, bytes_max=35_000)
    assert [len(record.value) for record in page] == [10_000] * 3
    rest = await subscriber.read(topic, 0, page[-1].offset + 1, max_records=99, bytes_max=BYTES_MAX)
    assert len(rest) == 17
    (record,) = await subscriber.read(topic, 1, nothing.offset, max_records=9, bytes_max=BYTES_MAX)
    assert (record.key, record.value, record.headers) == (b"key", b"", (("null", b""),))


async def test_marks_of_transactions_are_passed_over(
    publisher: KafkaPublisher, subscriber: KafkaSubscriber, connection: KafkaConnection, topic: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=connection.bootstrap, transactional_id=fresh_name("transaction"))
    await producer.start()
    for number in range(3):
        async with producer.transaction():
            await producer.send_and_wait(topic, b"%d" % number, partition=0)
    await producer.stop()
    end = (await subscriber.end_offsets(topic))[0]
    found = (await read_all(subscriber, topic, page=1))[0]
    assert [record.value for record in found] == [b"0", b"1", b"2"]
    assert found[-1].offset + 1 < end, "the last mark is behind the last record"
    assert not await subscriber.wait_for_records(topic, {0: found[-1].offset + 1}, timeout_s=0.3)
    position = await publisher.publish(new_record(topic, value=b"after"))
    assert await subscriber.wait_for_records(topic, {0: found[-1].offset + 1}, timeout_s=WAIT_S)
    (after,) = await subscriber.read(topic, 0, found[-1].offset + 1, max_records=9, bytes_max=BYTES_MAX)
    assert (after.value, after.offset) == (b"after", position.offset)


async def test_what_retention_has_cut_is_left_out_and_reading_starts_at_the_new_beginning(
    publisher: KafkaPublisher, subscriber: KafkaSubscriber, connection: KafkaConnection, topic: str
) -> None:
    positions = [await publisher.publish(new_record(topic, value=b"%d" % number)) for number in range(5)]
    async with kafka_admin(connection.bootstrap) as admin:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=positions[3].offset)})
    assert (await subscriber.begin_offsets(topic))[0] == positions[3].offset
    page = await subscriber.read(topic, 0, positions[0].offset, max_records=9, bytes_max=BYTES_MAX)
    assert [record.value for record in page] == [b"3", b"4"]
    assert await subscriber.wait_for_records(topic, {0: positions[1].offset}, timeout_s=WAIT_S)


async def test_a_batch_that_the_disk_has_damaged_comes_as_damaged_records_and_the_next_ones_whole(
    kafka: Brokers, publisher: KafkaPublisher, connection: KafkaConnection, topic: str
) -> None:
    positions = [await publisher.publish(new_record(topic, value=b"value-%d" % number)) for number in range(3)]
    (segment,) = kafka.data.glob(f"**/{topic}-0/*.log")
    stored = segment.read_bytes()
    place = stored.index(b"value-1")
    with segment.open("r+b") as file:  # the page cache is what the broker reads from
        file.seek(place)
        file.write(b"vAlue-1")
    subscriber = await KafkaSubscriber.open(connection, client_id="test")
    page = await subscriber.read(topic, 0, positions[0].offset, max_records=9, bytes_max=BYTES_MAX)
    assert [(record.value, record.damaged) for record in page] == [
        (b"value-0", False),
        (b"", True),
        (b"value-2", False),
    ]
    assert [record.offset for record in page] == [position.offset for position in positions]
    assert page[1] == Record(
        topic=topic, partition=0, offset=positions[1].offset, key=b"", value=b"", headers=(), timestamp_us=0,
        damaged=True,
    )  # fmt: skip
    await subscriber.close()


async def test_the_members_of_a_group_are_shown_and_a_running_group_takes_no_positions_from_outside(
    connection: KafkaConnection, topic: str
) -> None:
    group = fresh_name("group")
    groups = await KafkaGroupPositions.open(connection, client_id="test")
    await groups.commit(group, topic, {0: 0})
    assert (await groups.group_members(group)).members == ()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=connection.bootstrap, group_id=group, client_id="worker-1")
    await consumer.start()
    await consumer.getmany(timeout_ms=100)
    found = await groups.group_members(group)
    assert found.state == "Stable"
    (member,) = found.members
    assert (member.client_id, member.host, member.partitions) == ("worker-1", "127.0.0.1", {topic: (0, 1)})
    with pytest.raises(Transient) as refusal:
        await groups.commit(group, topic, {0: 0})
    assert refusal.value.code == "positions-unavailable"
    await consumer.stop()
    await groups.commit(group, topic, {0: 0})
    await groups.close()
