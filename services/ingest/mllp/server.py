"""The MLLP listener: it takes connections, bounds them, and ends them in order. It never sees HL7.

Promise: a listener under attack, paused or draining refuses at the door and leaves the connections inside alone (but
for the one case of `context`); it stops within the time it is given, and what it did not answer by then it never
answers.

TLS if it is given a context for it, which may be replaced at any time; else plain TCP, which is for loopback and for
networks that something else protects. Runs under asyncio and uvloop.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence

from services.ingest.mllp.connection import MllpConnection
from services.ingest.mllp.context import ServerContext
from services.ingest.mllp.inbound import Handler
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, RefuseReason, ServerObserver, ServerStats, SilentObserver
from services.ingest.mllp.peers import Network, PeerBook
from services.ingest.mllp.tls_connection import TlsConnection

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
        self,
        handler: Handler,
        *,
        limits: ServerLimits | None = None,
        observer: ServerObserver | None = None,
        tls: ssl.SSLContext | None = None,
        allowed: Sequence[Network] = (),
    ) -> None:
        limits = limits or ServerLimits()
        self._context = ServerContext(
            handler=handler,
            limits=limits,
            observer=observer or SilentObserver(),
            tls=tls,
            peers=PeerBook(allowed, rate=limits.messages_per_peer_s),
        )
        self._context.all_closed.set()
        self._listeners: list[asyncio.Server] = []
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def stats(self) -> ServerStats:
        """Give the live counts."""
        return self._context.stats

    def use_tls(self, tls: ssl.SSLContext) -> None:
        """Take new certificates for the connections from now on; those inside keep what they have."""
        assert self._context.tls is not None, "a listener does not turn from plain TCP to TLS under its senders"
        self._context.tls = tls

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on every address of a host and return the port, which is one for all; 0 takes any free one.

        Raises:
            OSError: the host is not known (`socket.gaierror`), or an address cannot be bound.
        """
        assert not self._listeners, "a server is started once"
        sockets = await _bind(host, port)
        loop = asyncio.get_running_loop()
        for bound in sockets:
            self._listeners.append(await loop.create_server(self._connection, sock=bound, backlog=BACKLOG))
        self._schedule_sweep()
        bound_port: int = sockets[0].getsockname()[1]
        return bound_port

    def _connection(self) -> asyncio.Protocol:
        if self._context.tls is not None:
            return TlsConnection(self._context, self._context.tls)
        return MllpConnection(self._context)

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
        for listener in self._listeners:
            listener.close()
        for guest in context.guests():
            guest.finish(CloseReason.DRAINED)
        in_order = await self._wait_all_closed(timeout_s)
        if not in_order:
            await self._abort_all()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        return in_order

    async def _abort_all(self) -> None:
        for guest in self._context.guests():
            guest.abort(CloseReason.DRAINED)
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
        self._context.sweep(asyncio.get_running_loop().time())


async def _bind(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of a host, all of one port."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            bound = socket.socket(family, kind, protocol)
            sockets.append(bound)
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own, or none
            for level, option, value in _SOCKET_OPTIONS:
                bound.setsockopt(level, option, value)
            port = port or (sockets[0].getsockname()[1] if len(sockets) > 1 else 0)
            bound.bind((address[0], port, *address[2:]))
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets
