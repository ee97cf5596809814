"""Wakes due rows. Timers are rows in the database (promise P4); APScheduler only rings the bell.

Never a job per patient and never a shared job store: three schedulers on one store fired a job up to 16 times instead
of 10, and the default misfire grace drops what a blocked loop missed (docs/adr/0002). One in-memory interval job,
coalesced, one instance at a time, no grace: a late ring still rings.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.purge import PurgeUnlinked
from services.runtime.errors import Ambiguous, Transient
from services.runtime.lifecycle import in_thread
from services.runtime.log import Logger

TICK_S: Final = 1.0
PURGE_EVERY_S: Final = 600.0
"""Thirty days are not counted in seconds; often enough that each purge is short."""
WAKE_BATCH: Final = 500


class Scheduler:
    """Rings until stopped: `wake` once a second, `purge` now and then.

    Both must be coroutine functions: APScheduler threads anything else.
    """

    def __init__(self, wake: Callable[[], Awaitable[None]], purge: Callable[[], Awaitable[None]]) -> None:
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        for ring, period_s in ((wake, TICK_S), (purge, PURGE_EVERY_S)):
            self._scheduler.add_job(
                ring, "interval", seconds=period_s, max_instances=1, coalesce=True, misfire_grace_time=None
            )

    def start(self) -> None:
        """Start ringing on the running loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop ringing; a ring under way is not waited for."""
        self._scheduler.shutdown(wait=False)


async def wake_due(apply: ApplyEvents, executor: Executor, log: Logger) -> None:
    """Wake what is due, batch by batch."""
    await _in_batches(apply.wake, WAKE_BATCH, executor, log)


async def purge_old(purge: PurgeUnlinked, executor: Executor, log: Logger) -> None:
    """Purge what was kept for nobody, batch by batch."""
    await _in_batches(purge.run, 1, executor, log)


async def _in_batches(work: Callable[[], int], least: int, executor: Executor, log: Logger) -> None:
    """Work as long as a batch does at least so much; a database that is away is tried again at the next ring.

    A batch of which nobody knows whether it was written is one of these: its rows are there still, or gone with it.
    """
    try:
        while await in_thread(executor, work) >= least:
            pass
    except (Transient, Ambiguous) as error:
        log.warning("timers_postponed", code=error.code)
    except asyncio.CancelledError:
        return  # the scheduler stops; the batch under way ends on its thread, and APScheduler would call this an error
