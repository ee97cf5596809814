"""The decoder: every framing case whole, byte by byte, in every two pieces, pipelined and with trailing bytes."""

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.mllp.frame import (
    FRAME_BYTES_MAX,
    HEAD_BYTES_MAX,
    Anomaly,
    Frame,
    FrameDecoder,
    FrameEvent,
    FramingError,
    Junk,
    JunkLimit,
    Oversized,
    Truncated,
    encode_frame,
)

MSH = b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\r"
LIMIT = 64  # small, so that the tables show the bytes

CASES: dict[str, tuple[bytes, list[FrameEvent]]] = {
    "one frame": (b"\x0bMSH|1\r\x1c\r", [Frame(b"MSH|1\r")]),
    "empty frame": (b"\x0b\x1c\r", [Frame(b"")]),
    "white space only": (b"\x0b \r\n\x1c\r", [Frame(b" \r\n")]),
    "two frames": (b"\x0bMSH|1\x1c\r\x0bMSH|2\x1c\r", [Frame(b"MSH|1"), Frame(b"MSH|2")]),
    "nothing": (b"", []),
    "not ended": (b"\x0bMSH|1", []),
    "line ends between frames are free": (
        b"\r\n\x0bMSH|1\x1c\r\n\r\r\n\x0bMSH|2\x1c\r\n",
        [Frame(b"MSH|1"), Frame(b"MSH|2")],
    ),
    "junk before": (b"hello\r\n\x0bMSH|1\x1c\r", [Junk(5), Frame(b"MSH|1")]),
    "junk between": (b"\x0bMSH|1\x1c\rxx\x0bMSH|2\x1c\r", [Frame(b"MSH|1"), Junk(2), Frame(b"MSH|2")]),
    "end bytes again after the end are junk": (
        b"\x0bMSH|1\x1c\r\x1c\x1c\r\x0bMSH|2\x1c\r",
        [Frame(b"MSH|1"), Junk(2), Frame(b"MSH|2")],
    ),
    "junk up to the limit": (b"j" * 16 + b"\x0bMSH|1\x1c\r", [Junk(16), Frame(b"MSH|1")]),
    "junk over the limit": (b"j" * 17 + b"\x0bMSH|1\x1c\r", [JunkLimit()]),
    "junk is limited by the gap": (
        (b"j" * 16 + b"\x0bM\x1c\r") * 3,
        [Junk(16), Frame(b"M")] * 3,
    ),
    "missing CR, next frame": (
        b"\x0bMSH|1\x1c\x0bMSH|2\x1c\r",
        [Frame(b"MSH|1", (Anomaly.MISSING_CR,)), Frame(b"MSH|2")],
    ),
    "missing CR, next frame without header": (
        b"\x0bMSH|1\x1c\x0bPID\x1c\r",
        [Frame(b"MSH|1", (Anomaly.MISSING_CR,)), Frame(b"PID")],
    ),
    "missing CR every time": (
        b"\x0bMSH|1\x1c\x0bMSH|2\x1c\x0bMSH|3\x1c\r",
        [Frame(b"MSH|1", (Anomaly.MISSING_CR,)), Frame(b"MSH|2", (Anomaly.MISSING_CR,)), Frame(b"MSH|3")],
    ),
    "LF after the end": (
        b"\x0bMSH|1\x1c\n\x0bMSH|2\x1c\n",
        [Frame(b"MSH|1", (Anomaly.LF_AFTER_END,)), Frame(b"MSH|2", (Anomaly.LF_AFTER_END,))],
    ),
    "CR LF after the end": (b"\x0bMSH|1\x1c\r\n\x0bMSH|2\x1c\r\n", [Frame(b"MSH|1"), Frame(b"MSH|2")]),
    "bare end byte waits": (b"\x0bMSH|1\x1c", []),
    "end byte in content": (b"\x0bMSH|a\x1cb\x1c\r", [Frame(b"MSH|a\x1cb", (Anomaly.END_IN_CONTENT,))]),
    "repeated end": (b"\x0bMSH|1\x1c\x1c\x1c\r", [Frame(b"MSH|1", (Anomaly.REPEATED_END,))]),
    "repeated end and one in content": (
        b"\x0bMSH|\x1c1\x1c\x1c\n",
        [Frame(b"MSH|\x1c1", (Anomaly.END_IN_CONTENT, Anomaly.REPEATED_END, Anomaly.LF_AFTER_END))],
    ),
    "vertical tab in a note": (
        b"\x0bMSH|line\x0btwo\x1c\r\x0bMSH|2\x1c\r",
        [Frame(b"MSH|line\x0btwo", (Anomaly.START_IN_CONTENT,)), Frame(b"MSH|2")],
    ),
    "vertical tabs at the end of the content": (
        b"\x0bMSH|1\r\x0b\x0b\x1c\r",
        [Frame(b"MSH|1\r\x0b\x0b", (Anomaly.START_IN_CONTENT,))],
    ),
    "vertical tab before half a header": (
        b"\x0bMSH|1\x0bMS|F\x0bFH|B\x0bBH|M\x0bM\x1c\r",
        [Frame(b"MSH|1\x0bMS|F\x0bFH|B\x0bBH|M\x0bM", (Anomaly.START_IN_CONTENT,))],
    ),
    "repeated start": (b"\x0b\x0b\x0bMSH|1\x1c\r", [Frame(b"MSH|1", (Anomaly.REPEATED_START,))]),
    "repeated start without header": (b"\x0b\x0bPID\x1c\r", [Frame(b"PID", (Anomaly.REPEATED_START,))]),
    "repeated start of an empty frame": (b"\x0b\x0b\x1c\r", [Frame(b"", (Anomaly.REPEATED_START,))]),
    "the sender began again": (
        b"\x0bMSH|1\rPID|\x0bMSH|2\x1c\r",
        [Truncated(b"MSH|1\rPID|"), Frame(b"MSH|2")],
    ),
    "the sender began again with a batch": (
        b"\x0bMSH|1\x0bFHS|2\x0bBHS|3\x1c\r",
        [Truncated(b"MSH|1"), Truncated(b"FHS|2"), Frame(b"BHS|3")],
    ),
    "the sender began again behind a byte-order mark": (
        b"\x0bMSH|1\x0b\xef\xbb\xbfMSH|2\x1c\r",
        [Truncated(b"MSH|1"), Frame(b"\xef\xbb\xbfMSH|2")],
    ),
    "a byte-order mark is no header": (
        b"\x0bMSH|1\x0b\xef\xbb\xbfPID\x0b\xefa\x1c\r",
        [Frame(b"MSH|1\x0b\xef\xbb\xbfPID\x0b\xefa", (Anomaly.START_IN_CONTENT,))],
    ),
    "began again after a vertical tab and an end byte in content": (
        b"\x0bMSH|\x0b1\x1c1\x0bMSH|2\x1c\r",
        [Truncated(b"MSH|\x0b1\x1c1"), Frame(b"MSH|2")],
    ),
    "flags do not outlive their frame": (
        b"\x0b\x0bMSH|1\x0b1\x1c\n\x0bMSH|2\x1c\r",
        [
            Frame(b"MSH|1\x0b1", (Anomaly.REPEATED_START, Anomaly.START_IN_CONTENT, Anomaly.LF_AFTER_END)),
            Frame(b"MSH|2"),
        ],
    ),
    "as large as allowed": (b"\x0b" + b"x" * LIMIT + b"\x1c\r", [Frame(b"x" * LIMIT)]),
    "one byte too large": (b"\x0b" + b"x" * (LIMIT + 1) + b"\x1c\r\x0bM\x1c\r", [Oversized(b"x" * LIMIT)]),
    "too large without an end": (b"\x0b" + b"x" * 200, [Oversized(b"x" * LIMIT)]),
    "too large by an end byte in content": (b"\x0b" + b"x" * LIMIT + b"\x1cy\x1c\r", [Oversized(b"x" * LIMIT)]),
    "too large by vertical tabs": (b"\x0bM" + b"\x0b" * (LIMIT + 1), [Oversized(b"M" + b"\x0b" * (LIMIT - 1))]),
    "a new frame just before the limit": (
        b"\x0b" + b"x" * LIMIT + b"\x0bMSH\x1c\r",
        [Truncated(b"x" * LIMIT), Frame(b"MSH")],
    ),
    "a new frame just after the limit": (
        b"\x0b" + b"x" * (LIMIT + 1) + b"\x0bMSH\x1c\r",
        [Oversized(b"x" * LIMIT)],
    ),
    "not MLLP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [JunkLimit()]),
}


