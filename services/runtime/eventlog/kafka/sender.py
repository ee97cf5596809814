"""Sends what waits for the partitions of one broker: one request at a time, of everything that queued meanwhile.

With one request in flight for each broker a partition's order holds without sequence numbers, and batches grow by
themselves with the load: nothing ever waits for company (linger 0). What is submitted in one turn of the loop leaves
together.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from services.runtime.errors import AfterstayError, Ambiguous
from services.runtime.eventlog.kafka.batches import Lane
from services.runtime.eventlog.kafka.client import KafkaClient, unavailable
from services.runtime.eventlog.kafka.link import BrokerLink
from services.runtime.eventlog.kafka.wire import PartitionAnswer

REQUEST_BYTES_MAX: Final = 1_048_576
"""Batches that go together; a single one that is larger goes alone. The broker's own limit is 100 MiB."""


class Answers(Protocol):
    """Hears what became of batches; `publisher.KafkaPublisher` is one."""

    def answered(self, lanes: Sequence[tuple[Lane, PartitionAnswer]]) -> None:
        """The broker has spoken of the first batch of each of these lanes."""

    def stop_for(self, in_flight: AfterstayError, waiting: AfterstayError) -> None:
        """Nothing more can be sent; what was on its way and what was not fare differently."""

    def ended(self, task: asyncio.Task[None]) -> None:
        """A task is over, perhaps by a mistake of ours."""


class BrokerSender:
    """One broker's lanes that have something to send; a link's receiver."""

    def __init__(self, client: KafkaClient, node: int, answers: Answers, *, timeout_ms: int) -> None:
        self._client = client
        self._node = node
        self._answers = answers
        self._timeout_ms = timeout_ms
        self._loop = asyncio.get_running_loop()
        self._ready: list[Lane] = []
        self._in_flight: dict[tuple[str, int], Lane] = {}
        self._link: BrokerLink | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_due = False  # a send is to come in this turn of the loop
        self._closed = False

    def put(self, lane: Lane) -> None:
        """Take a lane whose first batch is to be sent; it is the lane's only place until it was answered."""
        self._ready.append(lane)
        if not self._is_due and not self._in_flight:
            self._is_due = True
            self._loop.call_soon(self._send)

    def close(self) -> None:
        """Send nothing more, and let go of the connection."""
        self._closed = True
        self._ready.clear()
        self._in_flight.clear()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.close()

    # What the link says (`link.Receiver`)

    def heard(self, answers: list[PartitionAnswer]) -> None:
        """Hand on what the broker said, and send what has queued meanwhile."""
        in_flight, self._in_flight = self._in_flight, {}
        if {(answer.topic, answer.partition) for answer in answers} != in_flight.keys():
            said = f"broker {self._node} answered for other partitions than it was sent"
            self._answers.stop_for(unknown(said), unavailable(said))
            return
        told = []
        for answer in answers:
            lane = in_flight[answer.topic, answer.partition]
            lane.in_flight = False
            told.append((lane, answer))
        self._answers.answered(told)
        if self._ready and not self._is_due:
            self._send()

    def lost(self, reason: str) -> None:
        """Give up if something was on its way; otherwise connect again when there is something to send."""
        self._link = None
        if self._in_flight:
            said = f"broker {self._node}: {reason}"
            self._answers.stop_for(unknown(said), unavailable(said))

    def _send(self) -> None:
        self._is_due = False
        if self._closed or not self._ready or self._in_flight or self._connecting is not None:
            return
        if self._link is None:
            self._connecting = self._loop.create_task(self._connect())
            self._connecting.add_done_callback(self._answers.ended)
            return
        topics: dict[str, list[tuple[int, bytes | bytearray]]] = {}
        give_up_at = self._loop.time() + self._timeout_ms / 1000
        for lane in self._take():
            batch = lane.batches[0]
            if batch.give_up_at is None:
                batch.give_up_at = give_up_at
            lane.in_flight = True
            self._in_flight[lane.topic, lane.partition] = lane
            topics.setdefault(lane.topic, []).append((lane.partition, batch.packed()))
        self._link.send(topics)

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

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                self._link = await self._client.open_link(self._node, self)
        except TimeoutError:
            error = unavailable(f"broker {self._node} does not answer")
            self._answers.stop_for(error, error)
        except AfterstayError as error:
            self._answers.stop_for(error, error)
        finally:
            self._connecting = None
        self._send()


def unknown(reason: str) -> Ambiguous:
    """Return the error that says: it may have happened."""
    return Ambiguous("log-write-unknown", f"Kafka did not say whether the record was stored ({reason}); send it again")
