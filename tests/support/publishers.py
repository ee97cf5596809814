"""Both ends of a pipeline under test: a publisher whose outcomes the test decides, and a witness of what was said."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from schemas.events import AdtEvent
from services.ingest.hl7.ack import AckCode
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.port import NewRecord, OnPublished, Position, PublishOutcome

PARTITIONS = tuple(range(4))


class ScriptedPublisher:
    """Makes records durable at once, or fails them, or waits to be told; never calls back inside `submit`.

    Attributes:
        records: What is durable, in order.
        tried: Every submit, in order.
        failure: What every submit is answered; ``None`` means success.
        patient: Answer nothing until `release`.
    """

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.tried: list[NewRecord] = []
        self.failure: AfterstayError | None = None
        self.patient = False
        self.closed = False
        self._waiting: deque[tuple[NewRecord, OnPublished]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def partitions(self, _topic: str) -> tuple[int, ...]:
        return PARTITIONS

    async def publish(self, record: NewRecord) -> Position:
        future: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()
        self.submit(record, future.set_result)
        outcome = await future
        if isinstance(outcome, AfterstayError):
            raise outcome
        return outcome

    def submit(self, record: NewRecord, on_done: OnPublished) -> None:
        self.tried.append(record)
        self._waiting.append((record, on_done))
        if not self.patient:
            asyncio.get_running_loop().call_soon(self.release, 1)

    def release(self, count: int | None = None) -> None:
        """Answer the oldest of those that wait; all of them unless a count is given."""
        for _ in range(len(self._waiting) if count is None else count):
            record, on_done = self._waiting.popleft()
            if self.failure is not None:
                on_done(self.failure)
            else:
                self.records.append(record)
                on_done(Position(topic=record.topic, partition=record.partition, offset=len(self.records) - 1))

    async def close(self) -> None:
        self.closed = True


@dataclass
class Witness:
    """Observer and door at once: writes down what it hears."""

    recorded: list[tuple[AdtEvent, AckCode | None]] = field(default_factory=list)
    given_up: list[tuple[AdtEvent, AfterstayError | None]] = field(default_factory=list)
    door: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def message_recorded(self, event: AdtEvent, code: AckCode | None) -> None:
        self.recorded.append((event, code))

    def message_given_up(self, event: AdtEvent, error: AfterstayError | None) -> None:
        self.given_up.append((event, error))

    def log_blocked(self, error: AfterstayError | None) -> None:
        self.log.append(f"blocked:{error.code if error else 'slow'}")

    def log_recovered(self) -> None:
        self.log.append("recovered")

    def pause_accepting(self) -> None:
        self.door.append("shut")

    def resume_accepting(self) -> None:
        self.door.append("open")