def decode(pieces: Iterable[bytes]) -> list[FrameEvent]:
    decoder = FrameDecoder(frame_bytes_max=LIMIT, junk_bytes_max=16)
    return [event for piece in pieces for event in decoder.feed(piece)]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("name", CASES)
def test_a_case_gives_its_events_whole_byte_by_byte_and_in_every_two_pieces(name: str) -> None:
    data, expected = CASES[name]

    assert decode([data]) == expected
    assert decode(byte_by_byte(data)) == expected
    for cut in range(len(data) + 1):
        assert decode([data[:cut], data[cut:]]) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_the_same_after_a_good_frame_and_with_trailing_bytes(name: str) -> None:
    data, expected = CASES[name]
    good = Frame(b"MSH|good")

    assert decode([encode_frame(b"MSH|good") + data]) == [good, *expected]
    if data.endswith((b"\r", b"\n")) and isinstance(expected[-1], Frame):
        assert decode([data + b"\r\n\x0bMSH|mor"]) == expected
        assert decode([data + encode_frame(b"MSH|good")]) == [*expected, good]


pieces_of_interest = st.lists(
    st.sampled_from(
        [b"\x0b", b"\x1c", b"\r", b"\n", b"MSH", b"FHS", b"BHS", b"M", b"MS", b"\xef\xbb\xbf", b"\xef", b"|", b"x" * 20]
    )
    | st.binary(max_size=3),
    max_size=40,
).map(b"".join)


