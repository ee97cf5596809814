"""The process `afterstay ingest`: a listener whose messages go to Kafka, or to a spool as long as Kafka is away.

One of the few places that build adapters. It starts, accepts and acknowledges whether Kafka is there or not: a hospital
must not wait for somebody else's broker.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from schemas.topics import ADT_EVENTS, TOPICS
from services.ingest.bootstrap import Listener, ListenerSettings
from services.runtime import metrics as declared
from services.runtime.clock import Clock, SystemClock, to_timestamp_us
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.spooled.publisher import SpooledPublisher
from services.runtime.eventlog.spooled.settings import SpoolSettings
from services.runtime.eventlog.spooled.states import STATES, SpoolStats
from services.runtime.lifecycle import hangup_heard
from services.runtime.metrics import Metrics
from services.runtime.process import Process

CLIENT_ID: Final = "afterstay-ingest"
DRAIN_S: Final = 8.0
"""SIGTERM under load ends within 10 s (fault F42)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """What the process is told; `spool_bytes_max` is what the spool may take of its disk."""

    listener: ListenerSettings
    kafka: KafkaConnection
    spool: Path
    spool_bytes_max: int


async def serve_ingest(settings: IngestSettings, process: Process) -> bool:
    """Accept and acknowledge until asked to stop; False where the spool has failed for good (fault F12).

    Raises:
        ConfigurationError: the feeds file is wrong.
        Permanent: the spool is in use or cannot be one; a port is taken; Kafka's settings are wrong.
    """
    clock = SystemClock()
    spools: list[SpooledPublisher] = []

    async def open_publisher(*, on_failure: Callable[[AfterstayError], None]) -> SpooledPublisher:
        publisher = await SpooledPublisher.open(
            settings.spool,
            open_direct=partial(KafkaPublisher.open, settings.kafka, client_id=CLIENT_ID),
            topics={topic.name: topic.partitions for topic in TOPICS if topic.name == ADT_EVENTS},
            settings=SpoolSettings(bytes_max=settings.spool_bytes_max),
            on_failure=on_failure,
            clock=clock,
        )
        spools.append(publisher)
        return publisher

    listener = await Listener.open(settings.listener, open_publisher, clock=clock)
    (spool,) = spools
    listener.provide(process.metrics)
    provide_spool_metrics(process.metrics, lambda: spool.stats, clock)

    async def check() -> Sequence[str]:
        return listener.not_ready()

    try:
        port = await listener.start()
        mllp = _address(settings.listener.door.host, port)
        with hangup_heard(listener.door.reload_certificates):
            process.say_ready(check=check, notes=lambda: _notes(listener, spool), mllp=mllp)
            waits = [asyncio.create_task(event.wait()) for event in (process.stop, listener.failed)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
    finally:
        await listener.drain(DRAIN_S)
    return not listener.failed.is_set()


def provide_spool_metrics(metrics: Metrics, read: Callable[[], SpoolStats], clock: Clock) -> None:
    """Let a spool's numbers be read as metrics."""

    def oldest_age_s() -> float:
        oldest = read().oldest_timestamp_us
        return 0.0 if oldest is None else max(0.0, (to_timestamp_us(clock.now()) - oldest) / 1e6)

    metrics.provide_value(declared.SPOOL_MESSAGES, lambda: read().records)
    metrics.provide_value(declared.SPOOL_BYTES, lambda: read().bytes)
    metrics.provide_value(declared.SPOOL_OLDEST_AGE, oldest_age_s)
    metrics.provide(declared.SPOOL_STATE, lambda: [((state,), float(state == read().state)) for state in STATES])
    metrics.provide_value(declared.SPOOL_DRAINED, lambda: read().drained_total)
    metrics.provide_value(declared.SPOOL_QUARANTINED, lambda: read().quarantined_total)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _notes(listener: Listener, spool: SpooledPublisher) -> Sequence[str]:
    """Say what works and should not stay so: an open door, Kafka away, a segment in quarantine."""
    stats = spool.stats
    notes = [f"{warning.code}: {warning.text}" for warning in listener.door.warnings()]
    if stats.state != "direct":
        notes.append(f"spool-{stats.state}: {stats.records} messages wait for Kafka")
    if stats.quarantined_segments:
        notes.append(f"spool-quarantine: {stats.quarantined_segments} segments need somebody")
    return notes
