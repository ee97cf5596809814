"""The worker process as its parent sees it: started with what it inherits, restarted when it dies, stopped in time.

The worker inherits the web's listening socket (so connections are never refused while it is restarted), the claim to
the data folder, and one end of a pipe. When the parent dies, however it dies, the pipe ends and the worker leaves.
"""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from services.runtime.errors import Permanent
from services.runtime.lifecycle import FolderLock
from services.runtime.log import get_logger

READY_WAIT_S: Final = 60.0
"""A migration of a large database comes before readiness."""
STOP_WAIT_S: Final = 4.0
RESTART_FIRST_S: Final = 0.5
RESTART_MAX_S: Final = 30.0
STEADY_S: Final = 60.0
"""A worker that lived this long was well: its next restart is quick again."""


class Worker:
    """One worker process."""

    def __init__(self, data_dir: Path, *, web: socket.socket, lock: FolderLock, log_level: str) -> None:
        self._data_dir = data_dir
        self._web = web
        self._lock = lock
        self._log_level = log_level
        self._log = get_logger("supervision")
        self._process: asyncio.subprocess.Process | None = None
        self._lifeline: int | None = None

    async def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            Permanent: `worker-not-started`: it ended, or did not serve in time; its log line says why. Or the system
                has no process or descriptors to give (fault F14).
        """
        try:
            ready_read = await self._spawn()
        except OSError as error:
            self._let_go()
            raise Permanent(
                "worker-not-started",
                f"the system gives the worker no process ({error.strerror}): raise the limits that it runs under",
            ) from error
        if not await _reads_ready(ready_read):
            await self.stop()
            raise Permanent("worker-not-started", "the worker process did not start: its last log line says why")

    async def _spawn(self) -> int:
        """Make the process with what it inherits; return the end of the pipe by which it says that it serves."""
        with ExitStack() as passed_on, ExitStack() as ours:
            lifeline_read, self._lifeline = os.pipe()
            passed_on.callback(os.close, lifeline_read)
            ready_read, ready_write = os.pipe()
            passed_on.callback(os.close, ready_write)
            ours.callback(os.close, ready_read)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.worker",
                str(self._data_dir), str(self._web.fileno()), str(lifeline_read), str(ready_write), self._log_level,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the parent's standard output holds the ready line and nothing else
                pass_fds=(self._web.fileno(), self._lock.fileno(), lifeline_read, ready_write),
            )  # fmt: skip
            ours.pop_all()
            return ready_read

    async def supervise(self) -> None:
        """Restart the worker whenever it ends; never returns."""
        loop = asyncio.get_running_loop()
        delay_s = RESTART_FIRST_S
        while True:
            assert self._process is not None
            began = loop.time()
            code = await self._process.wait()
            if loop.time() - began > STEADY_S:
                delay_s = RESTART_FIRST_S
            self._log.error("worker_ended", code=code, timeout_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RESTART_MAX_S)
            self._let_go()
            try:
                await self.start()
            except Permanent as error:
                self._log.exception("worker_not_restarted", code=error.code)

    async def stop(self) -> None:
        """Ask it to finish, wait, and end it if it does not."""
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), timeout=STOP_WAIT_S)
            except TimeoutError:
                self._log.error("worker_killed")
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._let_go()

    def _let_go(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


async def _reads_ready(descriptor: int) -> bool:
    """Wait for the one byte that a serving worker writes; its end of the pipe closes if it dies before."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()

    def read() -> None:
        loop.remove_reader(descriptor)
        ready.set_result(bool(os.read(descriptor, 1)))

    loop.add_reader(descriptor, read)
    try:
        return await asyncio.wait_for(ready, timeout=READY_WAIT_S)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
