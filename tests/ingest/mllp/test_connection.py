"""One connection against a transport that records: what is written when, and when reading stops."""

import asyncio
from collections.abc import Callable
from typing import Any

from services.ingest.mllp.connection import FRAMES_PER_TURN_MAX, MllpConnection
from services.ingest.mllp.context import ServerContext
from services.ingest.mllp.frame import encode_frame
from services.ingest.mllp.inbound import Answer, Handler, Inbound
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, SilentObserver
from tests.ingest.mllp.peers import Holding, Immediate, ack, until


class RecordingTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.writes: list[bytes] = []
        self.reading = True
        self.closed = self.ended = self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        self.writes.append(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


def connect(handler: Handler, **limits: Any) -> tuple[MllpConnection, RecordingTransport, ServerContext]:
    context = ServerContext(handler=handler, limits=ServerLimits(**limits), observer=SilentObserver())
    connection, transport = MllpConnection(context), RecordingTransport()
    connection.connection_made(transport)
    return connection, transport, context


async def turn() -> None:
    """Let the callbacks of one turn of the loop run."""
    await asyncio.sleep(0)


def frames(count: int) -> bytes:
    return b"".join(encode_frame(b"MSH|%d" % number) for number in range(count))


async def test_answers_given_at_once_to_one_read_leave_in_one_write() -> None:
    connection, transport, _ = connect(Immediate())

    connection.data_received(frames(20))

    assert transport.writes == [b"".join(encode_frame(ack(b"MSH|%d" % number)) for number in range(20))]


async def test_answers_completed_in_one_turn_leave_in_one_write_whatever_their_order() -> None:
    handler = Holding()
    connection, transport, _ = connect(handler)
    connection.data_received(frames(10))

    for index in (4, 1, 0, 2, 3):
        handler.acknowledge(index)
    assert transport.writes == []
    await turn()
    assert transport.writes == [b"".join(encode_frame(ack(b"MSH|%d" % number)) for number in range(5))]

    for index in (9, 8, 7, 6):
        handler.acknowledge(index)
    await turn()
    assert len(transport.writes) == 1, "the next in line is not answered yet"
    handler.acknowledge(5)
    await turn()
    assert len(transport.writes) == 2


async def test_a_long_read_is_taken_in_turns_so_that_others_have_theirs() -> None:
    handler = Immediate()
    connection, transport, _ = connect(handler, in_flight_max=10_000)

    connection.data_received(frames(3 * FRAMES_PER_TURN_MAX))
    seen = []
    for _ in range(4):
        seen.append((len(handler.seen), transport.reading))
        await turn()

    most = FRAMES_PER_TURN_MAX
    assert seen == [(most, False), (2 * most, False), (3 * most, False), (3 * most, True)]


async def test_reading_stops_at_the_bound_and_goes_on_at_half_of_it() -> None:
    handler = Holding()
    connection, transport, _ = connect(handler, in_flight_max=8)

    connection.data_received(frames(8))
    reading = []
    for index in range(8):
        reading.append(transport.reading)
        handler.acknowledge(index)
        await turn()
        await turn()

    assert reading == [False, False, False, False, False, True, True, True]


async def test_a_read_that_goes_past_the_bound_is_handed_on_bit_by_bit() -> None:
    handler = Holding()
    connection, _, context = connect(handler, in_flight_max=4)
    connection.data_received(frames(20))

    for index in range(20):
        assert index < len(handler.seen) <= index + 4
        handler.acknowledge(index)
        await turn()
        await turn()

    assert context.stats.answers == 20


async def test_a_peer_that_does_not_take_answers_is_not_read_until_it_does() -> None:
    handler = Immediate()
    connection, transport, _ = connect(handler)

    connection.pause_writing()
    reading_while_stalled = transport.reading
    connection.resume_writing()

    assert (reading_while_stalled, transport.reading) == (False, True)


async def test_a_waiting_connection_reads_again_once_the_others_have_let_go() -> None:
    handler = Immediate()
    connection, transport, context = connect(handler, held_bytes_max=100)
    context.held_bytes += 100
    connection.data_received(frames(1))
    seen_while_full = len(handler.seen)

    connection.sweep(asyncio.get_running_loop().time())
    assert (seen_while_full, transport.reading) == (0, False)
    context.held_bytes -= 100
    connection.sweep(asyncio.get_running_loop().time())
    await until(lambda: handler.seen)

    assert transport.reading


async def test_the_wait_for_the_last_byte_does_not_end_while_the_socket_is_not_read() -> None:
    handler = Holding()
    connection, transport, _ = connect(handler, end_grace_s=0.0)
    connection.data_received(frames(1) + b"\x0bMSH|last\x1c")
    connection.pause_writing()
    assert not transport.reading
    for _ in range(5):
        await turn()
    seen_while_paused = len(handler.seen)

    connection.resume_writing()
    await until(lambda: len(handler.seen) == 2)

    assert seen_while_paused == 1
    assert handler.seen[1].payload == b"MSH|last"


async def finished(say: bytes, after: Callable[[MllpConnection], None]) -> RecordingTransport:
    connection, transport, _ = connect(Immediate(), frame_bytes_max=100)
    connection.data_received(say)
    after(connection)
    return transport


async def test_only_a_peer_that_may_still_send_is_waited_for_when_closing() -> None:
    def drain(connection: MllpConnection) -> None:
        connection.finish(CloseReason.DRAINED)

    quiet = await finished(frames(1), drain)
    midway = await finished(frames(1) + b"\x0bMSH", drain)
    too_large = await finished(b"\x0b" + b"x" * 200, drain)

    assert [(t.closed, t.ended) for t in (quiet, midway, too_large)] == [(True, False), (False, True), (False, True)]


async def test_a_closing_connection_is_cut_when_its_time_is_over_and_not_before() -> None:
    connection, transport, _ = connect(Immediate(), close_timeout_s=5.0)
    connection.finish(CloseReason.DRAINED)
    now = asyncio.get_running_loop().time()

    connection.sweep(now + 4.0)
    cut_early = transport.aborted
    connection.sweep(now + 6.0)

    assert (cut_early, transport.aborted) == (False, True)


async def test_a_write_after_the_peer_is_gone_is_counted_and_not_tried() -> None:
    handler = Holding()
    connection, transport, context = connect(handler)
    connection.data_received(frames(1))
    handler.acknowledge(0)
    transport.closed = True  # the loop knows of the error, the protocol not yet
    await turn()
    connection.connection_lost(ConnectionResetError())

    assert transport.writes == []
    assert (context.stats.answers, context.stats.answers_undelivered) == (0, 1)
    assert context.stats.connections_closed == {CloseReason.CONNECTION_LOST: 1}
    assert context.held_bytes == 0


async def test_a_connection_lost_with_an_answer_on_its_way_leaves_nothing_behind() -> None:
    handler = Holding()
    connection, transport, context = connect(handler)
    connection.data_received(frames(2) + b"\x0bMSH|")
    handler.acknowledge(0)
    connection.connection_lost(None)
    await turn()

    assert transport.writes == []
    assert context.held_bytes == 0
    assert context.stats.answers_undelivered == 2
    assert context.all_closed.is_set()


async def test_a_handler_that_answers_and_then_raises_has_answered() -> None:
    def handler(inbound: Inbound, answer: Answer) -> None:
        answer(ack(inbound.payload))
        raise RuntimeError

    connection, transport, context = connect(handler)
    connection.data_received(encode_frame(b"MSH|1"))

    assert transport.writes == [encode_frame(ack(b"MSH|1"))]
    assert transport.closed
    connection.connection_lost(None)
    assert context.stats.connections_closed == {CloseReason.HANDLER_FAILED: 1}


async def test_what_was_read_and_not_yet_taken_is_not_taken_once_draining() -> None:
    handler = Immediate()
    connection, transport, _ = connect(handler)
    connection.data_received(frames(2 * FRAMES_PER_TURN_MAX))
    connection.finish(CloseReason.DRAINED)
    await turn()

    assert len(handler.seen) == FRAMES_PER_TURN_MAX
    assert transport.ended


async def test_a_transport_that_is_gone_is_neither_paused_nor_resumed() -> None:
    connection, transport, _ = connect(Immediate())
    transport.closed = True
    connection.pause_writing()

    assert transport.reading


# The clock of a frame that is not whole yet; `sweep` is told the time


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_the_clock_of_a_frame_stops_with_the_frame() -> None:
    connection, transport, _ = connect(Immediate())
    connection.data_received(b"\x0bMSH|")
    connection.data_received(b"\x1c\r")

    connection.sweep(later(100.0))

    assert not transport.is_closing()


async def test_the_clock_of_a_frame_stops_with_a_flushed_end() -> None:
    connection, transport, _ = connect(Immediate(), end_grace_s=0.0)
    connection.data_received(b"\x0bMSH|\x1c")
    await until(lambda: transport.writes)

    connection.sweep(later(100.0))

    assert not transport.is_closing()


async def test_the_clock_starts_anew_with_each_frame() -> None:
    connection, transport, _ = connect(Immediate())
    connection.data_received(b"\x0bMSH|")
    connection._times.frame_since = later(-1_000.0)
    connection.data_received(b"\x1c\r\x0bMSH|")

    connection.sweep(later(0.0))
    ended_early = transport.ended
    connection.sweep(later(100.0))

    assert (ended_early, transport.ended) == (False, True)


async def test_the_clock_of_a_frame_waits_while_the_socket_is_not_read() -> None:
    connection, transport, _ = connect(Immediate(), write_stalled_timeout_s=1_000.0)
    connection.data_received(b"\x0bMSH|")
    connection.pause_writing()
    connection.sweep(later(100.0))
    connection.resume_writing()
    connection.sweep(later(101.0))
    ended_early = transport.ended
    connection.sweep(later(131.0))

    assert (ended_early, transport.ended) == (False, True)


async def test_a_byte_in_time_ends_the_wait_for_it() -> None:
    connection, _, _ = connect(Immediate())
    connection.data_received(b"\x0bMSH|\x1c")
    waited = connection._grace
    connection.data_received(b"\r")

    assert waited is not None
    assert waited.cancelled()


async def test_a_connection_that_finishes_is_read_again_so_that_the_peer_is_seen_to_go() -> None:
    connection, transport, _ = connect(Holding(), in_flight_max=1)
    connection.data_received(frames(2))
    reading_before = transport.reading
    connection.finish(CloseReason.DRAINED)

    assert (reading_before, transport.reading) == (False, True)