@given(data=pieces_of_interest | st.binary(max_size=200), cuts=st.lists(st.integers(0, 300), max_size=12))
@example(data=b"\x0bM\x1c\x0b\x0bMSH\x1c\r", cuts=[3])
def test_any_cutting_of_any_bytes_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    assert decode(data[a:b] for a, b in pairwise(edges)) == decode([data]) == decode(byte_by_byte(data))


@given(payload=pieces_of_interest | st.binary(max_size=300))
def test_what_encodes_decodes_to_itself_and_the_rest_is_refused(payload: bytes) -> None:
    try:
        frame = encode_frame(payload)
    except FramingError:
        assert b"\x0b" in payload or b"\x1c" in payload
        return

    events = list(FrameDecoder().feed(frame + b"\x0bMSH|next\x1c\r"))

    assert [event.payload for event in events if isinstance(event, Frame)] == [payload, b"MSH|next"]
    assert frame == b"\x0b" + payload + b"\x1c\r"


@pytest.mark.parametrize(
    "payload",
    [b"a\x1c\rb", b"a\x1c\nb", b"a\x1c", b"a\x1c\x0bb", b"\x0ba", b"a\x0bMSH|b", b"MSH|1\x1c\r\x1c"],
)
def test_a_payload_that_would_break_its_frame_is_refused_without_naming_its_content(payload: bytes) -> None:
    with pytest.raises(FramingError) as refusal:
        encode_frame(payload)

    assert "MSH" not in str(refusal.value)


