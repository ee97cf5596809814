"""TLS between a socket and an MLLP connection: the handshake, then deciphering in and enciphering out.

Promise: no byte of a peer reaches an MLLP connection before its handshake is done and, where that is demanded, its
certificate is trusted; each failure has its word, and the peer is told by an alert. Over TLS an MLLP connection behaves
as over TCP, the end of one side included: a peer that has said all still gets its answers.

On `ssl.SSLObject`, not the event loop's own TLS, which knows no such end, hides failed handshakes and the connections
that are in one, and is another one in uvloop. Source: RFC 8446 (TLS 1.3), RFC 5246 (1.2).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Final, cast

from services.ingest.mllp.connection import MllpConnection
from services.ingest.mllp.context import Place, ServerContext
from services.ingest.mllp.observation import CloseReason, HandshakeFailure
from services.ingest.mllp.tls import identity_of, name_failure
from services.ingest.mllp.wire import Wire

HANDSHAKE_RECORD: Final = 0x16
"""RFC 8446 §5.1: what a client begins with, in every version."""
RECORD_BYTES_MAX: Final = 16_384
"""RFC 8446 §5.1: what one read can give."""


class TlsWire(asyncio.Transport):
    """The transport of an MLLP connection over TLS, on top of that of its socket."""

    def __init__(self, socket: Wire, tls: ssl.SSLContext) -> None:
        super().__init__()
        self.ended = False  # the peer has said that it sends no more
        self.reading = True
        self.told_end = False
        self.on_resumed: Callable[[], object] | None = None
        self._socket = socket
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._closed = False  # nothing of ours goes out any more

    @property
    def tls(self) -> ssl.SSLObject:
        """Return the state of TLS, for what it knows of the peer."""
        return self._tls

    # Bytes in

    def shake(self, data: bytes) -> bool:
        """Go on with the handshake; return whether it is done.

        Raises:
            ssl.SSLError: it has failed; the alert to the peer is sent.
        """
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    def decipher(self, data: bytes) -> bytes:
        """Return what the peer said with these bytes, and notice when it says that it has said all.

        Raises:
            ssl.SSLError: it does not keep to TLS; the alert to the peer is sent.
        """
        self._incoming.write(data)
        pieces: list[bytes] = []
        try:
            while not self.ended and (self._incoming.pending or self._tls.pending()):
                piece = self._tls.read(RECORD_BYTES_MAX)
                if piece:
                    pieces.append(piece)
                else:
                    self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError:
            self._flush()
            raise
        if self._outgoing.pending:  # an answer of TLS itself, such as to an update of keys
            self._flush()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # The transport of an MLLP connection

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass it on."""
        self._socket.set_write_buffer_limits(high=high, low=low)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encipher and send; what cannot be sent ends the connection, as with TCP."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._socket.abort()
        else:
            self._flush()

    def write_eof(self) -> None:
        """Say that we have said all."""
        self._say_end()
        self._socket.write_eof()

    def pause_reading(self) -> None:
        """Hand over no more bytes."""
        self.reading = False
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Hand them over again."""
        self.reading = True
        self._socket.resume_reading()
        if self.on_resumed is not None:
            self.on_resumed()

    def is_closing(self) -> bool:
        """Tell whether it is ending."""
        return self._socket.is_closing()

    def close(self) -> None:
        """Say that we have said all, and end once it is sent."""
        self._say_end()
        self._socket.close()

    def abort(self) -> None:
        """End now."""
        self._socket.abort()

    def _say_end(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(ssl.SSLError):  # that the peer has not said the same yet, or TLS is broken already
                self._tls.unwrap()
            self._flush()

    def _flush(self) -> None:
        if (data := self._outgoing.read()) and not self._socket.is_closing():
            self._socket.write(data)


class TlsConnection(asyncio.Protocol):
    """The protocol object that the event loop drives for one socket; it is the guest until its handshake is done."""

    def __init__(self, context: ServerContext, tls: ssl.SSLContext) -> None:
        self._context = context
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        self._place: Place | None = None
        self._inner: MllpConnection | None = None
        self._ending: CloseReason | None = None
        self._close_by: float | None = None
        self._heard = False

    # The event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or end it at once."""
        self._socket = cast("Wire", transport)
        self._place = self._context.enter(self, transport, shakes=True)
        if self._place is not None:
            self._wire = TlsWire(self._socket, self._tls)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or decipher and hand on."""
        if self._ending is not None:
            return
        if self._inner is not None:
            self._hand_on(self._inner, data)
            return
        if not self._heard and data[0] != HANDSHAKE_RECORD:
            self._fail(HandshakeFailure.PLAINTEXT)
            return
        self._heard = True
        try:
            done = self._wire.shake(data)
        except ssl.SSLError as error:
            self._fail(name_failure(error))
        else:
            if done:
                self._begin()

    def eof_received(self) -> bool:
        """Tell the connection inside, which may still have to answer."""
        if self._inner is None or self._ending is not None:
            if self._ending is None:
                self._fail(HandshakeFailure.CUT_OFF)
            return False
        self._wire.ended = self._wire.told_end = True
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, or give the place back."""
        if self._inner is not None:
            self._inner.connection_lost(exc)
        elif self._place is not None:
            if self._ending is None:
                self._count(HandshakeFailure.CUT_OFF)
            self._context.leave(self._place, self._ending or CloseReason.HANDSHAKE_FAILED)

    # The server's side, until the handshake is done

    def finish(self, reason: CloseReason) -> None:
        """End it: a handshake is worth no waiting."""
        self.abort(reason)

    def abort(self, reason: CloseReason) -> None:
        """End it now."""
        self._ending = self._ending or reason
        self._socket.abort()

    def sweep(self, now: float) -> None:
        """Apply the time limits."""
        if self._close_by is not None:
            if now >= self._close_by:
                self._socket.abort()
        elif self._ending is None and now - self._opened_at >= self._context.limits.handshake_timeout_s:
            self._fail(HandshakeFailure.TIMEOUT)

    # The handshake and after

    def _begin(self) -> None:
        """Let an MLLP connection take over."""
        context, place, wire = self._context, self._place, self._wire
        assert place is not None, "who was refused is not read"
        version, identity = wire.tls.version() or "unknown", identity_of(wire.tls)
        context.stats.handshakes[version] += 1
        context.observer.handshake_done(place.id, place.peer, version, identity)
        inner = self._inner = MllpConnection(context, place=place, identity=identity)
        context.note_shaken(place, inner)
        inner.connection_made(wire)
        self._hand_on(inner, b"")  # what came in one read with the last of the handshake

    def _hand_on(self, inner: MllpConnection, data: bytes) -> None:
        try:
            said = self._wire.decipher(data)
        except ssl.SSLError:
            self._ending = CloseReason.TLS_BROKEN
            inner.abort(CloseReason.TLS_BROKEN)
            return
        if said:
            inner.data_received(said)
        if self._wire.ended:
            self._wire.on_resumed = lambda: self._loop.call_soon(self._tell_end, inner)
            self._tell_end(inner)

    def _tell_end(self, inner: MllpConnection) -> None:
        """Tell that the peer has said all; not before what it has said is taken, as with TCP."""
        if self._wire.told_end or not self._wire.reading or self._ending is not None:
            return
        self._wire.told_end = True
        if not inner.eof_received():
            self._socket.close()

    def _fail(self, failure: HandshakeFailure) -> None:
        """End a handshake; the peer may read the alert, so what it still sends is discarded for a while."""
        self._count(failure)
        self._ending = CloseReason.HANDSHAKE_FAILED
        if self._socket.is_closing():
            return
        self._close_by = self._loop.time() + self._context.limits.linger_s
        self._socket.write_eof()

    def _count(self, failure: HandshakeFailure) -> None:
        assert self._place is not None, "who was refused is not read"
        self._context.stats.handshakes_failed[failure] += 1
        self._context.observer.handshake_failed(self._place.id, self._place.peer, failure)
