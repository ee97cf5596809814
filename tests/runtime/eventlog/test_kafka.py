"""Kafka keeps the port's promises, against a real broker."""

from collections.abc import AsyncIterator, Mapping

import pytest

from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.publisher import KafkaPublisher, KafkaPublisherLimits
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.port import GroupPositions
from tests.runtime.eventlog.suite import EventLogSuite, Opener, OpenLog
from tests.support.kafka import Brokers, fresh_name, fresh_topic


class PrivateGroups:
    """Gives a test groups of its own on the broker that all of them share, under the names that it uses."""

    def __init__(self, inner: GroupPositions, prefix: str) -> None:
        self._inner = inner
        self._prefix = prefix

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await self._inner.committed(f"{self._prefix}.{group}", topic)

    async def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        await self._inner.commit(f"{self._prefix}.{group}", topic, offsets)

    async def close(self) -> None:
        await self._inner.close()


async def open_kafka(connection: KafkaConnection, prefix: str) -> OpenLog:
    groups = await KafkaGroupPositions.open(connection, client_id="test")
    return OpenLog(
        publisher=await KafkaPublisher.open(connection, client_id="test"),
        subscriber=await KafkaSubscriber.open(connection, client_id="test"),
        groups=PrivateGroups(groups, prefix),
    )


class TestKafkaLog(EventLogSuite):
    record_bytes_max = KafkaPublisherLimits().record_bytes_max

    @pytest.fixture(params=[2, 5])
    def partitions(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    @pytest.fixture
    async def open_log(self, kafka: Brokers) -> AsyncIterator[Opener]:
        opened: list[OpenLog] = []
        prefix = fresh_name("group")

        async def open_log() -> OpenLog:
            opened.append(await open_kafka(KafkaConnection(bootstrap=kafka.bootstrap), prefix))
            return opened[-1]

        yield open_log
        for log in opened:
            await log.close()

    @pytest.fixture
    async def topic(self, kafka: Brokers, partitions: int) -> str:
        return await fresh_topic(kafka.bootstrap, partitions=partitions)

    @pytest.fixture
    async def other_topic(self, kafka: Brokers, partitions: int) -> str:
        return await fresh_topic(kafka.bootstrap, partitions=partitions)
