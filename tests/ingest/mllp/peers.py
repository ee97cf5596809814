"""Both ends for the server's tests: handlers that answer at once or when told, a raw peer, both event loops, TLS."""

import asyncio
import contextlib
import functools
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from services.ingest.mllp.connection import MllpConnection
from services.ingest.mllp.frame import Anomaly, Frame, FrameDecoder, encode_frame
from services.ingest.mllp.inbound import Answer, Handler, Inbound, PeerIdentity
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, FramingFault, HandshakeFailure, RefuseReason
from services.ingest.mllp.peers import Network
from services.ingest.mllp.server import MllpServer
from tests.support.certificates import SERVER, client_context, issue, server_files

PATIENCE_S = 10.0  # how long a test waits for what must come
BRIEF_S = 0.05  # a limit that is meant to be passed
NEVER_S = 3_600.0
MESSAGE = b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\rPID|1\r"


def brief(**limits: float) -> ServerLimits:
    """Make limits that look at the time often and pass only where the test says so."""
    times: dict[str, float] = {
        "header_timeout_s": NEVER_S,
        "frame_timeout_s": NEVER_S,
        "silent_timeout_s": NEVER_S,
        "idle_timeout_s": NEVER_S,
        "write_stalled_timeout_s": NEVER_S,
        "end_grace_s": NEVER_S,
        "linger_s": NEVER_S,
        "close_timeout_s": NEVER_S,
        "sweep_interval_s": 0.01,
    }
    return ServerLimits(**(times | limits))  # type: ignore[arg-type]  # whole numbers are passed as whole numbers


Scenario = Coroutine[Any, Any, None]


_OVER_TLS: ContextVar[bool] = ContextVar("over_tls", default=False)


def on_both_loops(scenario: Callable[[], Scenario]) -> Callable[[Callable[[Scenario], None]], None]:
    """Make a test of a scenario, run by asyncio's own loop and by uvloop."""

    def test(run: Callable[[Scenario], None]) -> None:
        run(scenario())

    test.__name__ = test.__qualname__ = scenario.__name__
    return pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])(test)


def on_every_wire(scenario: Callable[[], Scenario]) -> Callable[[Callable[[Scenario], None], bool], None]:
    """Make a test of a scenario that holds over TCP and over TLS alike, run by both loops over both."""

    def test(run: Callable[[Scenario], None], over_tls: bool) -> None:
        token = _OVER_TLS.set(over_tls)
        try:
            run(scenario())
        finally:
            _OVER_TLS.reset(token)

    test.__name__ = test.__qualname__ = scenario.__name__
    loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    return loops(pytest.mark.parametrize("over_tls", [False, True], ids=["tcp", "tls"])(test))


@functools.cache
def server_tls() -> ssl.SSLContext:
    """Return the TLS of a listener that demands certificates."""
    with tempfile.TemporaryDirectory() as folder:
        return server_files(Path(folder)).context()


