"""Wakes due rows. Timers are rows in the database (promise P4); APScheduler only rings the bell.

Never a job per patient and never a shared job store: three schedulers on one store fired a job up to 16 times instead
of 10, and the default misfire grace drops what a blocked loop missed (docs/adr/0002). One in-memory interval job,
coalesced, one instance at a time, no grace: a late ring still rings.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler

TICK_S: Final = 1.0


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
