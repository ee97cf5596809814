"""What every process of production has in common: its log, its ops port, its ready line, its end.

Promises: the ops port answers from the first moment, so that a supervisor sees a process that is starting as alive and
not ready; standard output gets one line of JSON once the process serves, and nothing else ever; SIGTERM asks for a
drain; a process that ends for a reason of its own exits with 1.
"""

import asyncio
import importlib.metadata
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.runtime.errors import AfterstayError
from services.runtime.lifecycle import stop_requested
from services.runtime.log import Logger, configure, get_logger
from services.runtime.metrics import BUILD_INFO, Metrics
from services.runtime.ops import address_of, bind_tcp, ops_server

STARTING: Final = "starting"
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsSettings:
    """Where a process answers those who run it (port 0: any free one), and how much it logs."""

    host: str
    port: int
    log_level: str = "info"


class Process:
    """The process as its body sees it: asks `stop`, fills `metrics`, says when it serves."""

    def __init__(self, name: str, *, stop: asyncio.Event, ops_address: str) -> None:
        self.name = name
        self.stop = stop
        self.metrics = Metrics()
        self.log: Logger = get_logger(name)
        self._ops_address = ops_address
        self._ready: Callable[[], Awaitable[Sequence[str]]] | None = None
        self._notes: Callable[[], Sequence[str]] = tuple
        self.metrics.provide(BUILD_INFO, lambda: (((_version(), name), 1.0),))

    def say_ready(
        self,
        *,
        check: Callable[[], Awaitable[Sequence[str]]],
        notes: Callable[[], Sequence[str]] = tuple,
        **addresses: str,
    ) -> None:
        """Say that it serves, and where; from now on `check` says what keeps it from its work, `notes` what else."""
        self._ready, self._notes = check, notes
        ready = {"ready": True, **addresses, "ops": f"http://{self._ops_address}"}
        print(json.dumps(ready), flush=True)  # noqa: T201 - the one line that scripts wait for
        self.log.info("service_started", address=self._ops_address)

    async def ready(self) -> Sequence[str]:
        """Return what keeps it from its work."""
        return (STARTING,) if self._ready is None else await self._ready()

    def notes(self) -> Sequence[str]:
        """Return standing warnings."""
        return self._notes()


Body = Callable[[Process], Awaitable[bool]]
"""Serves until `stop` is set and returns True, or returns False where it failed by itself."""


def run_process(name: str, settings: OpsSettings, body: Body, *, loop_factory: LoopFactory | None = None) -> int:
    """Run the body between the ops port's beginning and end; return the exit code.

    Raises:
        Permanent: a port is taken, or what the body raises.
    """
    configure(settings.log_level)
    listening = bind_tcp(settings.host, settings.port, "--ops-port")
    with listening, asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_run(name, body, listening))


async def _run(name: str, body: Body, listening: socket.socket) -> int:
    with stop_requested() as stop:
        process = Process(name, stop=stop, ops_address=address_of(listening))
        server = ops_server(listening, process.metrics, process.ready, process.notes)
        serving = asyncio.create_task(server.serve())
        try:
            asked = await body(process)
        except AfterstayError as error:
            process.log.critical("service_failed", code=error.code, exc_info=error)
            raise
        finally:
            server.stop()
            await serving
    process.log.info("service_stopped", outcome="asked" if asked else "failed")
    return 0 if asked else 1


def fast_loop() -> LoopFactory | None:
    """Return uvloop's loop where it is installed: it halves the listener's cost per message."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform (pyproject.toml)
    except ImportError:
        return None
    loop: LoopFactory = uvloop.Loop
    return loop


def _version() -> str:
    try:
        return importlib.metadata.version("afterstay")
    except importlib.metadata.PackageNotFoundError:
        return "source"
