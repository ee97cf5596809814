"""Appends to Kafka from the event loop: `acks=all`, explicit partitions, time of receipt as the record's time.

Promise: that of `port.Publisher`, but for one thing: it does not heal by itself. After the first failure that is not
of one record alone it is `broken` for good: everything outstanding is answered at once, `log-write-unknown` for what
was on its way and `log-unavailable` for the rest and for all that comes, until its owner (`eventlog.spooled`) closes
it and opens another. Opening another is the probe, so nothing is ever sent through a client in an unknown state.

A broker that is dead or frozen is noticed within `SEND_S`, counted from when a batch was first tried; a leader that is
moving is waited for as long. Source: the producer recipe of `streaming.md` §8; `docs/adr/0011-kafka-publisher.md`.
"""

import asyncio
import copy
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from aiokafka.errors import for_code

from services.runtime.errors import AfterstayError, Permanent, Transient
from services.runtime.eventlog.kafka.batches import Lane
from services.runtime.eventlog.kafka.client import REQUEST_TIMEOUT_MS, RETRY_BACKOFF_MS, KafkaClient, unavailable
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.sender import BrokerSender, unknown
from services.runtime.eventlog.kafka.wire import PartitionAnswer
from services.runtime.eventlog.port import NewRecord, OnPublished, Position, PublishOutcome

SEND_S: Final = REQUEST_TIMEOUT_MS / 1000
CLOSE_S: Final = 5.0
"""How long `close` finishes what was handed over, before it answers that it is unknown."""

_NOT_STORED_YET: Final = {3, 5, 6, 19}  # unknown partition, no leader, not the leader, too few in sync: try again
_TOO_LARGE: Final = {10, 18}
_CERTAINLY_NOT_STORED: Final = {None, 2, 17, 29, 32, 87}  # corrupt, topic's name, not authorized, timestamp, record


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaPublisherLimits:
    """How much may wait for the brokers, and how large one record may be; as the embedded log's."""

    queue_records_max: int = 10_000
    queue_bytes_max: int = 32 * 1024 * 1024
    record_bytes_max: int = 8 * 1024 * 1024  # `schemas.topics` sets the topics' `max.message.bytes` above it


