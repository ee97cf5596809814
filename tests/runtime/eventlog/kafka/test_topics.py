"""Goal: topics are made once and as planned, and a check finds everything that would cost a message."""

from dataclasses import replace
from typing import Any

import pytest

from services.runtime.errors import Permanent, Transient
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.topics import TopicPlan, check_topics, create_topics
from tests.support.kafka import Brokers, fresh_name, fresh_topic

SAFE_ALONE = TopicPlan(
    name="",
    partitions=2,
    replicas=1,
    exact={"cleanup.policy": "delete", "message.timestamp.type": "CreateTime", "flush.messages": "1"},
    at_least={"min.insync.replicas": 1, "retention.ms": 60_000, "retention.bytes": -1, "max.message.bytes": 2_000_000},
)


def plan(**changes: Any) -> TopicPlan:
    return replace(SAFE_ALONE, **{"name": fresh_name("topic"), **changes})


@pytest.fixture
def connection(kafka: Brokers) -> KafkaConnection:
    return KafkaConnection(bootstrap=kafka.bootstrap)


async def test_a_topic_is_made_once_and_is_as_planned(connection: KafkaConnection) -> None:
    first, second = plan(), plan(partitions=5)
    assert await create_topics(connection, [first]) == [first.name]
    assert await create_topics(connection, [first, second]) == [second.name], "what exists is left alone"
    assert await create_topics(connection, [first, second]) == []
    assert await check_topics(connection, [first, second]) == []


async def test_making_leaves_what_exists_as_it_is(connection: KafkaConnection) -> None:
    existing = plan(partitions=1, exact={"cleanup.policy": "compact"})
    await create_topics(connection, [existing])
    wanted = replace(SAFE_ALONE, name=existing.name)
    assert await create_topics(connection, [wanted]) == []
    found = {finding.what: finding.found for finding in await check_topics(connection, [wanted])}
    assert found["cleanup.policy"] == "compact"
    assert found["partitions"] == "1"


async def test_a_missing_topic_is_the_one_finding_of_its_own(connection: KafkaConnection) -> None:
    there, missing = plan(), plan()
    await create_topics(connection, [there])
    (finding,) = await check_topics(connection, [there, missing])
    assert (finding.topic, finding.found) == (missing.name, "missing")
    assert "topics create" in finding.fix


async def test_too_few_replicas_and_too_few_in_sync_are_refused(connection: KafkaConnection, kafka: Brokers) -> None:
    name = await fresh_topic(kafka.bootstrap, partitions=2)
    wanted = plan(name=name, replicas=3, exact={}, at_least={"min.insync.replicas": 2})
    findings = {finding.what: finding for finding in await check_topics(connection, [wanted])}
    assert (findings["replicas"].found, findings["replicas"].wanted) == ("1", "at least 3")
    assert "--single-broker" in findings["replicas"].fix
    assert (findings["min.insync.replicas"].found, findings["min.insync.replicas"].wanted) == ("1", "at least 2")
    assert set(findings) == {"replicas", "min.insync.replicas"}


async def test_a_single_broker_has_to_sync_each_write(connection: KafkaConnection, kafka: Brokers) -> None:
    name = await fresh_topic(kafka.bootstrap, partitions=2)
    wanted = plan(name=name, exact={"flush.messages": "1"}, at_least={})
    (finding,) = await check_topics(connection, [wanted])
    assert finding.what == "flush.messages"
    assert finding.fix.endswith("flush.messages=1")


@pytest.mark.parametrize(
    ("setting", "value", "is_wrong"),
    [
        ("retention.ms", "59999", True),
        ("retention.ms", "60001", False),
        ("retention.ms", "-1", False),
        ("retention.bytes", "1000000", True),
        ("max.message.bytes", "1999999", True),
        ("max.message.bytes", "2000001", False),
        ("message.timestamp.type", "LogAppendTime", True),
        ("cleanup.policy", "compact,delete", True),
    ],
)
async def test_each_setting_is_held_to_what_it_has_to_be(
    connection: KafkaConnection, kafka: Brokers, setting: str, value: str, is_wrong: bool
) -> None:
    name = await fresh_topic(kafka.bootstrap, partitions=2, settings={**SAFE_ALONE.settings(), setting: value})
    findings = await check_topics(connection, [replace(SAFE_ALONE, name=name)])
    assert [finding.what for finding in findings] == ([setting] if is_wrong else [])


async def test_more_replicas_than_brokers_cannot_be_made_and_nothing_else_is(connection: KafkaConnection) -> None:
    with pytest.raises(Permanent, match="--single-broker") as refusal:
        await create_topics(connection, [plan(replicas=3)])
    assert refusal.value.code == "topics-refused"


async def test_a_cluster_that_is_away_is_said_to_be() -> None:
    with pytest.raises(Transient) as refusal:
        await check_topics(KafkaConnection(bootstrap="127.0.0.1:1"), [plan()])
    assert refusal.value.code == "log-unavailable"
