"""The MLLP listener: it takes connections, bounds them, and ends them in order. It never sees HL7.

Promise: a listener under attack, paused or draining refuses at the door and leaves the connections inside alone; it
stops within the time it is given, and what it did not answer by then it never answers.

Plain TCP: bind it to loopback, or to a network only where the deployment protects it. Runs under asyncio and uvloop.
"""

import asyncio
import socket

from services.ingest.mllp.connection import MllpConnection, ServerContext
from services.ingest.mllp.inbound import Handler
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, RefuseReason, ServerObserver, ServerStats, SilentObserver

BACKLOG = 512  # connections the kernel holds for us: twice `connections_max`, so that a flood is refused, not stalled
DRAIN_TIMEOUT_S = 8.0  # faults.md F42: the process ends within 10 s of SIGTERM, and others drain after us
ABORT_TIMEOUT_S = 1.0  # from aborting a connection to the loop telling us; it takes one turn

# Keepalive for half-open peers (faults.md F32): probe after a minute of silence, give up after one more.
KEEPALIVE_IDLE_S = 60
KEEPALIVE_INTERVAL_S = 15
KEEPALIVE_PROBES = 4

# Set on the listening socket: the ones it accepts inherit them, which costs nothing per connection.
_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
)


class MllpServer:
    """A listener on one address; start it once, drain it once."""

    def __init__(
        self, handler: Handler, *, limits: ServerLimits | None = None, observer: ServerObserver | None = None
    ) -> None:
        self._context = ServerContext(
            handler=handler, limits=limits or ServerLimits(), observer=observer or SilentObserver()
        )
        self._context.all_closed.set()
        self._listener: asyncio.Server | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def stats(self) -> ServerStats:
        """Give the live counts."""
        return self._context.stats

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on an IPv4 address and return the port; port 0 takes any free one.

        Raises:
            OSError: the address cannot be bound.
        """
        assert self._listener is None, "a server is started once"
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: MllpConnection(self._context),
            host,
            port,
            family=socket.AF_INET,
            backlog=BACKLOG,
            start_serving=False,
        )
        listening = self._listener.sockets[0]
        for level, option, value in _SOCKET_OPTIONS:
            listening.setsockopt(level, option, value)
        bound_port: int = listening.getsockname()[1]
        await self._listener.start_serving()
        self._schedule_sweep()
        return bound_port

    def pause_accepting(self) -> None:
        """Refuse new connections until `resume_accepting`; those inside stay."""
        if self._context.refusing is None:
            self._context.refusing = RefuseReason.PAUSED

    def resume_accepting(self) -> None:
        """Let connections in again, unless draining has begun."""
        if self._context.refusing is RefuseReason.PAUSED:
            self._context.refusing = None

    async def drain(self, timeout_s: float = DRAIN_TIMEOUT_S) -> bool:
        """Stop: no new connections, no new messages, answer what is in flight, close.

        Returns:
            Whether every connection ended by itself; those left after the time-out are aborted, their messages
            unanswered.
        """
        context = self._context
        context.refusing = RefuseReason.DRAINING
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(context.connections.values()):
            connection.finish(CloseReason.DRAINED)
        in_order = await self._wait_all_closed(timeout_s)
        if not in_order:
            await self._abort_all()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        return in_order

    async def _abort_all(self) -> None:
        for connection in tuple(self._context.connections.values()):
            connection.abort(CloseReason.DRAINED)
        await self._wait_all_closed(ABORT_TIMEOUT_S)

    async def _wait_all_closed(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._context.all_closed.wait()
        except TimeoutError:
            return False
        return True

    def _schedule_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(self._context.limits.sweep_interval_s, self._sweep)

    def _sweep(self) -> None:
        """Apply the time limits to all: one timer a server instead of several a connection."""
        self._schedule_sweep()
        now = asyncio.get_running_loop().time()
        for connection in tuple(self._context.connections.values()):
            connection.sweep(now)
