"""Both ends for the server's tests: handlers that answer at once or when told, a raw peer, and both event loops."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from services.ingest.mllp.frame import Anomaly, Frame, FrameDecoder, encode_frame
from services.ingest.mllp.inbound import Answer, Handler, Inbound
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, FramingFault, RefuseReason
from services.ingest.mllp.server import MllpServer

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


def on_both_loops(scenario: Callable[[], Scenario]) -> Callable[[Callable[[Scenario], None]], None]:
    """Make a test of a scenario, run by asyncio's own loop and by uvloop."""

    def test(run: Callable[[Scenario], None]) -> None:
        run(scenario())

    test.__name__ = test.__qualname__ = scenario.__name__
    return pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])(test)


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

    def connection_closed(self, connection_id: int, peer: str, reason: CloseReason) -> None:
        self.heard.append(("closed", reason))

    def framing_noticed(self, connection_id: int, kind: Anomaly | FramingFault) -> None:
        self.heard.append(("framing", kind))

    def junk_dropped(self, connection_id: int, byte_count: int) -> None:
        self.heard.append(("junk", byte_count))

    def handler_failed(self, connection_id: int, error: Exception) -> None:
        self.heard.append(("failed", error))


class Peer:
    """A sender that says exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._decoder = FrameDecoder()
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def frame(self, *payloads: bytes) -> None:
        self.say(b"".join(map(encode_frame, payloads)))

    async def answers(self, count: int) -> list[bytes]:
        """Read exactly so many answers; more in the same read is an error."""
        payloads: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(payloads) < count:
                data = await self._reader.read(65_536)
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
                while piece := await self._reader.read(65_536):
                    data += piece
        return bytes(data)


@dataclass
class Stand:
    """A server on loopback and a way to connect to it."""

    server: MllpServer
    port: int
    peers: list[Peer] = field(default_factory=list)

    async def connect(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, limits: ServerLimits | None = None, observer: Listening | None = None
) -> AsyncIterator[Stand]:
    server = MllpServer(handler, limits=limits or ServerLimits(), observer=observer)
    stand = Stand(server, await server.start())
    try:
        yield stand
    finally:
        for peer in stand.peers:
            peer.writer.transport.abort()
        await server.drain(1.0)
        assert server.stats.connections_open == 0
        assert server._context.held_bytes == 0, "what a connection held is given back"