def test_a_vertical_tab_in_a_note_can_be_sent() -> None:
    assert encode_frame(b"MSH|a\x0bb\x1cc\r") == b"\x0bMSH|a\x0bb\x1cc\r\x1c\r"


# The wait for the last byte


@pytest.mark.parametrize("late", [b"", b"\r", b"\n", b"\r\n"])
def test_a_bare_end_byte_can_be_flushed_and_a_late_line_end_is_swallowed(late: bytes) -> None:
    decoder = FrameDecoder(junk_bytes_max=16)

    assert list(decoder.feed(b"\x0bMSH|1\r\x1c")) == []
    before, frame, after = decoder.pending_end, decoder.flush_pending_end(), decoder.pending_end

    assert (before, frame, after) == (True, Frame(b"MSH|1\r", (Anomaly.MISSING_CR,)), False)
    assert decoder.flush_pending_end() is None
    assert list(decoder.feed(late + b"\x0bMSH|2\x1c\r")) == [Frame(b"MSH|2")]


def test_bytes_after_a_flushed_end_show_that_it_was_content_and_close_the_decoder() -> None:
    decoder = FrameDecoder()
    list(decoder.feed(b"\x0bMSH|1\x1c"))
    decoder.flush_pending_end()

    assert list(decoder.feed(b"rest of the field")) == [JunkLimit()]
    assert decoder.closed


def test_a_flush_forgives_junk_again_after_the_next_start() -> None:
    decoder = FrameDecoder(junk_bytes_max=16)
    list(decoder.feed(b"\x0bMSH|1\x1c"))
    decoder.flush_pending_end()

    assert list(decoder.feed(b"\x0bMSH|2\x1c\rjunk\x0bMSH|3\x1c\r")) == [Frame(b"MSH|2"), Junk(4), Frame(b"MSH|3")]


@pytest.mark.parametrize("data", [b"", b"\x0b", b"\x0bMSH|1", b"\x0bMSH|1\x1c\r", b"\x1c", b"\x0bMSH|1\x0b"])
def test_nothing_is_flushed_where_no_end_is_pending(data: bytes) -> None:
    decoder = FrameDecoder()
    list(decoder.feed(data))

    assert not decoder.pending_end
    assert decoder.flush_pending_end() is None


def test_an_empty_frame_and_a_repeated_end_can_be_pending() -> None:
    decoder = FrameDecoder()

    assert [list(decoder.feed(b"\x0b\x1c")), decoder.flush_pending_end()] == [[], Frame(b"", (Anomaly.MISSING_CR,))]
    assert list(decoder.feed(b"\x0bMSH|1\x1c\x1c")) == []
    assert decoder.flush_pending_end() == Frame(b"MSH|1", (Anomaly.REPEATED_END, Anomaly.MISSING_CR))


# State that the server reads


def test_the_decoder_tells_what_it_holds() -> None:
    decoder = FrameDecoder(junk_bytes_max=16)
    assert (decoder.inside_frame, decoder.buffered_bytes, decoder.junk_bytes) == (False, 0, 0)

    list(decoder.feed(b"junk\r"))
    assert (decoder.inside_frame, decoder.buffered_bytes, decoder.junk_bytes) == (False, 0, 4)

    list(decoder.feed(b"\x0bMSH"))
    assert (decoder.inside_frame, decoder.buffered_bytes, decoder.junk_bytes) == (True, 3, 0)

    list(decoder.feed(b"|1\x1c\r"))
    assert (decoder.inside_frame, decoder.buffered_bytes, decoder.junk_bytes) == (False, 0, 0)


@pytest.mark.parametrize("data", [b"j" * 17, b"\x0b" + b"x" * (LIMIT + 1)])
def test_a_closed_decoder_holds_nothing_and_gives_nothing_more(data: bytes) -> None:
    decoder = FrameDecoder(frame_bytes_max=LIMIT, junk_bytes_max=16)
    assert len(list(decoder.feed(data))) == 1

    assert decoder.closed
    assert not decoder.inside_frame
    assert list(decoder.feed(b"\x0bMSH|1\x1c\r")) == []
    assert decoder.buffered_bytes == 0
    assert decoder.next_event() is None


