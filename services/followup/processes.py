"""The processes of production on the follow-up side: web and scheduler, each on a database that others share.

Promises: a database that is away at the start is waited for, the process alive and not ready meanwhile; one that is not
at this release's schema is refused, since only `afterstay migrate` changes a schema. Any number of schedulers may run:
what is due is claimed row by row, so that each row is woken once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Final

import sqlalchemy as sa

from services.followup.composition import build_apply, build_purge, database_problems, open_current
from services.followup.scheduler import Scheduler, purge_old, wake_due
from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.purge import KEPT
from services.followup.usecases.worklist import Worklist
from services.followup.web.app import create_app
from services.runtime.clock import SystemClock
from services.runtime.errors import Transient
from services.runtime.http_server import HttpServer
from services.runtime.lifecycle import in_thread
from services.runtime.ops import address_of, bind_tcp
from services.runtime.process import Process

LOOPBACK: Final = "127.0.0.1"
REQUEST_THREADS: Final = 8
WAIT_FIRST_S: Final = 0.25
WAIT_MAX_S: Final = 5.0


Beside = Callable[[asyncio.Event], Coroutine[None, None, None]]
"""Runs until the event is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the web process is told; it listens on loopback as long as there are no accounts."""

    database: str
    http_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """What the scheduler process is told: the database, the practice's own closed days, how long strangers are kept."""

    database: str
    closures: frozenset[date]
    keep_unlinked: timedelta = KEPT


async def serve_web(settings: WebSettings, process: Process) -> bool:
    """Answer HTTP until asked to stop.

    Raises:
        Permanent: a port is taken, or the database is none of ours.
    """
    clock = SystemClock()
    listening = bind_tcp(LOOPBACK, settings.http_port, "--http-port")
    with listening, ThreadPoolExecutor(REQUEST_THREADS, "request") as requests:
        engine = await open_when_there(settings.database, requests, process)
        if engine is None:
            return True
        try:
            ready = partial(database_problems, engine)
            worklist = Worklist(SqlWorklist(engine), clock.now)
            app = create_app(worklist, clock=clock, executor=requests, live=tuple, ready=ready)
            server = HttpServer(app, listening)
            serving = asyncio.create_task(server.serve())
            process.say_ready(check=partial(in_thread, requests, ready), http=f"http://{address_of(listening)}")
            await process.stop.wait()
            server.stop()
            await serving
        finally:
            engine.dispose()
    return True


async def serve_scheduler(
    settings: SchedulerSettings, process: Process, *, beside: Sequence[Callable[[sa.Engine], Beside]] = ()
) -> bool:
    """Wake what is due until asked to stop; `beside` are made with the database and run as long.

    Raises:
        Permanent: the database is none of ours.
    """
    with ThreadPoolExecutor(2, "work") as work:
        engine = await open_when_there(settings.database, work, process)
        if engine is None:
            return True
        clock, log = SystemClock(), process.log
        apply = build_apply(engine, clock, closures=settings.closures)
        purge = build_purge(engine, clock, kept=settings.keep_unlinked)
        scheduler = Scheduler(partial(wake_due, apply, work, log), partial(purge_old, purge, work, log))
        scheduler.start()
        tasks = [asyncio.create_task(make(engine)(process.stop)) for make in beside]
        try:
            process.say_ready(check=partial(in_thread, work, partial(database_problems, engine)))
            await _until_stopped(process.stop, tasks)
        finally:
            scheduler.stop()
            engine.dispose()
    return True


async def _until_stopped(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until asked to stop and all tasks have ended; raise what one of them raises, as soon as it does."""
    waiting = {asyncio.create_task(stop.wait()), *tasks}
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def open_when_there(url: str, executor: Executor, process: Process) -> sa.Engine | None:
    """Open the database, waiting for it as long as it is away; `None` if asked to stop meanwhile.

    Raises:
        Permanent: it is not at this release's schema, or cannot be opened at all.
    """
    wait_s = WAIT_FIRST_S
    while not process.stop.is_set():
        try:
            return await in_thread(executor, open_current, url)
        except Transient as error:
            process.log.warning("database_awaited", code=error.code, timeout_s=wait_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.stop.wait(), wait_s)
        wait_s = min(wait_s * 2, WAIT_MAX_S)
    return None
