"""Composition of the follow-up side in one process: database, consumer, timers and web.

One of the few places that build adapters. Everything that may block runs on threads: one for the work that writes
what the log says, so that batches and timers never overlap, and a small pool for requests.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from schemas.topics import ADT_EVENTS
from services.followup.composition import build_apply, build_purge, database_problems, open_migrated
from services.followup.consumer.delivery import Delivery
from services.followup.consumer.log_loop import LogLoop
from services.followup.consumer.observation import Progress
from services.followup.consumer.positions import LOG_REPLACED
from services.followup.protocols.closures import closures_in
from services.followup.scheduler import Scheduler, purge_old, wake_due
from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.status import CONSUMER_GROUP
from services.followup.usecases.worklist import Worklist
from services.followup.web.app import create_app
from services.runtime.clock import Clock, SystemClock
from services.runtime.database import database_url
from services.runtime.errors import Permanent
from services.runtime.eventlog.embedded.groups import EmbeddedGroupPositions
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.http_server import HttpServer
from services.runtime.lifecycle import in_thread
from services.runtime.log import Logger, get_logger

REQUEST_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Where the worker's data lies."""

    data_dir: Path


async def serve(
    settings: WorkerSettings, web: socket.socket, *, stop: asyncio.Event, on_ready: Callable[[], None]
) -> None:
    """Consume, wake timers and answer HTTP on `web` until `stop` is set; what is under way is finished.

    Raises:
        AfterstayError: it cannot start, or the consumer met something unforeseen: let the supervisor start it again.
    """
    clock, log = SystemClock(), get_logger("worker")
    with ThreadPoolExecutor(1, "work") as work, ThreadPoolExecutor(REQUEST_THREADS, "request") as requests:
        engine, apply = await in_thread(work, _open, settings.data_dir, clock)
        subscriber = await EmbeddedSubscriber.open(settings.data_dir)
        groups = await EmbeddedGroupPositions.open(settings.data_dir)
        progress = Progress(clock)
        delivery = Delivery(
            topic=ADT_EVENTS,
            apply=apply,
            subscriber=subscriber,
            executor=work,
            observer=progress,
            log=log,
            stop=stop,
        )
        consumer = LogLoop(
            group=CONSUMER_GROUP,
            delivery=delivery,
            subscriber=subscriber,
            groups=groups,
            observer=progress,
            log=log,
        )
        blocked: list[str] = []
        purge = partial(purge_old, build_purge(engine, clock), work, log)
        scheduler = Scheduler(partial(wake_due, apply, work, log), purge)
        worklist = Worklist(SqlWorklist(engine), clock.now)
        ready = partial(_not_ready, engine, blocked)
        app = create_app(worklist, clock=clock, executor=requests, live=tuple, ready=ready)
        server = HttpServer(app, web)
        scheduler.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve())
                group.create_task(_stop_after(stop, server))
                on_ready()
                await _consume(consumer, stop, blocked, log)
                server.stop()
        finally:
            scheduler.stop()
            await subscriber.close()
            await groups.close()
            engine.dispose()


def _open(data_dir: Path, clock: Clock) -> tuple[sa.Engine, ApplyEvents]:
    """Open what lies in a data folder, making both where they are not there yet."""
    data_dir.mkdir(parents=True, exist_ok=True)
    closures = closures_in(data_dir)
    engine = open_migrated(database_url(data_dir))
    return engine, build_apply(engine, clock, closures=closures)


async def _consume(consumer: LogLoop, stop: asyncio.Event, blocked: list[str], log: Logger) -> None:
    """Consume until `stop`. When the log is not the one that was consumed, only say so: the worklist stays useful."""
    try:
        await consumer.run(stop)
    except Permanent as error:
        if error.code != LOG_REPLACED:
            raise
        log.critical("consumer_stopped", code=error.code, exc_info=error)
        blocked.append(error.code)
        await stop.wait()


def _not_ready(engine: sa.Engine, blocked: Sequence[str]) -> Sequence[str]:
    """Say what keeps the worker from its work. Lag never fails a probe."""
    return tuple(blocked) or database_problems(engine)


async def _stop_after(stop: asyncio.Event, server: HttpServer) -> None:
    await stop.wait()
    server.stop()
