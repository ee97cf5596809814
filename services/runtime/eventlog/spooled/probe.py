"""Opens publishers that may fail or hang, and lets go of those that are no longer wanted, both within a bound.

Nothing that a publisher or its client library does, not even ignoring a cancellation, holds up whoever asks here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from services.runtime.errors import AfterstayError, Transient
from services.runtime.eventlog.port import Publisher
from services.runtime.log import get_logger

_log = get_logger(__name__)


class Probe:
    """Makes publishers to one log."""

    def __init__(self, open_direct: Callable[[], Awaitable[Publisher]], *, close_timeout_s: float) -> None:
        self._open_direct = open_direct
        self._close_timeout_s = close_timeout_s
        self._ending: set[asyncio.Future[None]] = set()

    async def open(self, timeout_s: float) -> Publisher | AfterstayError:
        """Return a fresh publisher, or why there is none; takes no longer than the time-out."""
        task = asyncio.ensure_future(self._open())
        try:
            await asyncio.wait({task}, timeout=timeout_s)
        finally:
            if not task.done():  # too slow, or nobody wants it any more
                self._background(self._abandon(task))
        if not task.done():
            return Transient("log-unavailable", f"the log cannot be reached within {timeout_s:g} s")
        return task.result()

    def close_in_background(self, publisher: Publisher) -> "asyncio.Future[None]":
        """Close a publisher without waiting for it; who wants to wait may."""
        return self._background(self._close(publisher))

    async def finish(self) -> None:
        """Wait until all that is ending in the background has ended, each within its bound."""
        while self._ending:
            await asyncio.wait(set(self._ending))

    async def _open(self) -> Publisher | AfterstayError:
        try:
            return await self._open_direct()
        except AfterstayError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever a client library raises, the log is not there
            _log.warning("publisher_not_opened", exc_info=error)
            return Transient("log-unavailable", "the log cannot be reached")

    async def _close(self, publisher: Publisher) -> None:
        """Close a publisher; give up on it after a while."""
        task = asyncio.ensure_future(publisher.close())
        await asyncio.wait({task}, timeout=self._close_timeout_s)
        if not task.done():
            task.cancel()
            _log.warning("publisher_not_closed", timeout_s=self._close_timeout_s)
            task.add_done_callback(_take_result)
        elif (error := task.exception()) is not None:
            _log.warning("publisher_not_closed", exc_info=error)

    async def _abandon(self, task: asyncio.Future[Publisher | AfterstayError]) -> None:
        """Let an attempt end by itself, and close what it opens after all; cancel it only if that takes too long.

        A client that is canceled while it connects leaves its connection behind (aiokafka 0.14 does).
        """
        await asyncio.wait({task}, timeout=self._close_timeout_s)
        if not task.done():
            task.cancel()
            task.add_done_callback(_take_result)
        elif not task.cancelled() and not isinstance(opened := task.result(), AfterstayError):
            await self._close(opened)

    def _background(self, work: Awaitable[None]) -> "asyncio.Future[None]":
        task = asyncio.ensure_future(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


def _take_result(task: "asyncio.Future[Any]") -> None:
    """Look at the end of a task that nobody waits for, so that the loop does not complain of it."""
    if not task.cancelled():
        task.exception()
