"""MLLP frames out of bytes and back: no socket, no clock, no HL7.

Promise: any bytes, cut into reads anywhere, give the same events and nothing else; a frame once ended is never lost to
the noise around it; memory is bounded by the limits and work is linear in the bytes fed, also for one-byte reads.

Source: HL7 v2.5.1 appendix C.4 and IHE ITI TF-2 (MLLP): a frame is 0x0B, the message, 0x1C 0x0D. What real senders do
beyond that is decided here:

* 0x0D and 0x0A between frames are free; other bytes there are junk, dropped and counted up to a limit per gap.
* 0x1C ends a frame when 0x0D follows, and also when 0x0A or the next 0x0B does (flagged). Before any other byte it is
  content. As the very last byte received it waits; the caller ends the wait with `flush_pending_end`.
* 0x0B inside a frame opens a new frame when a message header follows it (the sender began again); otherwise it is a
  vertical tab in a note, kept and flagged. In doubt a new frame is the safe reading: two messages glued together could
  put one patient's data under another's name.
* A run of 0x0B opens one frame and a run of 0x1C closes one (flagged).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

START_BLOCK = 0x0B
END_BLOCK = 0x1C
CARRIAGE_RETURN = 0x0D
LINE_FEED = 0x0A

FRAME_BYTES_MAX = 1_048_576  # DESIGN §7: a 1 MB message is the worst case the listener is sized for
JUNK_BYTES_MAX = 4_096  # faults.md B01: bytes outside frames before the connection is given up
HEAD_BYTES_MAX = 4_096  # enough of a refused frame for any MSH segment, so that it can be answered by its control id

_START = bytes((START_BLOCK,))
_END = bytes((END_BLOCK,))
_END_CR = bytes((END_BLOCK, CARRIAGE_RETURN))
_START_RUN = re.compile(rb"\x0b+")

# The bytes that decide something inside a frame, or that might once the next bytes are known (`\Z`). A header is MSH,
# or FHS or BHS of a batch, behind an optional UTF-8 byte-order mark. Each branch begins with a literal so that `re`
# skips over ordinary text by its first byte alone.
_DECISIVE = re.compile(
    rb"\x0b(?:(?P<restart>(?:\xef\xbb\xbf)?(?:MSH|FHS|BHS))|(?:\xef\xbb\xbf)?(?:MS?|FH?|BH?)?\Z|\xef\xbb?\Z)"
    rb"|\x1c(?:(?P<end>[\r\n\x0b])|\Z)"
)


class FramingError(ValueError):
    """The payload holds bytes that would end or restart its own frame: send it in an encoding without them."""


class Anomaly(StrEnum):
    """What was unusual about a frame that was understood all the same."""

    MISSING_CR = "missing-cr"
    LF_AFTER_END = "lf-after-end"
    REPEATED_START = "repeated-start"
    REPEATED_END = "repeated-end"
    START_IN_CONTENT = "start-in-content"
    END_IN_CONTENT = "end-in-content"


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message, without its framing bytes."""

    payload: bytes
    anomalies: tuple[Anomaly, ...] = ()


