"""`afterstay lag --kafka` against a real broker: one that is idle, one that is behind, one that is not there.

The verb looks at the topic and the group of production, so it has a broker of its own.
"""

import asyncio
import socket
from collections.abc import Iterator, Mapping

import pytest
from aiokafka.admin import NewTopic

from schemas.topics import ADT_EVENTS
from services.runtime.clock import SystemClock, to_timestamp_us
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.port import NewRecord
from tests.commands.conftest import Afterstay
from tests.support.kafka import Brokers, fresh_name, kafka_admin

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """A broker with the topic of production."""
    with Brokers(tmp_path_factory.mktemp("lag-kafka")) as brokers:
        asyncio.run(_make_topic(brokers.bootstrap))
        yield brokers


async def _make_topic(bootstrap: str) -> None:
    topic = NewTopic(ADT_EVENTS, 4, 1, topic_configs={"retention.ms": str(DAY_MS)})
    async with kafka_admin(bootstrap) as admin:
        await admin.create_topics([topic])


async def _publish(bootstrap: str, *ages_s: float) -> dict[int, int]:
    """Publish to partition 0 what was received so long ago; return the ends of all partitions that have one."""
    publisher = await KafkaPublisher.open(KafkaConnection(bootstrap=bootstrap), client_id="listener")
    for age_s in ages_s:
        received_us = to_timestamp_us(SystemClock().now()) - int(age_s * 1_000_000)
        place = await publisher.publish(
            NewRecord(topic=ADT_EVENTS, partition=0, key=b"k", value=b"v", headers=(), timestamp_us=received_us)
        )
    await publisher.close()
    return {0: place.offset + 1}


async def _commit(bootstrap: str, group: str, offsets: Mapping[int, int]) -> None:
    groups = await KafkaGroupPositions.open(KafkaConnection(bootstrap=bootstrap), client_id="test")
    await groups.commit(group, ADT_EVENTS, offsets)
    await groups.close()


def test_what_was_consumed_is_well_and_what_was_not_is_as_old_as_it_is(afterstay: Afterstay, broker: Brokers) -> None:
    group = fresh_name("group")
    words = ("lag", "--kafka", broker.bootstrap, "--group", group, "--json")
    end = asyncio.run(_publish(broker.bootstrap, 7_200.0, 3_600.0))
    asyncio.run(_commit(broker.bootstrap, group, end))

    well = afterstay(*words)
    asyncio.run(_commit(broker.bootstrap, group, {0: end[0] - 1}))
    behind = afterstay(*words)

    assert (well.code, well.err) == (0, "")
    assert {(row["lag"], row["oldest_age_seconds"]) for row in well.json["partitions"]} == {(0, 0.0)}
    assert behind.code == 2
    (waiting,) = [row for row in behind.json["partitions"] if row["lag"]]
    assert (waiting["partition"], waiting["lag"], waiting["status"]) == (0, 1, "STOPPED")
    assert waiting["oldest_age_seconds"] == pytest.approx(3_600.0, abs=2.0)
    assert waiting["retention_used"] == pytest.approx(1 / 24, abs=0.001)
    assert behind.json["summary"].startswith("STOPPED: nobody consumes it (partition 0)")


def test_the_other_word_for_its_address_is_kafkas(afterstay: Afterstay, broker: Brokers) -> None:
    group = fresh_name("group")
    asyncio.run(_commit(broker.bootstrap, group, asyncio.run(_publish(broker.bootstrap, 1.0))))
    said = afterstay("lag", "--bootstrap-server", broker.bootstrap, "--group", group)
    assert said.out.startswith(f"OK - {group} on {ADT_EVENTS}, 4 partitions: nothing waits | ")


def test_a_broker_that_is_not_there_is_unknown(afterstay: Afterstay) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        said = afterstay("lag", "--kafka", f"127.0.0.1:{closed.getsockname()[1]}")
    assert said.code == 3
    assert said.out.startswith("UNKNOWN - ")
    assert "[log-unavailable]" in said.err
