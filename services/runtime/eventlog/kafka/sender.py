"""Sends what waits for the partitions of one broker: one request at a time, of everything that queued meanwhile.

With one request in flight for each broker a partition's order holds without sequence numbers, and batches grow by
themselves with the load: nothing ever waits for company (linger 0).
"""

import asyncio
from typing import Final, Protocol

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NodeNotReadyError

from services.runtime.errors import AfterstayError, Ambiguous, Permanent
from services.runtime.eventlog.kafka.batches import Batch, Lane
from services.runtime.eventlog.kafka.client import KafkaClient, describe, unavailable
from services.runtime.eventlog.kafka.wire import PartitionAnswer, ProduceRequest

REQUEST_BYTES_MAX: Final = 1_048_576
"""Batches that go together; a single one that is larger goes alone. The broker's own limit is 100 MiB."""


class Answers(Protocol):
    """Hears what became of a batch; `publisher.KafkaPublisher` is one."""

    broken: AfterstayError | None

    def answered(self, lane: Lane, answer: PartitionAnswer) -> None:
        """The broker has spoken of a lane's first batch."""

    def stop_for(self, in_flight: AfterstayError, waiting: AfterstayError) -> None:
        """Nothing more can be sent; what was on its way and what was not fare differently."""


class BrokerSender:
    """One broker's lanes that have something to send."""

    def __init__(self, client: KafkaClient, node: int, answers: Answers, *, timeout_ms: int) -> None:
        self._client = client
        self._node = node
        self._answers = answers
        self._timeout_ms = timeout_ms
        self._loop = asyncio.get_running_loop()
        self._ready: list[Lane] = []
        self._wake: asyncio.Future[None] = self._loop.create_future()
        self.task = self._loop.create_task(self._run())

    def put(self, lane: Lane) -> None:
        """Take a lane whose first batch is to be sent; it is the lane's only place until it was answered."""
        self._ready.append(lane)
        if not self._wake.done():
            self._wake.set_result(None)

    async def _run(self) -> None:
        while self._answers.broken is None:
            if not self._ready:
                self._wake = self._loop.create_future()
                await self._wake
            if not await self._client.connect(self._node):
                error = unavailable(f"broker {self._node} cannot be reached")
                self._answers.stop_for(error, error)
                return
            lanes = self._take()
            request = self._pack(lanes)
            try:
                response: list[PartitionAnswer] = await self._client.send(self._node, request)
            except (KafkaError, TimeoutError) as error:
                self._answers.stop_for(*self._what_happened(error))
                return
            waiting = {(lane.topic, lane.partition): lane for lane in lanes}
            for answer in response:
                lane = waiting.pop((answer.topic, answer.partition))
                lane.in_flight = False
                self._answers.answered(lane, answer)
            if waiting:
                silent = f"broker {self._node} answered for {len(response)} of {len(lanes)} partitions"
                self._answers.stop_for(unknown(silent), unavailable(silent))

    def _take(self) -> list[Lane]:
        """Take the lanes whose batches go together into the next request."""
        taken = 0
        size = 0
        for lane in self._ready:
            size += lane.batches[0].size
            if taken and size > REQUEST_BYTES_MAX:
                break
            taken += 1
        lanes, self._ready = self._ready[:taken], self._ready[taken:]
        return lanes

    def _pack(self, lanes: list[Lane]) -> ProduceRequest:
        topics: dict[str, list[tuple[int, bytes | bytearray]]] = {}
        give_up_at = self._loop.time() + self._timeout_ms / 1000
        for lane in lanes:
            batch: Batch = lane.batches[0]
            if batch.give_up_at is None:
                batch.give_up_at = give_up_at
            lane.in_flight = True
            topics.setdefault(lane.topic, []).append((lane.partition, batch.packed()))
        return ProduceRequest(topics, timeout_ms=self._timeout_ms)

    def _what_happened(self, error: BaseException) -> tuple[AfterstayError, AfterstayError]:
        waiting = unavailable(f"broker {self._node}: {describe(error)}")
        if isinstance(error, NodeNotReadyError):
            return waiting, waiting
        if isinstance(error, IncompatibleBrokerVersion):
            too_old = Permanent("broker-refused", f"broker {self._node} is not usable: {error}")
            return too_old, too_old
        return unknown(f"broker {self._node}: {describe(error)}"), waiting


def unknown(reason: str) -> Ambiguous:
    """Return the error that says: it may have happened."""
    return Ambiguous("log-write-unknown", f"Kafka did not say whether the record was stored ({reason}); send it again")
