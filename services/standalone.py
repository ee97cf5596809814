"""Everything on one machine by one command: a listener, and a worker that it supervises.

`run` is the listener process. It owns the data folder, accepts MLLP and writes the log; consumer, timers and web run
in a worker process of their own, so that an acknowledgement never waits for the rest. The worker may die and is
started again; the listener goes on acknowledging meanwhile.

Loopback only: accounts and TLS come with a later release.
"""

import asyncio
import json
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from services.followup.protocols.closures import closures_in
from services.ingest.bootstrap import Listener, ListenerSettings
from services.ingest.door import DoorSettings
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher
from services.runtime.lifecycle import FolderLock, stop_requested
from services.runtime.log import configure, get_logger
from services.runtime.ops import bind_tcp
from services.runtime.process import fast_loop
from services.supervision import Worker

LOOPBACK: Final = "127.0.0.1"
DRAIN_S: Final = 5.0
"""SIGTERM under load ends within 10 s (fault F42): the listener drains, then the worker is given the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What `afterstay run` was told. A port of 0 is any free one."""

    data_dir: Path
    feeds_file: Path | None
    mllp_port: int
    http_port: int
    log_level: str = "info"


def run(settings: RunSettings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Prints one line of JSON on standard output when it serves, and nothing after it.

    Raises:
        Permanent: the folder is in use, a port is taken, or a file is wrong.
    """
    configure(settings.log_level)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    closures_in(settings.data_dir)  # the worker reads them; a wrong file is refused here, where somebody sees it
    with (
        FolderLock(settings.data_dir) as lock,
        bind_tcp(LOOPBACK, settings.http_port, "--http-port") as web,
        asyncio.Runner(loop_factory=fast_loop()) as runner,
    ):
        return runner.run(_serve(settings, lock, web))


async def _serve(settings: RunSettings, lock: FolderLock, web: socket.socket) -> int:
    log = get_logger("standalone")
    worker = Worker(settings.data_dir, web=web, lock=lock, log_level=settings.log_level)
    with stop_requested() as stop:
        listener = await Listener.open(
            ListenerSettings(
                feeds_file=settings.feeds_file,
                door=DoorSettings(host=LOOPBACK, port=settings.mllp_port),
            ),
            partial(EmbeddedPublisher.open, settings.data_dir),
        )
        try:
            await worker.start()
            port = await listener.start()
            _say_ready(mllp_port=port, http_port=web.getsockname()[1])
            log.info("service_started", address=f"{LOOPBACK}:{port}")
            failed = await _until_stopped(stop, listener.failed, worker)
        finally:
            await listener.drain(DRAIN_S)
            await worker.stop()
    log.info("service_stopped", outcome="failed" if failed else "asked")
    return 1 if failed else 0


def _say_ready(*, mllp_port: int, http_port: int) -> None:
    ready = {"ready": True, "mllp": f"{LOOPBACK}:{mllp_port}", "http": f"http://{LOOPBACK}:{http_port}"}
    print(json.dumps(ready), flush=True)  # noqa: T201 - the one line that scripts wait for


async def _until_stopped(stop: asyncio.Event, failed: asyncio.Event, worker: Worker) -> bool:
    """Supervise until asked to stop, or until the log has failed for good (fault F12); return whether it failed."""
    supervision = asyncio.create_task(worker.supervise())
    waits = {asyncio.create_task(event.wait()) for event in (stop, failed)}
    try:
        await asyncio.wait({supervision, *waits}, return_when=asyncio.FIRST_COMPLETED)
        if supervision.done():
            supervision.result()  # it never returns: what it raised is a defect and ends the process
        return failed.is_set()
    finally:
        for task in (supervision, *waits):
            task.cancel()
        await asyncio.gather(supervision, *waits, return_exceptions=True)
