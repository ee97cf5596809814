"""The process `afterstay followup`: a worker of the consumer group beside its ops port.

Apart from `processes`, so that web and scheduler do not load faust.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from services.followup.composition import database_problems
from services.followup.processes import open_when_there
from services.followup.stream_worker import FollowupWorker
from services.runtime.clock import SystemClock
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.lifecycle import in_thread
from services.runtime.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowupSettings:
    """What the process is told: log, database, and the practice's own closed days."""

    kafka: KafkaConnection
    database: str
    closures: frozenset[date]


async def serve_followup(settings: FollowupSettings, process: Process) -> bool:
    """Consume until asked to stop.

    Raises:
        Permanent: the database is none of ours; the topic is not there; the log is not the one that was consumed.
        Defect: something unforeseen; the process has to end and to be started again.
    """
    with ThreadPoolExecutor(1, "probe") as probes:
        engine = await open_when_there(settings.database, probes, process)
        if engine is None:
            return True
        worker = FollowupWorker(
            engine,
            settings.kafka,
            clock=SystemClock(),
            closures=settings.closures,
            metrics=process.metrics,
            log=process.log,
        )
        announcing = asyncio.create_task(_say_ready(worker, engine, probes, process))
        try:
            await worker.run(process.stop)
        finally:
            announcing.cancel()
            engine.dispose()
    return True


async def _say_ready(worker: FollowupWorker, engine: sa.Engine, probes: ThreadPoolExecutor, process: Process) -> None:
    async def check() -> Sequence[str]:
        return [*worker.reasons(), *await in_thread(probes, database_problems, engine)]

    await worker.reached.wait()
    process.say_ready(check=check, notes=worker.notes)
