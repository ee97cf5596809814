"""Composition of the consumer in production: one worker of the group, from Kafka into a database.

One of the few places that build adapters. Any number of these processes run side by side; the group shares out the
partitions, and the locked positions keep two of them from doing one thing twice.

A broker that is away when the process starts is waited for, and said in `/readyz`; a topic that does not exist, a login
that is refused and a log that is not the one that was consumed end the process with what to do.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import date
from typing import Final

import sqlalchemy as sa

from schemas.topics import ADT_EVENTS
from services.followup.composition import build_apply
from services.followup.consumer.delivery import Delivery
from services.followup.consumer.faust_app import FaustWorker
from services.followup.consumer.observation import FeedSeconds, Progress
from services.followup.consumer.positions import RECORDS_LOST
from services.followup.usecases.status import CONSUMER_GROUP
from services.runtime import metrics as declared
from services.runtime.clock import Clock
from services.runtime.errors import Transient
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.log import Logger
from services.runtime.metrics import Metric, Metrics
from services.runtime.work_thread import WorkThread

STARTING: Final = "consumer-starting"
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 5.0


class FollowupWorker:
    """The consumer of one process; `run` it once."""

    def __init__(
        self,
        engine: sa.Engine,
        connection: KafkaConnection,
        *,
        clock: Clock,
        closures: frozenset[date],
        metrics: Metrics,
        log: Logger,
        topic: str = ADT_EVENTS,
        group: str = CONSUMER_GROUP,
    ) -> None:
        self._connection = connection
        self._log = log
        self._topic = topic
        self._group = group
        self._apply = build_apply(engine, clock, closures=closures)
        self._blocked: str | None = STARTING
        self.reached = asyncio.Event()
        """Set once the log answers and the consumer begins."""
        self.progress = Progress(
            clock,
            _into(metrics, declared.EVENT_TO_TASK_SECONDS),
            _into(metrics, declared.SOURCE_DELAY_SECONDS),
        )
        _provide(metrics, self.progress)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; the batch under way is finished first.

        Raises:
            Permanent: `topic-unknown`, `broker-refused`, `broker-settings-unusable`, `log-replaced`.
            Defect: something unforeseen; the process has to end and to be started again.
        """
        subscriber = await self._reach(stop)
        if subscriber is None:
            return
        work = WorkThread("work")
        try:
            delivery = Delivery(
                topic=self._topic,
                apply=self._apply,
                subscriber=subscriber,
                executor=work,
                observer=self.progress,
                log=self._log,
                stop=stop,
            )
            worker = FaustWorker(
                self._connection, group=self._group, delivery=delivery, observer=self.progress, log=self._log
            )
            self._blocked = None
            self.reached.set()
            await worker.run(stop)
        finally:
            work.shutdown(wait=False)
            await subscriber.close()

    def reasons(self) -> Sequence[str]:
        """Return codes of what keeps the consumer from its work; lag is never among them."""
        return tuple(code for code in (self._blocked, self.progress.waiting_for) if code is not None)

    def notes(self) -> Sequence[str]:
        """Return standing alarms that do not keep it from its work."""
        return tuple(f"{RECORDS_LOST}: {lost}" for lost in self.progress.losses)

    async def _reach(self, stop: asyncio.Event) -> KafkaSubscriber | None:
        """Connect to the log, however long it is away; `None` if asked to stop meanwhile."""
        delay_s = BACKOFF_FIRST_S
        while not stop.is_set():
            try:
                return await self._connect()
            except Transient as error:
                self._blocked = error.code
                self._log.warning("log_awaited", code=error.code, timeout_s=delay_s, exc_info=error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=delay_s)
            delay_s = min(delay_s * 2, BACKOFF_MAX_S)
        return None

    async def _connect(self) -> KafkaSubscriber:
        subscriber = await KafkaSubscriber.open(self._connection, client_id=f"afterstay-{self._group}-log")
        try:
            await subscriber.partitions(self._topic)
        except BaseException:
            await subscriber.close()
            raise
        return subscriber


def _into(metrics: Metrics, metric: Metric) -> FeedSeconds:
    histogram = metrics.histogram(metric)
    return lambda feed, seconds: histogram.labels(feed).observe(seconds)


def _provide(metrics: Metrics, progress: Progress) -> None:
    """Let the process's registry read what the consumer did."""
    metrics.provide_counts(declared.CONSUMER_PROCESSED, progress.processed)
    metrics.provide_counts(declared.CONSUMER_RETRIES, progress.retries)
    metrics.provide_counts(declared.SOURCE_CLOCK_SKEW, progress.clock_skews)
    metrics.provide_value(declared.CONSUMER_REBALANCES, lambda: progress.rebalances)
    metrics.provide_value(declared.CONSUMER_PARTITIONS, lambda: len(progress.partitions))
    metrics.provide_value(declared.CONSUMER_CAUGHT_UP, lambda: progress.records_caught_up)
    metrics.provide_value(declared.CONSUMER_LOST, lambda: progress.records_lost)
    metrics.provide(declared.CONSUMER_IDLE_SECONDS, lambda: () if progress.idle_s is None else (((), progress.idle_s),))
