"""Everything that a lag observer needs of a Kafka cluster, opened and closed together."""

from contextlib import AsyncExitStack
from typing import Any, Final, Self

from aiokafka.protocol.admin import DescribeConfigsRequest

from services.runtime.clock import Clock
from services.runtime.eventlog.kafka.client import KafkaClient, or_unavailable
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.members import KafkaGroupMembers
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.lag_observer import LagObserver

REQUEST_TIMEOUT_MS: Final = 3000
FETCH_BYTES: Final = 1
"""Kafka brings one batch all the same (KIP-74), and the first record of it is all that is looked at."""
RETENTION_MS: Final = "retention.ms"

_TOPIC_RESOURCE: Final = 2  # Kafka's ConfigResource.Type


class KafkaLagParts:
    """The log, the positions, the members and the settings of one cluster, for looking at."""

    def __init__(
        self, subscriber: KafkaSubscriber, groups: KafkaGroupPositions, client: KafkaClient, closing: AsyncExitStack
    ) -> None:
        self._subscriber = subscriber
        self._groups = groups
        self._client = client
        self._closing = closing

    @classmethod
    async def open(cls, connection: KafkaConnection, *, client_id: str) -> Self:
        """Connect to the cluster.

        Raises:
            Permanent: `broker-settings-unusable`, `broker-refused`.
            Transient: `log-unavailable`.
        """
        async with AsyncExitStack() as opened:
            subscriber = await KafkaSubscriber.open(connection, client_id=client_id, fetch_bytes=FETCH_BYTES)
            opened.push_async_callback(subscriber.close)
            groups = await KafkaGroupPositions.open(connection, client_id=client_id)
            opened.push_async_callback(groups.close)
            client = await KafkaClient.open(connection, client_id=client_id, request_timeout_ms=REQUEST_TIMEOUT_MS)
            opened.push_async_callback(client.close)
            return cls(subscriber, groups, client, opened.pop_all())

    def observer(self, *, group: str, topic: str, clock: Clock, window_s: float) -> LagObserver:
        """Return an observer of a group on a topic."""
        return LagObserver(
            self._subscriber,
            self._groups,
            group=group,
            topic=topic,
            clock=clock,
            window_s=window_s,
            members=KafkaGroupMembers(self._groups),
            retention=self.retention_s,
        )

    async def retention_s(self, topic: str) -> float | None:
        """Return for how many seconds a topic keeps its records; `None` for ever, or where we may not know.

        Raises:
            Transient: `log-unavailable`.
        """
        asked: list[Any] = [(_TOPIC_RESOURCE, topic, [RETENTION_MS])]
        request = DescribeConfigsRequest(asked)
        response = await or_unavailable(
            self._client.send(self._client.any_node(), request), f"asking how {topic} is set"
        )
        for _error_code, _message, _type, _name, entries in response.resources:
            for name, value, *_rest in entries or ():
                if name == RETENTION_MS and value is not None and int(value) >= 0:
                    return int(value) / 1000
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._closing.aclose()
