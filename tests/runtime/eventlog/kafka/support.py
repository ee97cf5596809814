"""A scripted cluster for the publisher, and waiting with a bound."""

import asyncio
from collections.abc import Callable

from services.runtime.errors import AfterstayError, Permanent
from services.runtime.eventlog.kafka.client import unavailable
from services.runtime.eventlog.kafka.link import Receiver
from services.runtime.eventlog.kafka.publisher import KafkaPublisher, KafkaPublisherLimits
from services.runtime.eventlog.kafka.wire import Batches, PartitionAnswer
from services.runtime.eventlog.port import NewRecord, Position, PublishOutcome
from tests.runtime.eventlog.suite import WAIT_S

TOPIC = "adt.events.v1"
NODE = 1


class ScriptedClient:
    """One broker whose answers a test decides: each request waits in `asked` until it is answered or fails."""

    def __init__(self, partitions: int = 2) -> None:
        self.known = tuple(range(partitions))
        self.leaders: dict[int, int | None] = dict.fromkeys(self.known, NODE)
        self.reachable = True
        self.refreshes = 0
        self.closed = False
        self.asked: list[tuple[dict[int, bytes], Receiver]] = []

    async def partitions(self, topic: str) -> tuple[int, ...]:
        await asyncio.sleep(0)
        if topic != TOPIC:
            raise Permanent("topic-unknown", "there is none of this name")
        return self.known

    def leader(self, _topic: str, partition: int) -> int | None:
        return self.leaders[partition]

    async def refresh(self) -> bool:
        self.refreshes += 1
        return True

    async def open_link(self, _node: int, receiver: Receiver) -> "ScriptedLink":
        await asyncio.sleep(0)
        if not self.reachable:
            raise unavailable("broker 1 cannot be reached")
        return ScriptedLink(self, receiver)

    async def close(self) -> None:
        self.closed = True

    async def request(self) -> dict[int, bytes]:
        """Wait for the next request and return its batches."""
        await until(lambda: self.asked)
        return self.asked[0][0]

    def answer(self, codes: dict[int, int] | None = None, *, base_offset: int = 100) -> None:
        """Answer the oldest request: an error code for each partition that it names, stored for the others."""
        batches, receiver = self.asked.pop(0)
        found = codes or {}
        receiver.heard(
            [PartitionAnswer(TOPIC, partition, found.get(partition, 0), base_offset) for partition in batches]
        )

    def lose(self) -> None:
        """Let the connection break while the oldest request is on its way."""
        self.asked.pop(0)[1].lost("the connection broke")


class ScriptedLink:
    def __init__(self, client: ScriptedClient, receiver: Receiver) -> None:
        self._client = client
        self._receiver = receiver

    def send(self, batches: Batches) -> None:
        asked = {partition: bytes(batch) for partition, batch in batches[TOPIC]}
        self._client.asked.append((asked, self._receiver))

    def close(self) -> None:
        pass


def publisher_on(client: ScriptedClient, **limits: int) -> KafkaPublisher:
    return KafkaPublisher(client, KafkaPublisherLimits(**limits))  # type: ignore[arg-type] # what it uses of it


def record(value: bytes = b"value", partition: int = 0, topic: str = TOPIC) -> NewRecord:
    return NewRecord(
        topic=topic, partition=partition, key=b"key", value=value, headers=(), timestamp_us=1_790_000_000_123_456
    )


def told(outcome: PublishOutcome) -> str | int:
    """Return an outcome in a word: the offset, or kind and code of the error."""
    if isinstance(outcome, Position):
        return outcome.offset
    assert isinstance(outcome, AfterstayError)
    return f"{type(outcome).__name__} {outcome.code}"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)
