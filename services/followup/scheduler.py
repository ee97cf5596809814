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
from services.runtime.errors import Ambiguous, Transient
from services.runtime.lifecycle import in_thread
from services.runtime.log import Logger

TICK_S: Final = 1.0
WAKE_BATCH: Final = 500


class Scheduler:
    """Rings once a second until stopped. `ring` must be a coroutine function: APScheduler threads anything else."""

    def __init__(self, ring: Callable[[], Awaitable[None]]) -> None:
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._scheduler.add_job(
            ring, "interval", seconds=TICK_S, max_instances=1, coalesce=True, misfire_grace_time=None
        )

    def start(self) -> None:
        """Start ringing on the running loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop ringing; a ring under way is not waited for."""
        self._scheduler.shutdown(wait=False)


async def wake_due(apply: ApplyEvents, executor: Executor, log: Logger) -> None:
    """Wake what is due, batch by batch; a database that is away is tried again at the next ring.

    A batch of which nobody knows whether it was written is one of these: its rows are there still, or gone with it.
    """
    try:
        while await in_thread(executor, apply.wake) >= WAKE_BATCH:
            pass
    except (Transient, Ambiguous) as error:
        log.warning("timers_postponed", code=error.code)
    except asyncio.CancelledError:
        return  # the scheduler stops; the batch under way ends on its thread, and APScheduler would call this an error
