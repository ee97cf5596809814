"""Composition of the listener: feeds, pipeline and MLLP server, on whichever event log it is given.

One of the few places that build adapters. The order of an end is the order of the promises: no new messages, answers to
those in flight, then the log is closed; what was not answered by then is sent again by its sender.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from schemas.topics import ADT_EVENTS
from services.ingest.door import DoorSettings
from services.ingest.feeds import Feeds
from services.ingest.feeds_file import FeedsError, load_feeds
from services.ingest.hl7.charset import resolve_charset
from services.ingest.measures import provide_door_metrics, provide_listener_metrics
from services.ingest.mllp.server import DRAIN_TIMEOUT_S
from services.ingest.mllp_door import MllpDoor
from services.ingest.observers import LoggingPipelineObserver, LoggingServerObserver
from services.ingest.pipeline import Pipeline
from services.ingest.reception import Reception, control_ids
from services.ingest.senders import Senders
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import AfterstayError, ConfigurationError, ConfigurationProblem
from services.runtime.eventlog.port import Publisher
from services.runtime.log import Logger, get_logger
from services.runtime.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """What a listener is told.

    Attributes:
        feeds_file: Who sends; without one every message is parked.
        door: Where to listen, and whom to let in.
    """

    feeds_file: Path | None
    door: DoorSettings = field(default_factory=DoorSettings)


def open_feeds(file: Path | None) -> Feeds:
    """Read the feeds file; without one no feed is known.

    Raises:
        ConfigurationError: `feeds-file-invalid`, with every problem in it.
    """
    if file is None:
        return Feeds()
    try:
        return load_feeds(file, is_charset=lambda label: resolve_charset(label) is not None)
    except FeedsError as error:
        problems = [ConfigurationProblem(file=error.file, line=one.line, reason=one.reason) for one in error.problems]
        raise ConfigurationError(problems, code="feeds-file-invalid") from error


class OpenPublisher(Protocol):
    """Opens the log that messages go to."""

    async def __call__(self, *, on_failure: Callable[[AfterstayError], None]) -> Publisher:
        """Return its publisher; `on_failure` hears of a failure for good."""


class Listener:
    """Takes messages over MLLP, makes them durable, answers. Open it once, start it once, drain it once.

    Attributes:
        failed: Set when the log has failed for good: the process must stop and exit non-zero (fault F12).
        senders: Who may send as whom, and how often somebody may not.
        door: Where connections come in; says what it must warn of.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        feeds: Feeds,
        publisher: Publisher,
        partitions: tuple[int, ...],
        failed: asyncio.Event,
        clock: Clock,
        log: Logger,
    ) -> None:
        self.failed = failed
        self.senders = Senders(feeds)
        self._publisher = publisher
        self._pipeline = Pipeline(
            reception=Reception(feeds, control_ids=control_ids(clock.now()), senders=self.senders),
            publisher=publisher,
            partitions=partitions,
            clock=clock,
            door=self,
            observer=LoggingPipelineObserver(log),
        )
        self.door = MllpDoor(
            settings.door, self._pipeline, feeds=feeds, observer=LoggingServerObserver(log), clock=clock, log=log
        )

    @classmethod
    async def open(
        cls, settings: ListenerSettings, open_publisher: OpenPublisher, *, clock: Clock | None = None
    ) -> Self:
        """Read the feeds and open the log.

        Raises:
            ConfigurationError: the feeds file is wrong.
            Permanent: `listener-settings-invalid`; the log cannot be opened or is of another format.
            Transient: `log-unavailable`.
        """
        log = get_logger("ingest")
        settings.door.check()
        feeds = open_feeds(settings.feeds_file)
        if not feeds.profiles and feeds.default is None:
            log.warning("feeds_missing")  # a listener without feeds keeps everything and uses nothing
        failed = asyncio.Event()

        def on_failure(error: AfterstayError) -> None:
            log.critical("event_log_failed", code=error.code, exc_info=error)
            failed.set()

        publisher = await open_publisher(on_failure=on_failure)
        partitions = await publisher.partitions(ADT_EVENTS)
        return cls(
            settings,
            feeds=feeds,
            publisher=publisher,
            partitions=partitions,
            failed=failed,
            clock=clock or SystemClock(),
            log=log,
        )

    def provide(self, metrics: Metrics) -> None:
        """Let the listener's counts be read as metrics."""
        provide_listener_metrics(metrics, self.door.stats, self._pipeline.stats)
        provide_door_metrics(metrics, self.door, self.senders)

    def not_ready(self) -> Sequence[str]:
        """Say what keeps it from acknowledging."""
        reasons = {"log-failed": self.failed.is_set(), "intake-blocked": self._pipeline.blocked}
        return [code for code, is_so in reasons.items() if is_so]

    async def start(self) -> int:
        """Listen and return the port.

        Raises:
            Permanent: `host-unknown`, `port-taken`.
        """
        return await self.door.start()

    async def drain(self, timeout_s: float = DRAIN_TIMEOUT_S) -> bool:
        """Stop listening, answer what is in flight, close the log; return whether all was answered in time."""
        in_order = await self.door.drain(timeout_s)
        self._pipeline.close()
        await self._publisher.close()
        return in_order

    def pause_accepting(self) -> None:
        """Refuse new connections, as the pipeline asks while nothing can be stored."""
        self.door.pause_accepting()

    def resume_accepting(self) -> None:
        """Let connections in again."""
        self.door.resume_accepting()