def test_events_left_unread_come_first_after_the_next_feed() -> None:
    decoder = FrameDecoder()
    events = decoder.feed(b"\x0bMSH|1\x1c\r\x0bMSH|2\x1c\r\x0bMS")
    assert next(events) == Frame(b"MSH|1")

    assert list(decoder.feed(b"H|3\x1c\r\x0bMSH|4")) == [Frame(b"MSH|2"), Frame(b"MSH|3")]
    assert list(decoder.feed(b"\x1c\r")) == [Frame(b"MSH|4")]


def test_the_head_of_a_refused_frame_is_bounded() -> None:
    decoder = FrameDecoder()

    (refused,) = decoder.feed(b"\x0b" + MSH + b"x" * FRAME_BYTES_MAX)

    assert isinstance(refused, Oversized)
    assert refused.head.startswith(MSH)
    assert len(refused.head) == HEAD_BYTES_MAX


# Cost


class CountingBuffer(bytearray):
    """Counts the bytes that searches look at and deletions move."""

    touched = 0

    def find(self, *args: object) -> int:
        start = args[1] if len(args) > 1 else 0
        end = args[2] if len(args) > 2 else len(self)
        at = super().find(*args)  # type: ignore[arg-type]  # the arguments are passed on as they came
        assert isinstance(start, int)
        assert isinstance(end, int)
        self.touched += (at if at >= 0 else end) - start
        return at

    def __delitem__(self, key: object) -> None:
        super().__delitem__(key)  # type: ignore[arg-type]  # the key is passed on as it came
        self.touched += len(self)


def test_a_frame_that_comes_byte_by_byte_is_searched_once_not_once_a_byte() -> None:
    size = 20_000
    decoder = FrameDecoder()
    list(decoder.feed(b"\x0bM"))
    buffer = CountingBuffer(b"\x0bM")
    decoder._source = buffer

    for piece in byte_by_byte(b"x" * size):
        assert list(decoder.feed(piece)) == []
    (frame,) = decoder.feed(b"\x1c\r")

    assert isinstance(frame, Frame)
    assert len(frame.payload) == size + 1
    assert decoder._source is buffer
    # Two searches, one for each marker byte; searching from the start each time would be 200,000,000 each.
    assert buffer.touched <= 2 * (size + 10)


def test_a_read_full_of_broken_off_frames_is_searched_a_fixed_number_of_times() -> None:
    starts = 2_000
    decoder = FrameDecoder()
    buffer = CountingBuffer(b"\x0bMSH|" * starts)
    decoder._source = buffer

    events = list(decoder.feed(b"\x1c\r"))

    assert len(events) == starts
    assert buffer.touched <= 4 * len(buffer)


def test_many_small_frames_in_one_read_are_not_copied_again_and_again() -> None:
    count = 5_000
    read = encode_frame(b"MSH|1") * count
    decoder = FrameDecoder()

    tracemalloc.start()
    try:
        frames = sum(1 for _ in decoder.feed(read))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert frames == count
    assert peak < len(read)  # one event at a time, nothing of the read copied but the payload in hand


def test_what_the_decoder_holds_stays_within_the_limit_whatever_is_sent() -> None:
    decoder = FrameDecoder(frame_bytes_max=1_000, junk_bytes_max=16)
    held = 0
    for piece in byte_by_byte(b"\x0bMSH|" + b"\x0bM\x1cx" * 1_000):
        list(decoder.feed(piece))
        held = max(held, decoder.buffered_bytes)

    assert decoder.closed
    assert held <= 1_000 + len(b"\x0b\xef\xbb\xbfMSH")
