"""Makes topics and checks those that exist against what they have to be.

Promises: making is idempotent and changes nothing that exists; a check changes nothing at all and lists everything that
is wrong, each with the command that mends it. Kafka does not raise for a topic that exists or cannot be made: every
answer's code is read (`streaming.md` §2, j).
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from services.runtime.errors import Permanent
from services.runtime.eventlog.kafka.client import RETRY_BACKOFF_MS, KafkaClient, or_unavailable, unavailable
from services.runtime.eventlog.kafka.connection import KafkaConnection

CLIENT_ID: Final = "afterstay-topics"
REQUEST_TIMEOUT_MS: Final = 10_000
LEADERS_WITHIN_S: Final = 15.0
"""How long new partitions may take to find their leaders."""

FLUSH_MESSAGES: Final = "flush.messages"
MIN_INSYNC: Final = "min.insync.replicas"

_TOPIC_RESOURCE: Final = 2  # Kafka's ConfigResource.Type
_EXISTS: Final = 36
_TOO_FEW_BROKERS: Final = 38
_UNLIMITED: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPlan:
    """What a topic has to be. `exact` settings have one right value; `at_least` ones may be higher, or -1: no limit."""

    name: str
    partitions: int
    replicas: int
    exact: Mapping[str, str]
    at_least: Mapping[str, int]

    def settings(self) -> dict[str, str]:
        """Return the settings that a new topic gets."""
        return {**self.exact, **{name: str(value) for name, value in self.at_least.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFinding:
    """One thing that is wrong with a topic, and how to mend it."""

    topic: str
    what: str
    found: str
    wanted: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partition:
    number: int
    replicas: int
    in_sync: int
    led: bool


async def create_topics(connection: KafkaConnection, plans: Sequence[TopicPlan]) -> list[str]:
    """Make the topics that do not exist and return their names, once every partition has a leader.

    Raises:
        Permanent: `topics-refused`, `broker-settings-unusable`, `broker-refused`.
        Transient: `log-unavailable`.
    """
    client = await KafkaClient.open(connection, client_id=CLIENT_ID, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        asked: list[Any] = [
            (plan.name, plan.partitions, plan.replicas, [], list(plan.settings().items())) for plan in plans
        ]
        request = CreateTopicsRequest(asked, REQUEST_TIMEOUT_MS, validate_only=False)
        response = await or_unavailable(client.send(client.any_node(), request), "making topics")
        made, refusals = [], []
        for topic, error_code, message in response.topic_errors:
            if error_code == 0:
                made.append(topic)
            elif error_code != _EXISTS:
                refusals.append(f"{topic}: {_refusal(error_code, message)}")
        if refusals:
            raise Permanent("topics-refused", "the cluster does not make the topics: " + "; ".join(refusals))
        await _wait_for_leaders(client, [plan for plan in plans if plan.name in made])
        return made
    finally:
        await client.close()


async def check_topics(connection: KafkaConnection, plans: Sequence[TopicPlan]) -> list[TopicFinding]:
    """Return everything that is wrong with the topics; empty if they are as planned or better.

    Raises:
        Permanent: `topics-refused`, `broker-settings-unusable`, `broker-refused`.
        Transient: `log-unavailable`.
    """
    client = await KafkaClient.open(connection, client_id=CLIENT_ID, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        brokers, topics = await _describe(client)
        findings = []
        for plan in plans:
            partitions = topics.get(plan.name)
            if partitions is None:
                findings.append(_missing(plan))
                continue
            findings += _of_partitions(plan, partitions, brokers)
            findings += _of_settings(plan, await _settings(client, plan.name))
        return findings
    finally:
        await client.close()


async def _describe(client: KafkaClient) -> tuple[int, dict[str, list[_Partition]]]:
    """Return the number of brokers, and every topic's partitions."""
    response = await or_unavailable(client.send(client.any_node(), MetadataRequest(None)), "asking for the topics")
    topics = {}
    for error_code, topic, _internal, partitions in response.topics:
        if error_code == 0:
            topics[topic] = [
                _Partition(number=number, replicas=len(replicas), in_sync=len(in_sync), led=leader >= 0)
                for _error, number, leader, replicas, in_sync, *_offline in partitions
            ]
    return len(response.brokers), topics