@dataclass(frozen=True, slots=True)
class Truncated:
    """A message the sender began and then began again; a new frame follows in its place."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Oversized:
    """A frame over the limit, by its first bytes; the decoder is closed and so must the connection be."""

    head: bytes


@dataclass(frozen=True, slots=True)
class Junk:
    """Bytes dropped between two frames, reported when the second begins."""

    byte_count: int


@dataclass(frozen=True, slots=True)
class JunkLimit:
    """More junk than allowed: whatever talks here does not talk MLLP; the decoder is closed."""


FrameEvent = Frame | Truncated | Oversized | Junk | JunkLimit


def encode_frame(payload: bytes) -> bytes:
    """Wrap a message for the wire.

    Raises:
        FramingError: the payload would not come out again as this one frame.
    """
    frame = b"%b%b%b" % (_START, payload, _END_CR)
    if START_BLOCK in payload or END_BLOCK in payload:
        event = next(FrameDecoder(frame_bytes_max=len(payload)).feed(frame), None)
        if not isinstance(event, Frame) or event.payload != payload:
            raise FramingError("payload holds MLLP framing bytes (0x0B or 0x1C) where they would break the frame")
    return frame


class FrameDecoder:
    """Turn the bytes of one connection into frame events, pulled one at a time.

    Pulling keeps a burst cheap to hold: what is not asked for yet stays bytes, so a reader under back-pressure stops
    pulling and feeding instead of piling up events.
    """

    __slots__ = (
        "_closed",
        "_frame_bytes_max",
        "_inside",
        "_junk",
        "_junk_allowed",
        "_junk_bytes_max",
        "_pos",
        "_repeated_start",
        "_scan",
        "_source",
        "_unusual",
    )

    def __init__(self, *, frame_bytes_max: int = FRAME_BYTES_MAX, junk_bytes_max: int = JUNK_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._junk_bytes_max = junk_bytes_max
        self._source: bytes | bytearray = b""
        self._pos = 0  # first byte not yet given out; inside a frame, the first of its payload
        self._scan = 0  # first byte not yet searched, so that slow senders cost O(n)
        self._inside = False
        self._unusual = False  # this frame holds a marker byte that did not simply end it
        self._repeated_start = False
        self._junk = 0
        self._junk_allowed = junk_bytes_max
        self._closed = False

    @property
    def closed(self) -> bool:
        """Tell whether a limit was passed; nothing more will come out."""
        return self._closed

    @property
    def inside_frame(self) -> bool:
        """Tell whether a frame has begun and not ended, once every event is pulled."""
        return self._inside and not self._closed

    @property
    def pending_end(self) -> bool:
        """Tell whether all that is missing is the byte after 0x1C, once every event is pulled."""
        return self.inside_frame and len(self._source) > self._pos and self._source[-1] == END_BLOCK

    @property
    def buffered_bytes(self) -> int:
        """Count the bytes held."""
        return len(self._source) - self._pos

    @property
    def junk_bytes(self) -> int:
        """Count the junk since the last frame, before `Junk` reports it."""
        return self._junk

    def feed(self, data: bytes) -> Iterator[FrameEvent]:
        """Add bytes as read and iterate over the events they complete; events left unread come first next time."""
        if not self._closed:
            self._append(data)
        return iter(self.next_event, None)

    def next_event(self) -> FrameEvent | None:
        """Give the next event, or None to wait for more bytes."""
        if self._closed:
            return None
        if not self._inside:
            junk = self._seek_start()
            if junk is not None or not self._inside:
                return junk
        return self._read_frame()

    def flush_pending_end(self) -> FrameEvent | None:
        """End the frame whose 0x1C is the last byte received: the sender waits for its answer and owes us the 0x0D.

        A line end that comes late is swallowed as between frames. Any other byte before the next start shows that the
        guess was wrong, so it closes the decoder (`JunkLimit`) at once.
        """
        if not self.pending_end:
            return None
        end = len(self._source) - 1
        self._unusual = True
        self._junk_allowed = 0
        return self._finish(end, end + 1, (Anomaly.MISSING_CR,))

    def _append(self, data: bytes) -> None:
        source, pos = self._source, self._pos
        if pos == len(source):
            self._source = data  # the normal case: nothing is left over, so nothing is copied
        else:
            # Deleting happens only after a frame was given out, when the rest is part of one read: O(n) in all.
            rest = source if isinstance(source, bytearray) else bytearray(source)
            if pos:
                del rest[:pos]
            rest += data
            self._source = rest
        self._pos = 0
        self._scan -= pos

    def _seek_start(self) -> Junk | JunkLimit | None:
        source, pos = self._source, self._pos
        start = source.find(START_BLOCK, pos)
        gap_end = len(source) if start < 0 else start
        if gap_end > pos:
            line_ends = source.count(CARRIAGE_RETURN, pos, gap_end) + source.count(LINE_FEED, pos, gap_end)
            self._junk += gap_end - pos - line_ends
            if self._junk > self._junk_allowed:
                self._close()
                return JunkLimit()
        if start < 0:
            self._pos = self._scan = gap_end
            return None
        self._open(start + 1)
        self._junk_allowed = self._junk_bytes_max
        junk, self._junk = self._junk, 0
        return Junk(junk) if junk else None

    def _read_frame(self) -> FrameEvent | None:
        source, scan = self._source, self._scan
        # The next start is looked for first: it bounds the search for the end, so a read full of starts stays linear.
        following = source.find(START_BLOCK, scan)
        limit = len(source) if following < 0 else following
        end = source.find(END_BLOCK, scan, limit)
        if end >= 0 and source[end + 1 : end + 2] == b"\r":
            return self._finish(end, end + 2, ())
        if end >= 0 or following >= 0:
            return self._read_unusual_frame()
        self._scan = limit
        return self._refuse() if limit - self._pos > self._frame_bytes_max else None

    def _read_unusual_frame(self) -> FrameEvent | None:
        self._unusual = True
        source, start = self._source, self._pos
        if (run := _START_RUN.match(source, start)) is not None:
            self._pos = self._scan = run.end()
            self._repeated_start = True
            return self._read_frame()
        marker = _DECISIVE.search(source, self._scan)
        self._scan = at = len(source) if marker is None else marker.start()
        if at - start > self._frame_bytes_max:
            return self._refuse()
        if marker is None or marker.lastgroup is None:
            return None
        if marker.lastgroup == "restart":
            cut = Truncated(bytes(source[start:at]))
            self._open(at + 1)
            return cut
        follower = source[at + 1]
        if follower == START_BLOCK:
            return self._finish(at, at + 1, (Anomaly.MISSING_CR,))
        return self._finish(at, at + 2, (Anomaly.LF_AFTER_END,) if follower == LINE_FEED else ())

    def _open(self, payload_start: int) -> None:
        self._pos = self._scan = payload_start
        self._inside = True
        self._unusual = self._repeated_start = False

    def _finish(self, end: int, resume: int, ending: tuple[Anomaly, ...]) -> Frame | Oversized:
        start = self._pos
        if end - start > self._frame_bytes_max:
            return self._refuse()
        payload = bytes(self._source[start:end])
        self._pos = self._scan = resume
        self._inside = False
        return self._describe(payload, ending) if self._unusual else Frame(payload)

    def _describe(self, payload: bytes, ending: tuple[Anomaly, ...]) -> Frame:
        kept = payload.rstrip(_END)
        marks = (
            (Anomaly.REPEATED_START, self._repeated_start),
            (Anomaly.START_IN_CONTENT, START_BLOCK in kept),
            (Anomaly.END_IN_CONTENT, END_BLOCK in kept),
            (Anomaly.REPEATED_END, len(kept) < len(payload)),
        )
        return Frame(kept, (*(mark for mark, present in marks if present), *ending))

    def _refuse(self) -> Oversized:
        head = bytes(self._source[self._pos : self._pos + min(HEAD_BYTES_MAX, self._frame_bytes_max)])
        self._close()
        return Oversized(head)

    def _close(self) -> None:
        self._closed = True
        self._source = b""
        self._pos = self._scan = 0
