"""One MLLP connection: bytes in, messages to the handler, answers out in the order of arrival.

Promise: every message read is answered in its place, or the connection ends without answering it or any later one, so
that a sender never takes an answer for another message's. Answers that are ready in one turn of the loop leave in one
write. What a connection holds is bounded by `ServerLimits`; at a bound its socket is not read (back-pressure).

A connection is open, then finishing (no more messages are taken, answers owed are awaited), then closing.
"""

import asyncio
from typing import cast

from services.ingest.mllp.answers import AnswerLine
from services.ingest.mllp.context import Place, ServerContext
from services.ingest.mllp.foreign import recognize_foreign
from services.ingest.mllp.frame import Frame, FrameDecoder, FrameEvent, Junk, Oversized, Truncated
from services.ingest.mllp.inbound import Inbound, PeerIdentity
from services.ingest.mllp.observation import CloseReason, FramingFault
from services.ingest.mllp.peers import Allowance
from services.ingest.mllp.timing import ConnectionTimes
from services.ingest.mllp.wire import Wire

FRAMES_PER_TURN_MAX = 256  # then other connections have their turn: one read of 256 KB may hold 87,000 empty frames


class MllpConnection(asyncio.Protocol):
    """The protocol object that the event loop drives for one socket, or TLS for what it deciphers."""

    def __init__(
        self, context: ServerContext, *, place: Place | None = None, identity: PeerIdentity | None = None
    ) -> None:
        """Take a place that TLS has taken already, and who the peer has proven to be to it."""
        self._context = context
        self._limits = limits = context.limits
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder(frame_bytes_max=limits.frame_bytes_max, junk_bytes_max=limits.junk_bytes_max)
        self._line = AnswerLine(self._schedule_flush)
        now = self._loop.time()
        self._times = ConnectionTimes(opened_at=now, active_at=now)
        self._place = place
        self._identity = identity
        self._id = 0  # stays 0 when refused
        self._peer = "unknown"
        self._allowance: Allowance | None = None
        self._frames = 0
        self._held_bytes = 0  # this connection's part of the server's
        # Reading. A backlog is what the decoder may still hold when pulling stopped early.
        self._reading = True
        self._backlog = False
        self._pulling = False
        self._pull_scheduled = False
        self._grace: asyncio.TimerHandle | None = None
        self._throttle: asyncio.TimerHandle | None = None
        # Ending.
        self._finishing: CloseReason | None = None
        self._close_by: float | None = None
        self._discarding = False  # bytes came that were not taken
        self._peer_ended = False

    # The event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or end it at once."""
        self._wire = cast("Wire", transport)
        place = self._place = self._place or self._context.enter(self, transport)
        if place is None:
            return
        self._id, self._peer, self._allowance = place.id, place.peer, place.account.allowance
        self._wire.set_write_buffer_limits(high=self._limits.write_buffer_bytes_max)

    def data_received(self, data: bytes) -> None:
        """Decode one read and hand on what is whole."""
        if self._finishing is not None:
            self._discarding = True  # the sender has no answer and will send it again elsewhere
            return
        self._cancel_grace()
        times = self._times
        times.active_at = self._loop.time()
        if times.heard_at is None:
            times.heard_at = times.active_at
            if (foreign := recognize_foreign(data)) is not None:
                self._drop_junk(len(data))
                self.finish(foreign)
                return
        self._decoder.feed(data)
        self._pull()

    def eof_received(self) -> bool:
        """Go on answering a sender that has said all; nothing is left to wait for after a bare 0x1C."""
        self._peer_ended = True
        if self._close_by is not None:
            return False
        if self._finishing is None and (last := self._decoder.flush_pending_end()) is not None:
            self._take(last)
        self.finish(CloseReason.PEER_CLOSED)
        return True

    def pause_writing(self) -> None:
        """Stop reading from a sender that does not read."""
        self._times.stalled_since = self._loop.time()
        self._settle()

    def resume_writing(self) -> None:
        """Read again."""
        self._times.stalled_since = None
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; late answers are dropped."""
        place = self._place
        if place is None:
            return
        if self._decoder.inside_frame and self._finishing in {None, CloseReason.PEER_CLOSED}:
            self._notice(FramingFault.CUT_OFF)
        reason = self._finishing or (CloseReason.PEER_CLOSED if exc is None else CloseReason.CONNECTION_LOST)
        self._finishing = reason
        self._close_by = self._loop.time()
        self._cancel_grace()
        if self._throttle is not None:
            self._throttle.cancel()
        self._context.stats.answers_undelivered += self._line.abandon()
        self._context.held_bytes -= self._held_bytes
        self._context.leave(place, reason)

    # The server's side

    def finish(self, reason: CloseReason) -> None:
        """Take no more messages and close once every answer owed is written."""
        if self._finishing is not None:
            return
        self._finishing = reason
        self._cancel_grace()
        self._set_reading(wanted=True)  # to discard, and to see the peer go
        if not self._pulling:
            self._flush()

    def abort(self, reason: CloseReason) -> None:
        """End the connection now, whatever is owed."""
        self._finishing = self._finishing or reason
        self._wire.abort()

    def sweep(self, now: float) -> None:
        """Apply the time limits; `now` is the loop's clock."""
        times, limits = self._times, self._limits
        if self._close_by is not None:
            if now >= self._close_by:
                self._wire.abort()
        elif times.stalled_since is not None and now - times.stalled_since >= limits.write_stalled_timeout_s:
            self._finishing = CloseReason.WRITE_STALLED
            self._wire.abort()
        elif self._finishing is None:
            if not self._reading:
                self._settle()  # the bound on all connections together may be free again
                if times.frame_since is not None and self._is_full():
                    times.frame_since = now  # it is we who do not read: the sender is not slow
            overdue = times.overdue(
                now,
                limits,
                frame_bytes=self._decoder.buffered_bytes,
                framed=self._frames > 0 or self._backlog,
                owing=len(self._line) > 0,
            )
            if overdue is not None:
                self.finish(overdue)

    # Messages in

    def _pull(self) -> None:
        """Take events until the decoder waits, a bound is reached or the turn is used up."""
        self._pull_scheduled = False
        if self._finishing is not None:
            return
        before = self._frames
        self._pulling = self._backlog = True
        for _ in range(FRAMES_PER_TURN_MAX if self._allowance is None else self._allowed(self._allowance)):
            if self._is_gated():
                break
            event = self._decoder.next_event()
            if event is None:
                self._backlog = False
                break
            self._take(event)
        self._pulling = False
        if self._frames > before:
            self._note_frames(before)
        self._flush()
        if self._finishing is None:
            self._watch_frame(begun=self._frames > before)
            self._settle()

    def _note_frames(self, before: int) -> None:
        """Note what was taken: the first message proves a sender, and each uses up some of its peer's allowance."""
        assert self._place is not None, "who was refused is not read"
        if not before:
            self._context.note_proven(self._place)
        if self._allowance is not None:
            self._allowance.spend(self._frames - before)

    def _allowed(self, allowance: Allowance) -> int:
        """Return how many messages may be taken now; with none left, look again as soon as there may be."""
        now = self._loop.time()
        count = min(FRAMES_PER_TURN_MAX, allowance.left(now))
        if not count and self._throttle is None:
            self._context.stats.throttled += 1
            self._throttle = self._loop.call_later(allowance.wait_s(now), self._end_throttle)
        return count

    def _end_throttle(self) -> None:
        self._throttle = None
        self._settle()

    def _take(self, event: FrameEvent) -> None:
        match event:
            case Frame(payload, anomalies):
                stats = self._context.stats
                stats.frames += 1
                stats.frame_bytes += len(payload)
                for anomaly in anomalies:
                    stats.anomalies[anomaly] += 1
                    self._context.observer.framing_noticed(self._id, anomaly)
                self._hand_over(
                    Inbound(
                        payload=payload,
                        peer=self._peer,
                        connection_id=self._id,
                        anomalies=anomalies,
                        identity=self._identity,
                    )
                )
            case Truncated(payload):
                self._notice(FramingFault.TRUNCATED)
                self._hand_over(self._broken(payload, truncated=True))
            case Oversized(head):
                self._notice(FramingFault.OVERSIZED)
                self._hand_over(self._broken(head, oversized=True))
                self.finish(CloseReason.FRAME_TOO_LARGE)
            case Junk(byte_count):
                self._drop_junk(byte_count)
            case _:
                self._drop_junk(self._decoder.junk_bytes)
                self.finish(CloseReason.JUNK_LIMIT)

    def _broken(self, payload: bytes, *, oversized: bool = False, truncated: bool = False) -> Inbound:
        return Inbound(
            payload=payload,
            peer=self._peer,
            connection_id=self._id,
            oversized=oversized,
            truncated=truncated,
            identity=self._identity,
        )

    def _hand_over(self, inbound: Inbound) -> None:
        self._frames += 1
        answer = self._line.owe(len(inbound.payload), silent=inbound.truncated)
        try:
            self._context.handler(inbound, answer)
        except Exception as error:  # noqa: BLE001 - the connection is a shell: one bad message must not end the others
            self._context.observer.handler_failed(self._id, error)
            self.finish(CloseReason.HANDLER_FAILED)
            if not answer.answered:
                answer(None)

    def _watch_frame(self, *, begun: bool) -> None:
        """Keep the clock of the frame that is not whole yet, and end a wait for its last byte after a grace."""
        if not self._decoder.inside_frame:
            self._times.frame_since = None
            return
        if begun or self._times.frame_since is None:
            self._times.frame_since = self._times.active_at
        if not self._backlog and self._decoder.pending_end:
            self._grace = self._loop.call_later(self._limits.end_grace_s, self._end_grace)

    def _end_grace(self) -> None:
        if not self._reading:  # the byte we wait for may have come: look again once the socket is read
            self._grace = self._loop.call_later(self._limits.end_grace_s, self._end_grace)
            return
        self._grace = None
        event = self._decoder.flush_pending_end()
        assert event is not None, "whatever else ends the frame cancels the grace"
        self._take(event)
        self._times.frame_since = None
        self._flush_and_settle()

    # Answers out

    def _schedule_flush(self) -> None:
        if not self._pulling:  # a head is answered once, so this is called once a flush
            self._loop.call_soon(self._flush_and_settle)

    def _flush_and_settle(self) -> None:
        self._flush()
        self._settle()

    def _flush(self) -> None:
        """Write the answers that are ready; close if they were all that was waited for."""
        if self._close_by is not None:
            return
        stats, transport = self._context.stats, self._wire
        ready = self._line.take_ready()
        if ready.frames and not transport.is_closing():
            stats.answers += len(ready.frames)
            stats.answers_mended += ready.mended
            self._times.active_at = self._loop.time()
            transport.write(ready.frames[0] if len(ready.frames) == 1 else b"".join(ready.frames))
        elif ready.frames:
            stats.answers_undelivered += len(ready.frames)
        if ready.broken:
            stats.answers_undelivered += 1 + self._line.abandon()
            self._finishing = self._finishing or CloseReason.UNANSWERED
        held_bytes = self._line.byte_count + self._decoder.buffered_bytes
        self._context.held_bytes += held_bytes - self._held_bytes
        self._held_bytes = held_bytes
        if self._finishing is not None and not self._line:
            self._close()

    # Back-pressure

    def _is_full(self) -> bool:
        """Tell whether this connection has reached a bound of its own; to go on, it must fall to half of it."""
        if self._times.stalled_since is not None or self._throttle is not None:
            return True
        limits, share = self._limits, 1 if self._reading else 2
        return (
            len(self._line) * share >= limits.in_flight_max
            or self._line.byte_count * share >= limits.in_flight_bytes_max
        )

    def _is_gated(self) -> bool:
        """Tell whether no more messages may be taken now."""
        if self._finishing is not None:
            return True
        return self._is_full() or self._context.held_bytes >= self._limits.held_bytes_max

    def _settle(self) -> None:
        """Read the socket or not, and go on with what was read before."""
        if self._finishing is not None:
            return
        gated = self._is_gated()
        if self._backlog and not gated and not self._pull_scheduled:
            self._pull_scheduled = True
            self._loop.call_soon(self._pull)
        self._set_reading(wanted=not gated and not self._backlog)

    def _set_reading(self, *, wanted: bool) -> None:
        if wanted is self._reading:
            return
        self._reading = wanted
        if self._peer_ended or self._wire.is_closing():
            return
        if wanted:
            self._wire.resume_reading()
        else:
            self._wire.pause_reading()

    # Ending

    def _close(self) -> None:
        """Close; while the peer may still send, only our side, and go on discarding for a while."""
        now, limits, decoder = self._loop.time(), self._limits, self._decoder
        sending = self._discarding or decoder.closed or decoder.inside_frame or decoder.buffered_bytes > 0
        if sending and not self._peer_ended and not self._wire.is_closing():
            self._close_by = now + limits.linger_s
            self._wire.write_eof()
        else:
            self._close_by = now + limits.close_timeout_s
            self._wire.close()

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _drop_junk(self, byte_count: int) -> None:
        self._context.stats.junk_bytes += byte_count
        self._context.observer.junk_dropped(self._id, byte_count)

    def _notice(self, fault: FramingFault) -> None:
        self._context.stats.faults[fault] += 1
        self._context.observer.framing_noticed(self._id, fault)