async def _settings(client: KafkaClient, topic: str) -> dict[str, str]:
    """Return a topic's settings in force, whether they are its own or the brokers'."""
    resources: list[Any] = [(_TOPIC_RESOURCE, topic, None)]
    request = DescribeConfigsRequest(resources)
    response = await or_unavailable(client.send(client.any_node(), request), f"asking how {topic} is set")
    ((error_code, message, _type, _name, entries),) = response.resources
    if error_code:
        raise Permanent("topics-refused", f"{topic}: {_refusal(error_code, message)}")
    return {name: value or "" for name, value, *_rest in entries}


async def _wait_for_leaders(client: KafkaClient, plans: Sequence[TopicPlan]) -> None:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + LEADERS_WITHIN_S
    while True:
        _brokers, topics = await _describe(client)
        waiting = [plan.name for plan in plans if not _is_led(topics.get(plan.name, []), plan.partitions)]
        if not waiting:
            return
        if loop.time() >= give_up_at:
            raise unavailable(f"partitions of {', '.join(waiting)} have no leader yet")
        await asyncio.sleep(RETRY_BACKOFF_MS / 1000)


def _is_led(partitions: Sequence[_Partition], wanted: int) -> bool:
    return len(partitions) >= wanted and all(partition.led for partition in partitions)


def _missing(plan: TopicPlan) -> TopicFinding:
    return TopicFinding(
        topic=plan.name, what="the topic", found="missing", wanted="there", fix="run `afterstay topics create`"
    )


def _of_partitions(plan: TopicPlan, partitions: Sequence[_Partition], brokers: int) -> Iterator[TopicFinding]:
    if len(partitions) < plan.partitions:
        yield TopicFinding(
            topic=plan.name,
            what="partitions",
            found=str(len(partitions)),
            wanted=f"at least {plan.partitions}",
            fix=f"stop the listeners, then kafka-topics.sh --alter --topic {plan.name} --partitions {plan.partitions}",
        )
    replicas = min((partition.replicas for partition in partitions), default=0)
    if replicas < plan.replicas:
        more = "" if brokers >= plan.replicas else f"add brokers (there are {brokers}), then "
        yield TopicFinding(
            topic=plan.name,
            what="replicas",
            found=str(replicas),
            wanted=f"at least {plan.replicas}",
            fix=f"{more}give every partition {plan.replicas} with kafka-reassign-partitions.sh; "
            "on a single broker, say --single-broker",
        )
    short = [partition for partition in partitions if partition.in_sync < min(plan.replicas, partition.replicas)]
    if short:
        fewest = min(partition.in_sync for partition in short)
        yield TopicFinding(
            topic=plan.name,
            what="replicas in sync",
            found=f"{fewest} in partition {', '.join(str(partition.number) for partition in short)}",
            wanted=f"{min(plan.replicas, replicas)} in each",
            fix="bring back the brokers that are down, and wait until they have caught up",
        )


def _of_settings(plan: TopicPlan, settings: Mapping[str, str]) -> Iterator[TopicFinding]:
    for name, wanted in plan.exact.items():
        found = settings.get(name, "")
        if found != wanted:
            yield _setting(plan, name, found, wanted, wanted)
    for name, least in plan.at_least.items():
        found = settings.get(name, "")
        if found != str(_UNLIMITED) and (least == _UNLIMITED or not found.isdigit() or int(found) < least):
            yield _setting(plan, name, found, "no limit" if least == _UNLIMITED else f"at least {least}", str(least))


def _setting(plan: TopicPlan, name: str, found: str, wanted: str, value: str) -> TopicFinding:
    alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {plan.name} --add-config {name}={value}"
    return TopicFinding(topic=plan.name, what=name, found=found or "nothing", wanted=wanted, fix=alter)


def _refusal(error_code: int, message: str | None) -> str:
    if error_code == _TOO_FEW_BROKERS:
        return "there are fewer brokers than replicas; add brokers, or say --single-broker"
    return message or for_code(error_code).__name__
