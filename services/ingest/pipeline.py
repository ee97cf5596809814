"""From a frame to its acknowledgement, by way of the log.

**Promise (house style 10): AA is sent only after the event is durable in the log**, with the message's bytes as
received beside it; and every message gets exactly one answer, or none at all and a closed connection:

- While nothing can be written the answers are held, up to `HOLD_MAX_S`. Then their connections are closed without an
  answer and new ones are refused, until a write succeeds: senders resend what was not answered, while many engines
  drop a message that was refused (DESIGN §2).
- A write that may or may not have happened is tried again like one that did not: the same bytes are the same event
  (`schemas.events.event_id_of`), and whoever reads the log claims each event once.
- What tests whether writing is possible again is a message that was given up, so nothing but messages is in the log.

There is no task per message: a message costs one submit and one callback, and one timer serves all of them.
"""

import asyncio
import heapq
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from schemas.canary import is_canary
from schemas.cloud_events import cloud_event_headers
from schemas.events import ACK_HEADER, RAW_HEADER, SENDER_HEADER, AdtEvent, encode_event
from schemas.topics import ADT_EVENTS, partition_of
from services.ingest.hl7.ack import AckCode
from services.ingest.mllp.frame import HEAD_BYTES_MAX
from services.ingest.mllp.inbound import Answer, Inbound
from services.ingest.reception import Decision, Reception
from services.ingest.senders import write_names
from services.runtime.clock import Clock, to_timestamp_us
from services.runtime.errors import AfterstayError, Permanent
from services.runtime.eventlog.port import NewRecord, Publisher, PublishOutcome
from services.runtime.metrics import Durations

HOLD_MAX_S: Final = 10.0
"""DESIGN §2. Engines wait 10 to 60 s for an answer before they close and resend."""
RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 1.0
"""How soon, after space returns, the held answers leave: a sender waits no longer than that on top."""

NOT_ANSWERED: Final = b"none"
"""Value of the ``ack`` header of a frame that was broken off by its sender, who waits for no answer to it."""


class Door(Protocol):
    """Lets connections in, or refuses them; `mllp.server.MllpServer` is one."""

    def pause_accepting(self) -> None:
        """Refuse new connections."""

    def resume_accepting(self) -> None:
        """Let them in again."""


class PipelineObserver(Protocol):
    """Hears what became of messages; called on the event loop, must return at once and not raise."""

    def message_recorded(self, event: AdtEvent, code: AckCode | None) -> None:
        """The message is durable and its answer on the way."""

    def message_given_up(self, event: AdtEvent, error: AfterstayError | None) -> None:
        """The message was not made durable in time and is not answered; no error means that the log was too slow."""

    def log_blocked(self, error: AfterstayError | None) -> None:
        """Nothing can be written; new connections are refused from now on."""

    def log_recovered(self) -> None:
        """Writing is possible again."""


@dataclass(slots=True)
class PipelineStats:
    """Counts since the start; read them on the event loop."""

    received: int = 0
    recorded: int = 0
    given_up: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    durations: Durations = field(default_factory=Durations)
    """From the frame to its record being durable."""
    last_of_feed: dict[str, datetime] = field(default_factory=dict)
    """When the last message of each feed was received."""


class _Passage:
    """One message on its way."""

    __slots__ = ("_pipeline", "answer", "deadline", "decision", "inbound", "number", "record", "settled")

    def __init__(self, pipeline: "Pipeline", number: int, inbound: Inbound, answer: Answer, deadline: float) -> None:
        self._pipeline = pipeline
        self.number = number
        self.inbound = inbound
        self.answer = answer
        self.deadline = deadline
        self.settled = False
        self.decision: Decision
        self.record: NewRecord

    def on_done(self, outcome: PublishOutcome) -> None:
        """Hear what became of the record."""
        self._pipeline.hear(self, outcome)


def _sender_header(inbound: Inbound) -> tuple[tuple[str, bytes], ...]:
    """Return who sent it, as a record's headers hold it, so that it is known when the message is read anew."""
    return () if inbound.identity is None else ((SENDER_HEADER, write_names(inbound.identity)),)