@functools.cache
def sender_tls() -> ssl.SSLContext:
    """Return that of a sender it trusts."""
    return client_context(issue("sender.test"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - conditions are states of others, which set no event
            await asyncio.sleep(0.001)


def ack(payload: bytes) -> bytes:
    return b"ACK " + payload


@dataclass
class Immediate:
    """Answers at once."""

    seen: list[Inbound] = field(default_factory=list)

    def __call__(self, inbound: Inbound, answer: Answer) -> None:
        self.seen.append(inbound)
        answer(ack(inbound.payload))


@dataclass
class Holding:
    """Answers when the test says so."""

    seen: list[Inbound] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def __call__(self, inbound: Inbound, answer: Answer) -> None:
        self.seen.append(inbound)
        self.answers.append(answer)

    def acknowledge(self, index: int) -> None:
        self.answers[index](ack(self.seen[index].payload))


@dataclass
class Listening:
    """Hears everything."""

    heard: list[tuple[str, object]] = field(default_factory=list)

    def connection_opened(self, connection_id: int, peer: str) -> None:
        self.heard.append(("opened", peer))

    def connection_refused(self, peer: str, reason: RefuseReason) -> None:
        self.heard.append(("refused", reason))

    def handshake_done(self, connection_id: int, peer: str, version: str, identity: PeerIdentity | None) -> None:
        self.heard.append(("handshake", identity))

    def handshake_failed(self, connection_id: int, peer: str, failure: HandshakeFailure) -> None:
        self.heard.append(("handshake failed", failure))

    def connection_closed(self, connection_id: int, peer: str, reason: CloseReason) -> None:
        self.heard.append(("closed", reason))

    def framing_noticed(self, connection_id: int, kind: Anomaly | FramingFault) -> None:
        self.heard.append(("framing", kind))

    def junk_dropped(self, connection_id: int, byte_count: int) -> None:
        self.heard.append(("junk", byte_count))

    def handler_failed(self, connection_id: int, error: Exception) -> None:
        self.heard.append(("failed", error))


class Peer:
    """A sender that says exactly what it is told, in pieces of so many bytes on the wire if it is told that too."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._decoder = FrameDecoder()
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.writer = writer
        self.piece_bytes = 0

    async def shake(
        self, context: ssl.SSLContext, name: str = SERVER, *, session: ssl.SSLSession | None = None
    ) -> ssl.SSLObject:
        """Go over to TLS."""
        tls = self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    self._send(self._outgoing.read())
                    data = await self._reader.read(65_536)
                    if not data:
                        raise ConnectionResetError("closed during the handshake") from None
                    self._incoming.write(data)
                else:
                    self._send(self._outgoing.read())
                    return tls
                finally:
                    self._send(self._outgoing.read())

    def say(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._send(data)

    def _send(self, data: bytes) -> None:
        if not self.piece_bytes:
            self.writer.write(data)
            return
        for start in range(0, len(data), self.piece_bytes):
            self.writer.write(data[start : start + self.piece_bytes])

    def frame(self, *payloads: bytes) -> None:
        self.say(b"".join(map(encode_frame, payloads)))

    def end(self) -> None:
        """Say that all is said, and go on listening."""
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
            self._send(self._outgoing.read())
        self.writer.write_eof()

    async def read(self) -> bytes:
        """Read something; nothing when the server has said all."""
        while True:
            data = await self._reader.read(65_536)
            if self._tls is None:
                return data
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
            if (heard := self._decipher()) is not None:
                return heard

    def _decipher(self) -> bytes | None:
        assert self._tls is not None
        heard = bytearray()
        while True:
            try:
                piece = self._tls.read(65_536)
            except ssl.SSLWantReadError:
                return bytes(heard) or None
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # cut off, or ended after we had ended
                return bytes(heard)
            heard += piece
            if not piece:
                return bytes(heard)

    async def answers(self, count: int) -> list[bytes]:
        """Read exactly so many answers; more in the same read is an error."""
        payloads: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(payloads) < count:
                data = await self.read()
                assert data, f"closed after {len(payloads)} of {count} answers"
                payloads += [event.payload for event in self._decoder.feed(data) if isinstance(event, Frame)]
        assert len(payloads) == count
        return payloads

    def reset(self) -> None:
        """Cut the connection so that the server hears of it at once, not as an end of what we say."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def rest(self) -> bytes:
        """Read until the server closes; a reset counts as closed."""
        data = bytearray()
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                while piece := await self.read():
                    data += piece
        return bytes(data)


@dataclass
class Stand:
    """A server on loopback and a way to connect to it."""

    server: MllpServer
    port: int
    peers: list[Peer] = field(default_factory=list)

    async def connect(self, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1") -> Peer:
        """Connect, over TLS where the server speaks it."""
        peer = await self.reach(host=host)
        if tls is not None or _OVER_TLS.get():
            await peer.shake(tls or sender_tls())
        return peer

    async def reach(self, *, host: str = "127.0.0.1") -> Peer:
        """Connect to the socket and say nothing yet; `host` is the address that we come from."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0)))
        self.peers.append(peer)
        return peer

    def connection(self, number: int) -> MllpConnection:
        """Return the server's side of a connection, by its number from 1."""
        found = self.server._context.connections[number]
        assert isinstance(found, MllpConnection)
        return found

    def connections(self) -> list[MllpConnection]:
        """Return the server's side of all that are past their handshake."""
        return [guest for guest in self.server._context.guests() if isinstance(guest, MllpConnection)]


@contextlib.asynccontextmanager
async def serving(
    handler: Handler,
    limits: ServerLimits | None = None,
    observer: Listening | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    allowed: tuple[Network, ...] = (),
) -> AsyncIterator[Stand]:
    tls = tls or (server_tls() if _OVER_TLS.get() else None)
    server = MllpServer(handler, limits=limits or ServerLimits(), observer=observer, tls=tls, allowed=allowed)
    stand = Stand(server, await server.start())
    try:
        yield stand
    finally:
        for peer in stand.peers:
            peer.writer.transport.abort()
        await server.drain(1.0)
        assert server.stats.connections_open == 0
        assert server.stats.handshakes_open == 0
        assert server._context.held_bytes == 0, "what a connection held is given back"
