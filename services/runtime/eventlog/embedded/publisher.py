"""Appends to the embedded log from the event loop: limits, hand-over to the writer thread, answers.

Promise: that of `port.Publisher`. What is submitted in one turn of the loop is handed over together at its end, and
what one commit made durable is answered in one turn, so a message costs no task, no lock and no wake-up of its own.
What waits is bounded in records and in bytes; beyond that the answer is `log-overloaded`, at once.
"""

import asyncio
import copy
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.runtime.errors import AfterstayError, Ambiguous, Permanent, Transient
from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.embedded.topics import (
    illegal_topic,
    is_legal_topic,
    require_legal_topic,
    unknown_partition,
)
from services.runtime.eventlog.embedded.writer import (
    Append,
    LogWriter,
    Outcome,
    WriterLimits,
    failed_for_good,
)
from services.runtime.eventlog.port import NewRecord, OnPublished, Position, PublishOutcome
from services.runtime.lifecycle import in_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherLimits:
    """How much may wait for the disk, and how large one record may be."""

    queue_records_max: int = 10_000  # a second or more of the fastest listener; a stalled disk fills it
    queue_bytes_max: int = 32 * 1024 * 1024  # half of what bad input may cost the process (faults.md P8)
    record_bytes_max: int = 8 * 1024 * 1024  # a frame of 1 MiB, its event, and JSON's escapes of both
    writer: WriterLimits = WriterLimits()  # noqa: RUF009 - frozen, so sharing the default is safe


class EmbeddedPublisher:
    """The one publisher of a data folder; that there is only one is the caller's `FolderLock` to keep."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        on_failure: Callable[[AfterstayError], None],
        limits: PublisherLimits,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._limits = limits
        self._writer = LogWriter(
            connection,
            limits.writer,
            report=lambda appends, outcome: self._post(self._answer, appends, outcome),
            fail=lambda error: self._post(self._fail, error),
            end=lambda broke, in_hand: self._post(self._finish, broke, in_hand),
        )
        self._partition_count = self._writer.partitions
        self._topics: set[str] = set()
        self._turn: list[Append] = []
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._refused: AfterstayError | None = None  # what every submit is answered, once closing or failed
        self._closing = False
        self._failed = False
        self._ended = asyncio.Event()
        self._writer.start()

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        on_failure: Callable[[AfterstayError], None],
        partitions: int = layout.PARTITIONS_DEFAULT,
        limits: PublisherLimits | None = None,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> Self:
        """Open the log in a data folder, making it if there is none; `partitions` counts only then.

        `on_failure` is called once, on the loop, if the log fails for good: stop accepting and exit non-zero.

        Raises:
            Permanent: `data-folder-unusable`, `log-damaged`, `log-format-unknown`.
            Transient: `log-unavailable`.
        """
        connection = await in_thread(
            None, lambda: layout.open_for_writing(folder, partitions=partitions, factory=factory)
        )
        return cls(connection, on_failure=on_failure, limits=limits or PublisherLimits())

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions; every topic has the same."""
        require_legal_topic(topic)
        return tuple(range(self._partition_count))

    async def publish(self, record: NewRecord) -> Position:
        """Append one record and return where, once it is durable."""
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
        """Append one record and call `on_done` once it is durable or has failed."""
        headers = layout.encode_headers(record.headers)
        size = len(record.key) + len(record.value) + len(headers)
        refusal = self._refuse(record, size)
        if refusal is not None:
            self._loop.call_soon(on_done, refusal)
            return
        self._waiting_records += 1
        self._waiting_bytes += size
        if not self._turn:
            self._loop.call_soon(self._hand_over)
        self._turn.append((record, headers, size, on_done))

    async def close(self) -> None:
        """Write and report what was submitted, then close the file."""
        if not self._closing:
            self._closing = True
            self._refused = self._refused or Transient(
                "log-unavailable", "the event log is closing; nothing was stored, send it again after the restart"
            )
            self._hand_over()
            self._writer.stop()
        await self._ended.wait()
        self._writer.join()

    def _refuse(self, record: NewRecord, size: int) -> AfterstayError | None:
        if self._refused is not None:
            return self._refused
        if record.topic not in self._topics:
            if not is_legal_topic(record.topic):
                return illegal_topic()
            self._topics.add(record.topic)
        if not 0 <= record.partition < self._partition_count:
            return unknown_partition(record.topic, record.partition, self._partition_count)
        limits = self._limits
        if size > limits.record_bytes_max:
            return Permanent(
                "record-too-large",
                f"a record of {size} bytes is above the limit of {limits.record_bytes_max}; lower the frame limit of "
                "the listener or raise this one",
            )
        if self._waiting_records >= limits.queue_records_max or (
            self._waiting_records and self._waiting_bytes + size > limits.queue_bytes_max
        ):
            return Transient(
                "log-overloaded",
                f"{self._waiting_records} records of {self._waiting_bytes} bytes already wait for the disk; nothing "
                "was stored, try again when it has caught up",
            )
        return None

    def _hand_over(self) -> None:
        if self._turn:
            self._writer.put(self._turn)
            self._turn = []

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a method on the loop, from the writer's thread."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed without close(): nobody is left to be told, and nobody was acknowledged.
            self._writer.stop()

    def _answer(self, appends: list[Append], outcome: Outcome) -> None:
        self._waiting_records -= len(appends)
        self._waiting_bytes -= sum(append[2] for append in appends)
        outcomes: list[PublishOutcome] = [outcome] * len(appends) if isinstance(outcome, AfterstayError) else [*outcome]
        self._tell((append[3], told) for append, told in zip(appends, outcomes, strict=True))

    def _tell(self, calls: Iterator[tuple[OnPublished, PublishOutcome]]) -> None:
        try:
            for on_done, outcome in calls:
                on_done(outcome)
        except BaseException:
            self._loop.call_soon(self._tell, calls)  # the others are told in the next turn
            raise

    def _fail(self, error: AfterstayError) -> None:
        if not self._failed:
            self._failed = True
            self._refused = error
            self._on_failure(error)

    def _finish(self, broke: bool, in_hand: list[Append]) -> None:
        """Let `close` return; if the thread broke, answer what it left behind."""
        self._ended.set()
        if not broke:
            return
        self._answer(
            in_hand,
            Ambiguous("log-write-unknown", "the writer of the event log broke; the record may be stored or not"),
        )
        self._hand_over()
        self._answer(self._writer.leftover(), failed_for_good())
        self._fail(failed_for_good())
