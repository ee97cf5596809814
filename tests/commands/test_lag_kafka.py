"""`afterstay lag --kafka` against a real broker: one that is idle, one that is behind, one that is not there.

The verb looks at the topic of production, which is made anew for it; groups are each test's own.
"""

import asyncio
import socket
from collections.abc import Mapping
from datetime import datetime

import pytest

from schemas.topics import ADT_EVENTS, TOPICS
from services.runtime.clock import SystemClock, to_timestamp_us
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.port import NewRecord
from tests.commands.conftest import Afterstay
from tests.support.kafka import Brokers, fresh_name
from tests.system.production import PARTITIONS, fresh_log

KEPT_S = next(topic.retention_ms for topic in TOPICS if topic.name == ADT_EVENTS) / 1_000
"""As the contract says, by which the topic is made."""


@pytest.fixture(scope="module")
def broker(kafka: Brokers) -> Brokers:
    """The session's broker with the topic of production, empty."""
    fresh_log(kafka.bootstrap)
    return kafka


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
    published = SystemClock().now()
    asyncio.run(_commit(broker.bootstrap, group, end))

    well = afterstay(*words)
    asyncio.run(_commit(broker.bootstrap, group, {0: end[0] - 1}))
    behind = afterstay(*words)

    assert (well.code, well.err) == (0, "")
    assert {(row["lag"], row["oldest_age_seconds"]) for row in well.json["partitions"]} == {(0, 0.0)}
    assert behind.code == 2
    (waiting,) = [row for row in behind.json["partitions"] if row["lag"]]
    assert (waiting["partition"], waiting["lag"], waiting["status"]) == (0, 1, "STOPPED")
    truth_s = 3_600.0 + (datetime.fromisoformat(behind.json["observed_at"]) - published).total_seconds()
    assert waiting["oldest_age_seconds"] == pytest.approx(truth_s, abs=2.0)
    assert waiting["retention_used"] == pytest.approx(3_600 / KEPT_S, rel=0.01)
    assert behind.json["summary"].startswith("STOPPED: nobody consumes it (partition 0)")


def test_the_other_word_for_its_address_is_kafkas(afterstay: Afterstay, broker: Brokers) -> None:
    group = fresh_name("group")
    asyncio.run(_commit(broker.bootstrap, group, asyncio.run(_publish(broker.bootstrap, 1.0))))
    said = afterstay("lag", "--bootstrap-server", broker.bootstrap, "--group", group)
    assert said.out.startswith(f"OK - {group} on {ADT_EVENTS}, {PARTITIONS} partitions: nothing waits | ")


def test_a_broker_that_is_not_there_is_unknown(afterstay: Afterstay) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        said = afterstay("lag", "--kafka", f"127.0.0.1:{closed.getsockname()[1]}")
    assert said.code == 3
    assert said.out.startswith("UNKNOWN - ")
    assert "[log-unavailable]" in said.err