class Pipeline:
    """Handles the messages of one listener; it is the server's `Handler`."""

    def __init__(
        self,
        *,
        reception: Reception,
        publisher: Publisher,
        partitions: tuple[int, ...],
        clock: Clock,
        door: Door,
        observer: PipelineObserver,
        hold_max_s: float = HOLD_MAX_S,
    ) -> None:
        self.stats = PipelineStats()
        self._loop = asyncio.get_running_loop()
        self._reception = reception
        self._publisher = publisher
        self._partitions = partitions
        self._clock = clock
        self._door = door
        self._observer = observer
        self._hold_max_s = hold_max_s
        self._open: deque[_Passage] = deque()  # in the order of their deadlines
        # Those of them whose write failed or was not tried, as a heap by number: a retry that fails, and a failure that
        # comes late, must not put a message behind the ones that came after it.
        self._held: list[tuple[int, _Passage]] = []
        self._expiry: asyncio.TimerHandle | None = None
        # While writing fails, one record is tried at a time and the others wait behind it.
        self._failing: AfterstayError | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = RETRY_FIRST_S
        self._blocked_by: _Passage | None = None  # given up: new connections are refused, and this one is tried
        self._closed = False

    def __call__(self, inbound: Inbound, answer: Answer) -> None:
        """Decide, submit, and answer once it is durable."""
        self.stats.received += 1
        passage = _Passage(self, self.stats.received, inbound, answer, self._loop.time() + self._hold_max_s)
        self._decide(passage)
        self._open.append(passage)
        if self._expiry is None:
            self._expiry = self._loop.call_at(passage.deadline, self._expire)
        if self._failing is None:
            self._publisher.submit(passage.record, passage.on_done)
        else:
            self._hold(passage)

    @property
    def blocked(self) -> bool:
        """Whether nothing can be stored, so that new connections are refused."""
        return self._blocked_by is not None

    def close(self) -> None:
        """Stop retrying; what is not durable by now is never answered. Call it when the server has drained."""
        self._closed = True
        for timer in (self._expiry, self._retry):
            if timer is not None:
                timer.cancel()
        while self._open:
            self._settle(self._open[0], None)
        self._held.clear()

    def hear(self, passage: _Passage, outcome: PublishOutcome) -> None:
        """Hear what became of a passage's record."""
        if not isinstance(outcome, AfterstayError):
            self._go_on()
            self._finish(passage)
        elif isinstance(outcome, Permanent):
            self._reduce(passage, outcome)
        elif outcome.code == "log-failed":
            self._give_up(passage, outcome)  # for good: the process is about to end, holding on helps nobody
        else:
            self._fail(passage, outcome)

    def _decide(self, passage: _Passage) -> None:
        received_at = self._clock.now()
        decision = self._reception.receive(passage.inbound, received_at)
        event, code = decision.event, decision.code
        passage.decision = decision
        event_id = event.event_id.encode("ascii")
        passage.record = NewRecord(
            topic=ADT_EVENTS,
            partition=self._partitions[partition_of(event, len(self._partitions))],
            key=event_id,
            value=encode_event(event),
            headers=(
                (RAW_HEADER, passage.inbound.payload),
                (ACK_HEADER, code.encode("ascii") if code else NOT_ANSWERED),
                *_sender_header(passage.inbound),
                *cloud_event_headers(event_id, received_at),
            ),
            timestamp_us=to_timestamp_us(received_at),
        )

    def _finish(self, passage: _Passage) -> None:
        if passage.settled:
            return  # it came too late: the sender was hung up on and sends it again
        decision, stats = passage.decision, self.stats
        stats.recorded += 1
        stats.codes[decision.code or "none"] += 1
        stats.outcomes[decision.event.intake.outcome] += 1
        stats.durations.add(self._loop.time() - passage.deadline + self._hold_max_s)
        if decision.event.feed is not None and not is_canary(decision.event):  # a canary must not hide a silent feed
            stats.last_of_feed[decision.event.feed] = decision.event.received_at
        self._settle(passage, decision.answer)
        self._observer.message_recorded(decision.event, decision.code)

    def _settle(self, passage: _Passage, answer: bytes | None) -> None:
        """Answer, and let go of what is settled; so the first of those that are open never is."""
        passage.settled = True
        passage.answer(answer)
        while self._open and self._open[0].settled:
            self._open.popleft()

    # When writing fails

    def _reduce(self, passage: _Passage, error: Permanent) -> None:
        """Refuse a message whose record is larger than the log takes, and record its head instead."""
        if error.code != "record-too-large" or passage.inbound.oversized:
            self._give_up(passage, error)
            return
        passage.inbound = replace(passage.inbound, payload=passage.inbound.payload[:HEAD_BYTES_MAX], oversized=True)
        self._decide(passage)
        self._publisher.submit(passage.record, passage.on_done)

    def _fail(self, passage: _Passage, error: AfterstayError) -> None:
        self._failing = error
        if not passage.settled:
            self._hold(passage)
        self._schedule_retry()

    def _hold(self, passage: _Passage) -> None:
        heapq.heappush(self._held, (passage.number, passage))

    def _schedule_retry(self) -> None:
        if self._retry is None and not self._closed:
            self._retry = self._loop.call_later(self._retry_s, self._try_again)
            self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)

    def _try_again(self) -> None:
        self._retry = None
        while self._held and self._held[0][1].settled:
            heapq.heappop(self._held)
        passage = heapq.heappop(self._held)[1] if self._held else self._blocked_by
        if passage is None:
            self._failing = None  # nobody waits: the next message tries for itself
        else:
            self._publisher.submit(passage.record, passage.on_done)

    def _go_on(self) -> None:
        """Note that writing works, and send what had to wait behind."""
        if self._blocked_by is not None:
            self._blocked_by = None
            self._door.resume_accepting()
            self._observer.log_recovered()
        if self._failing is not None:
            self._failing = None
            self._retry_s = RETRY_FIRST_S
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            waiting, self._held = sorted(self._held), []
            for _number, passage in waiting:
                if not passage.settled:
                    self._publisher.submit(passage.record, passage.on_done)

    def _expire(self) -> None:
        """Give up those that have waited long enough; look again when the next one has."""
        self._expiry = None
        now = self._loop.time()
        hung_up: set[int] = set()
        while self._open and self._open[0].deadline <= now:
            hung_up.add(self._open[0].inbound.connection_id)
            self._give_up(self._open[0], self._failing)
        self._give_up_held_of(hung_up)
        if self._open:
            self._expiry = self._loop.call_at(self._open[0].deadline, self._expire)

    def _give_up_held_of(self, connections: set[int]) -> None:
        """Give up what else these hung-up connections have held: stored now, it would come before what they resend."""
        for _number, passage in sorted(self._held) if connections else ():
            if passage.inbound.connection_id in connections:
                self._give_up(passage, self._failing)

    def _give_up(self, passage: _Passage, error: AfterstayError | None) -> None:
        if not passage.settled:
            self.stats.given_up += 1
            self._settle(passage, None)
            self._observer.message_given_up(passage.decision.event, error)
        if self._blocked_by is None:
            self._blocked_by = passage
            self._door.pause_accepting()
            self._observer.log_blocked(error)
        if error is not None:
            self._failing = error
            self._schedule_retry()
