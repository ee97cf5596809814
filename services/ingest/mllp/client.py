"""An MLLP client for `afterstay send`, the simulator and the benchmarks.

Promise: the answers come in the order of the payloads, one each; when that can no longer be promised (a time-out, a
lost connection, an answer nobody asked for) the client says so, closes, and gives no more answers.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, cast

from services.ingest.mllp.frame import Frame, FrameDecoder, Junk, encode_frame
from services.ingest.mllp.tls import load_authorities, load_certificate

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0  # the listener holds an answer for up to 10 s when the disk is slow (DESIGN §2)
WINDOW_MAX = 64  # messages under way at once in `send_many`: enough to fill a group commit


class MllpClientError(Exception):
    """The exchange failed: the message says what happened and what to do. Unanswered messages may be sent again."""


def client_context(ca: Path | None, *, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return what to connect with: the authorities of listeners (None: this machine's), and our own certificate.

    Raises:
        TlsFilesError: a file cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        load_certificate(context, certificate, key or certificate)
    return context


class MllpClient:
    """One connection to a listener. Make it with `connect`; it is an asynchronous context manager."""

    def __init__(self, protocol: "_ClientProtocol", peer: str, answer_timeout_s: float) -> None:
        self._protocol = protocol
        self._peer = peer
        self._answer_timeout_s = answer_timeout_s

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        tls_name: str | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Self:
        """Open a connection, with TLS where its context is given (`client_context`), to who has the name or the host's.

        Raises:
            MllpClientError: nobody listens there, not in time, or not with a certificate that we trust.
        """
        peer = f"{host}:{port}"
        try:
            async with asyncio.timeout(connect_timeout_s):
                _, protocol = await asyncio.get_running_loop().create_connection(
                    _ClientProtocol, host, port, ssl=tls, server_hostname=tls_name
                )
        except TimeoutError:
            raise MllpClientError(
                f"{peer} did not take the connection within {connect_timeout_s:g} s: check address and firewall"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise MllpClientError(
                f"the certificate of {peer} is not to be trusted ({error.verify_message}): check the authorities "
                "given, and that the certificate is for this name"
            ) from error
        except ssl.SSLError as error:
            raise MllpClientError(
                f"{peer} and we do not agree on TLS ({error.reason or error}): check that this port speaks TLS"
            ) from error
        except OSError as error:
            raise MllpClientError(
                f"cannot connect to {peer} ({error.strerror or error}): check that the listener runs there"
            ) from error
        return cls(protocol, peer, answer_timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, payload: bytes) -> bytes:
        """Send one message and wait for its answer, both without framing.

        Raises:
            FramingError: the payload cannot be framed; nothing was sent.
            MllpClientError: no answer came; the client is closed.
        """
        await self._begin()
        self._protocol.send(encode_frame(payload), 1)
        return await self._next_answer()

    async def send_many(self, payloads: Iterable[bytes], *, window: int = WINDOW_MAX) -> AsyncGenerator[bytes]:
        """Send messages with up to `window` of them unanswered, and give the answers in order.

        Raises:
            FramingError: a payload cannot be framed; those before it were sent.
            MllpClientError: an answer did not come; the client is closed.
        """
        await self._begin()
        protocol, source = self._protocol, iter(payloads)
        try:
            while True:
                batch = [encode_frame(payload) for payload in islice(source, window - protocol.owed)]
                if batch:
                    protocol.send(b"".join(batch), len(batch))
                if not protocol.owed:
                    return
                yield await self._next_answer()
                while protocol.answers:  # what came with it is given before more is sent: one write for the batch
                    yield protocol.take_answer()
        finally:
            if protocol.owed:
                protocol.fail("the caller stopped before every answer came: connect again")

    async def close(self) -> None:
        """Close the connection; safe to call again."""
        self._protocol.close()
        await self._protocol.closed.wait()

    async def _begin(self) -> None:
        if self._protocol.failure is not None:
            await self._give_up()
        assert not self._protocol.owed, "one exchange at a time: its answers would be taken for another's"

    async def _give_up(self) -> NoReturn:
        await self.close()
        raise MllpClientError(f"{self._peer}: {self._protocol.failure}")

    async def _next_answer(self) -> bytes:
        protocol = self._protocol
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await protocol.wait_for_answer()
        except asyncio.CancelledError:
            protocol.fail("the caller stopped before every answer came: connect again")
            raise
        except TimeoutError:
            protocol.fail(
                f"no answer within {self._answer_timeout_s:g} s: the message may have been received; "
                "send it again (a resend has no second effect) or look at the listener"
            )
        if not protocol.answers:
            await self._give_up()
        return protocol.take_answer()


class _ClientProtocol(asyncio.Protocol):
    """The socket's side: decodes answers and counts what is owed."""

    def __init__(self) -> None:
        self.answers: deque[bytes] = deque()
        self.owed = 0  # sent and not yet taken by the caller
        self.failure: str | None = None
        self.closed = asyncio.Event()
        self._decoder = FrameDecoder()
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for event in self._decoder.feed(data):
            if isinstance(event, Frame):
                self.answers.append(event.payload)
            elif not isinstance(event, Junk):
                self.fail("what came back is not MLLP: check that the address is an MLLP listener")
        if len(self.answers) > self.owed:
            self.answers.clear()
            self.fail("more answers than messages: the exchange is out of step; connect again")
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.failure is None and isinstance(exc, ssl.SSLError):
            self.failure = (
                f"the listener refused our certificate or our TLS ({exc.reason}): give a certificate that it trusts; "
                "the message is not acknowledged"
            )
        elif self.failure is None:
            how = "closed" if exc is None else f"lost ({exc})"
            self.failure = f"the connection was {how} before the answer: the message is not acknowledged; send it again"
        self.closed.set()
        self._wake()

    def send(self, frames: bytes, count: int) -> None:
        self.owed += count
        if not self._transport.is_closing():
            self._transport.write(frames)

    def take_answer(self) -> bytes:
        self.owed -= 1
        return self.answers.popleft()

    async def wait_for_answer(self) -> None:
        """Return when there is an answer or there will be none."""
        if self.failure is None and not self.answers:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def fail(self, failure: str) -> None:
        if self.failure is None:
            self.failure = failure
        self.close()

    def close(self) -> None:
        """Close; with answers owed there is nothing worth waiting for."""
        if self.owed:
            self._transport.abort()
        else:
            self._transport.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
