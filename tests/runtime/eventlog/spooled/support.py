"""A log whose every mood the test decides, and publishers with a spool in front of it.

`Broker` is a Kafka as seen through one client: a publisher sends one batch at a time to a partition, so once a record
of a partition fails nothing that was queued behind it is sent; a frozen broker may take in later what lies in its
sockets; an answer may be lost after the record was stored.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from services.runtime.errors import AfterstayError, Ambiguous, Permanent, Transient
from services.runtime.eventlog.port import NewRecord, OnPublished, Position, PublishOutcome
from services.runtime.eventlog.spooled.publisher import SpooledPublisher
from services.runtime.eventlog.spooled.settings import SpoolSettings

TOPIC = "adt.events.v1"
PARTITIONS = 3
WAIT_S = 20.0

Mood = Literal["up", "down", "frozen", "deaf", "topicless"]
"""deaf: stores what it is sent, and its answer is lost; topicless: up, and the topic is not there."""

QUICK = SpoolSettings(
    bytes_max=64 * 1024 * 1024,
    record_bytes_max=1024 * 1024,
    answer_timeout_s=0.2,
    grace_s=0.05,
    close_timeout_s=0.5,
    probe_interval_s=0.01,
    handover_s=0.2,
)


def new_record(number: int, *, partition: int | None = None, padding: int = 0) -> NewRecord:
    return NewRecord(
        topic=TOPIC,
        partition=number % PARTITIONS if partition is None else partition,
        key=b"%d" % number,
        value=b"value %d" % number + bytes(padding),
        headers=(("raw", b"MSH|%d" % number), ("ack", b"AA")),
        timestamp_us=1_790_000_000_000_000 + number,
    )


def number_of(record: NewRecord) -> int:
    return int(record.key)


class Broker:
    """The log that is away from time to time; what it has stored stays."""

    def __init__(self) -> None:
        self.mood: Mood = "up"
        self.partitions = PARTITIONS
        self.record_bytes_max = 2**30
        self.leaderless: set[int] = set()
        self.stored: defaultdict[int, list[NewRecord]] = defaultdict(list)
        self.opened = 0
        self.closed = 0
        self.closes_hang = False
        self._thawed = asyncio.Event()
        self._connections: list[Connection] = []

    @property
    def numbers(self) -> list[int]:
        """Return what is stored, partition by partition."""
        return [number_of(record) for partition in sorted(self.stored) for record in self.stored[partition]]

    def first_occurrences(self, partition: int) -> list[int]:
        return list(dict.fromkeys(number_of(record) for record in self.stored[partition]))

    async def open(self) -> "Connection":
        if self.mood == "frozen":
            await self._thawed.wait()
        if self.mood == "down":
            raise Transient("log-unavailable", "nobody listens")
        self.opened += 1
        self._connections.append(Connection(self))
        return self._connections[-1]

    def change(self, mood: Mood) -> None:
        """Change the mood; on thawing, what lies in the sockets is taken in."""
        self.mood = mood
        if mood != "frozen":
            self._thawed.set()
            self._thawed = asyncio.Event()
            for connection in self._connections:
                connection.thaw()


class Connection:
    """One client of the broker; it is broken for good once something failed."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._broken = False
        self._frozen: list[tuple[NewRecord, OnPublished]] = []
        self._closed = False

    async def partitions(self, _topic: str) -> tuple[int, ...]:
        if self._broker.mood == "topicless":
            raise Permanent("topic-unknown", "there is no such topic")
        return tuple(range(self._broker.partitions))

    async def publish(self, record: NewRecord) -> Position:
        raise NotImplementedError

    def submit(self, record: NewRecord, on_done: OnPublished) -> None:
        asyncio.get_running_loop().call_soon(self._handle, record, on_done)

    def thaw(self) -> None:
        """Take in what was sent before, as far as one batch for each partition: the rest was never sent."""
        frozen, self._frozen = self._frozen, []
        for record, on_done in frozen:
            self._handle(record, on_done)

    async def close(self) -> None:
        self._broken = True
        if self._broker.closes_hang:
            await asyncio.Event().wait()
        if not self._closed:
            self._closed = True
            self._broker.closed += 1

    def _handle(self, record: NewRecord, on_done: OnPublished) -> None:
        broker = self._broker
        if broker.mood == "frozen":
            if not self._broken:
                self._frozen.append((record, on_done))
            return
        on_done(self._outcome(record))

    def _outcome(self, record: NewRecord) -> PublishOutcome:
        broker = self._broker
        if self._broken or broker.mood == "down":
            self._broken = True
            return Transient("log-unavailable", "the connection is gone")
        if broker.mood == "topicless":
            self._broken = True
            return Permanent("topic-unknown", "there is no such topic")
        if record.partition in broker.leaderless:
            return Transient("log-unavailable", "nobody leads this partition")
        if len(record.value) > broker.record_bytes_max:
            return Permanent("record-too-large", "the topic takes no record of this size")
        broker.stored[record.partition].append(record)
        if broker.mood == "deaf":
            self._broken = True
            return Ambiguous("log-write-unknown", "the answer was lost")
        offset = len(broker.stored[record.partition]) - 1
        return Position(topic=record.topic, partition=record.partition, offset=offset)


@dataclass(kw_only=True)
class Sender:
    """Submits numbered records and keeps what was said of each."""

    publisher: SpooledPublisher
    outcomes: dict[int, PublishOutcome] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    next_number: int = 0

    @property
    def acknowledged(self) -> list[int]:
        return [number for number in self.order if isinstance(self.outcomes[number], Position)]

    @property
    def unanswered(self) -> int:
        return self.next_number - len(self.outcomes)

    def send(self, count: int = 1, *, padding: int = 0, partition: int | None = None) -> None:
        for number in range(self.next_number, self.next_number + count):
            self.publisher.submit(new_record(number, padding=padding, partition=partition), self._taker(number))
        self.next_number += count

    async def send_and_wait(self, count: int = 1, *, padding: int = 0) -> None:
        self.send(count, padding=padding)
        await until(lambda: not self.unanswered)

    def _taker(self, number: int) -> Callable[[PublishOutcome], None]:
        def take(outcome: PublishOutcome) -> None:
            assert number not in self.outcomes, f"record {number} was answered twice"
            self.outcomes[number] = outcome
            self.order.append(number)

        return take


@dataclass(kw_only=True)
class OpenSpool:
    publisher: SpooledPublisher
    failures: list[AfterstayError]


@asynccontextmanager
async def opened(
    folder: Path,
    broker: Broker,
    *,
    settings: SpoolSettings = QUICK,
    topics: Mapping[str, int] | None = None,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> AsyncIterator[OpenSpool]:
    failures: list[AfterstayError] = []
    publisher = await SpooledPublisher.open(
        folder,
        open_direct=broker.open,
        topics={TOPIC: PARTITIONS} if topics is None else topics,
        settings=settings,
        on_failure=failures.append,
        factory=factory,
    )
    try:
        yield OpenSpool(publisher=publisher, failures=failures)
    finally:
        await publisher.close()


async def until(condition: Callable[[], bool], *, within_s: float = WAIT_S) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the state of a publisher is looked at, it sets no event
            await asyncio.sleep(0.001)


async def until_direct(publisher: SpooledPublisher) -> None:
    await until(lambda: publisher.stats.state == "direct" and publisher.stats.records == 0)


def small(settings: SpoolSettings = QUICK, **changes: float) -> SpoolSettings:
    return replace(settings, **changes)  # type: ignore[arg-type]  # the names are checked by replace itself