class KafkaPublisher:
    """Sends until the first failure; see the module. Any number may exist beside each other."""

    def __init__(self, client: KafkaClient, limits: KafkaPublisherLimits) -> None:
        self.broken: AfterstayError | None = None
        """What ended it; None while it works."""
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._limits = limits
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._senders: dict[int, BrokerSender] = {}
        self._unknown_topics: dict[str, list[tuple[NewRecord, OnPublished, int]]] = {}
        self._postponed: list[Lane] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._mending = False
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._closing = False
        self._drained: asyncio.Future[None] | None = None

    @classmethod
    async def open(
        cls, connection: KafkaConnection, *, client_id: str, limits: KafkaPublisherLimits | None = None
    ) -> Self:
        """Connect to the cluster.

        Raises:
            Permanent: `broker-settings-unusable`, `broker-refused`.
            Transient: `log-unavailable`.
        """
        return cls(await KafkaClient.open(connection, client_id=client_id), limits or KafkaPublisherLimits())

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions; from then on its records take the short way."""
        found = await self._client.partitions(topic)
        for partition in found:
            self._lanes.setdefault((topic, partition), Lane(topic, partition))
        return found

    async def publish(self, record: NewRecord) -> Position:
        """Append one record and return where, once every in-sync replica has it."""
        future: asyncio.Future[Position] = self._loop.create_future()

        def on_done(outcome: PublishOutcome) -> None:
            if future.done():  # the caller was canceled
                return
            if isinstance(outcome, Position):
                future.set_result(outcome)
            else:
                future.set_exception(copy.copy(outcome))  # one error may answer many; each raises its own

        self.submit(record, on_done)
        return await future

    def submit(self, record: NewRecord, on_done: OnPublished) -> None:
        """Append one record and call `on_done` once every in-sync replica has it, or it has failed."""
        size = len(record.key) + len(record.value)
        for _name, content in record.headers:
            size += len(content)
        refusal = self._refuse(size)
        if refusal is not None:
            self._loop.call_soon(on_done, refusal)
            return
        self._waiting_records += 1
        lane = self._lanes.get((record.topic, record.partition))
        if lane is None or self._unknown_topics:
            self._waiting_bytes += size
            self._ask_for(record, on_done, size)
            return
        self._waiting_bytes += lane.add(record, on_done)
        if not lane.busy:
            self._route(lane)

    async def close(self) -> None:
        """Send and report what was submitted, within `CLOSE_S`, and close the connections."""
        if not self._closing:
            self._closing = True
            if self._waiting_records:
                self._drained = self._loop.create_future()
                await asyncio.wait([self._drained], timeout=CLOSE_S)
                self.stop_for(unknown("it was closed meanwhile"), unavailable("it was closed meanwhile"))
            for sender in self._senders.values():
                sender.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    # What was answered (`sender.Answers`)

    def answered(self, lanes: Sequence[tuple[Lane, PartitionAnswer]]) -> None:
        """Tell the records of each batch where they are, or try it again, or give up."""
        told: list[tuple[OnPublished, PublishOutcome]] = []
        for lane, answer in lanes:
            if answer.error_code == 0:
                told += self._stored(lane, answer.base_offset)
            elif answer.error_code in _NOT_STORED_YET:
                self._postpone(lane)
                continue
            elif answer.error_code in _TOO_LARGE:
                told += self._too_large(lane)
            else:
                lane.failed_with = answer.error_code
                continue
            lane.busy = False
            if lane.batches:
                self._route(lane)
        self._report(told)
        for lane, answer in lanes:
            if lane.failed_with is not None:
                reason = f"{for_code(answer.error_code).__name__} for partition {lane.partition} of {lane.topic}"
                self.stop_for(unknown(reason), unavailable(reason))
                return

    def stop_for(self, in_flight: AfterstayError, waiting: AfterstayError) -> None:
        """Answer everything that is outstanding and send nothing more."""
        if self.broken is not None:
            return
        self.broken = waiting
        told: list[tuple[OnPublished, PublishOutcome]] = []
        for lane in self._lanes.values():
            for number, batch in enumerate(lane.batches):
                is_unknown = number == 0 and (lane.in_flight or lane.failed_with not in _CERTAINLY_NOT_STORED)
                told += ((on_done, in_flight if is_unknown else waiting) for _record, on_done in batch.entries)
            lane.batches.clear()
        for records in self._unknown_topics.values():
            told += ((on_done, waiting) for _record, on_done, _size in records)
        self._unknown_topics.clear()
        self._waiting_bytes = 0
        self._report(told)
        for sender in self._senders.values():
            sender.close()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _stored(self, lane: Lane, base_offset: int) -> list[tuple[OnPublished, PublishOutcome]]:
        batch = lane.batches.popleft()
        self._waiting_bytes -= batch.size
        topic, partition = lane.topic, lane.partition
        return [
            (on_done, Position(topic=topic, partition=partition, offset=offset))
            for offset, (_record, on_done) in enumerate(batch.entries, base_offset)
        ]

    def _too_large(self, lane: Lane) -> list[tuple[OnPublished, PublishOutcome]]:
        batch = lane.batches[0]
        if len(batch.entries) > 1:
            lane.split_first()
            return []
        lane.batches.popleft()
        self._waiting_bytes -= batch.size
        return [(batch.entries[0][1], _record_too_large(batch.size, f"what topic {lane.topic} takes"))]

    def _report(self, told: list[tuple[OnPublished, PublishOutcome]]) -> None:
        self._waiting_records -= len(told)
        self._loop.call_soon(self._tell, iter(told))
        if self._drained is not None and not self._waiting_records and not self._drained.done():
            self._drained.set_result(None)

    def _tell(self, calls: Iterator[tuple[OnPublished, PublishOutcome]]) -> None:
        try:
            for on_done, outcome in calls:
                on_done(outcome)
        except BaseException:
            self._loop.call_soon(self._tell, calls)  # the others are told in the next turn
            raise

    # Where a batch goes

    def _route(self, lane: Lane) -> None:
        lane.busy = True
        node = self._client.leader(lane.topic, lane.partition)
        if node is None:
            self._postpone(lane)
            return
        sender = self._senders.get(node)
        if sender is None:
            sender = self._senders[node] = BrokerSender(self._client, node, self, timeout_ms=REQUEST_TIMEOUT_MS)
        sender.put(lane)

    def _postpone(self, lane: Lane) -> None:
        """Try a lane again once its leader is known, unless that takes too long."""
        batch = lane.batches[0]
        if batch.give_up_at is None:
            batch.give_up_at = self._loop.time() + SEND_S
        self._postponed.append(lane)
        if not self._mending:
            self._mending = True
            self._spawn(self._mend())

    async def _mend(self) -> None:
        while self._postponed:
            limit = min(lane.batches[0].give_up_at or 0.0 for lane in self._postponed)
            try:
                async with asyncio.timeout_at(limit):
                    await asyncio.sleep(RETRY_BACKOFF_MS / 1000)
                    await self._client.refresh()
            except TimeoutError:
                lane = self._postponed[0]
                error = unavailable(f"partition {lane.partition} of {lane.topic} has no leader with enough replicas")
                self.stop_for(unknown("another partition failed meanwhile"), error)
                return
            lanes, self._postponed = self._postponed, []
            for lane in lanes:
                self._route(lane)
        self._mending = False

    def _ask_for(self, record: NewRecord, on_done: OnPublished, size: int) -> None:
        """Keep a record of a topic that is new to us, or behind such a one, until its partitions are known."""
        waiting = self._unknown_topics.get(record.topic)
        if waiting is None:
            waiting = self._unknown_topics[record.topic] = []
            self._spawn(self._learn(record.topic))
        waiting.append((record, on_done, size))

    async def _learn(self, topic: str) -> None:
        refusal: AfterstayError | None = None
        found: tuple[int, ...] = ()
        try:
            found = await self.partitions(topic)
        except Permanent as error:
            refusal = error
        except Transient as error:
            self.stop_for(unknown("another topic could not be asked for meanwhile"), error)
            return
        for record, on_done, size in self._unknown_topics.pop(topic, ()):
            self._waiting_bytes -= size
            lane = self._lanes.get((topic, record.partition))
            if lane is None:
                self._report([(on_done, refusal or _unknown_partition(record, found))])
                continue
            self._waiting_bytes += lane.add(record, on_done)
            if not lane.busy:
                self._route(lane)

    def _refuse(self, size: int) -> AfterstayError | None:
        if self._closing or self.broken is not None:
            return self.broken or unavailable("it is being closed")
        limits = self._limits
        if size > limits.record_bytes_max:
            return _record_too_large(size, f"the limit of {limits.record_bytes_max}")
        if self._waiting_records >= limits.queue_records_max or (
            self._waiting_records and self._waiting_bytes + size > limits.queue_bytes_max
        ):
            return Transient(
                "log-overloaded",
                f"{self._waiting_records} records of {self._waiting_bytes} bytes already wait for Kafka; nothing was "
                "stored, try again when it has caught up",
            )
        return None

    # Tasks

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Stop when a task broke by a mistake of ours, and let the loop's exception handler hear of it."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        self.stop_for(unknown("the publisher broke"), unavailable("the publisher broke"))
        raise error


def _record_too_large(size: int, than: str) -> Permanent:
    return Permanent(
        "record-too-large",
        f"a record of {size} bytes is above {than}; lower the frame limit of the listener or raise this one",
    )


def _unknown_partition(record: NewRecord, found: tuple[int, ...]) -> Permanent:
    return Permanent("partition-unknown", f"{record.topic} has partitions 0 to {max(found)}, not {record.partition}")
