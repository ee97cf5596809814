"""How connections and the listener end: time limits, peers that go, draining; over real sockets."""

import asyncio

from services.ingest.mllp.frame import encode_frame
from services.ingest.mllp.observation import CloseReason, FramingFault, RefuseReason
from services.ingest.mllp.server import MllpServer
from tests.ingest.mllp.peers import (
    BRIEF_S,
    MESSAGE,
    Holding,
    Immediate,
    ack,
    brief,
    on_both_loops,
    on_every_wire,
    serving,
    until,
)

# Time


@on_every_wire
async def test_a_sender_of_one_byte_now_and_then_is_ended_and_the_others_are_not() -> None:
    async with serving(Immediate(), brief(header_timeout_s=BRIEF_S)) as stand:
        good, slow = await stand.connect(), await stand.connect()
        slow.say(b"\x0bM")
        good.frame(MESSAGE)
        assert await good.answers(1) == [ack(MESSAGE)]
        while not stand.server.stats.connections_closed:
            slow.say(b"S")
            await asyncio.sleep(0.01)
            assert len(stand.server.stats.connections_closed) <= 1
            if stand.connection(2)._finishing is not None:
                slow.writer.close()
                await until(lambda: stand.server.stats.connections_closed)

        assert stand.server.stats.connections_closed == {CloseReason.HEADER_TIMEOUT: 1}
        good.frame(MESSAGE)
        assert await good.answers(1) == [ack(MESSAGE)]


@on_every_wire
async def test_a_frame_that_does_not_end_in_time_is_given_up_after_the_answers_owed() -> None:
    handler = Holding()
    async with serving(handler, brief(frame_timeout_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|1")
        peer.say(b"\x0b" + b"x" * 1_000)
        await until(lambda: handler.seen)
        await until(lambda: stand.connection(1)._finishing)
        handler.acknowledge(0)

        assert await peer.rest() == encode_frame(ack(b"MSH|1"))
        peer.writer.close()
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.FRAME_TIMEOUT: 1})


@on_every_wire
async def test_a_frame_is_not_slow_while_it_is_the_server_that_does_not_read() -> None:
    handler = Holding()
    async with serving(handler, brief(frame_timeout_s=BRIEF_S, in_flight_max=1)) as stand:
        peer = await stand.connect()
        peer.say(encode_frame(b"MSH|1") + b"\x0b" + b"x" * 1_000)
        await until(lambda: handler.seen)
        until_s = asyncio.get_running_loop().time() + 3 * BRIEF_S
        await until(lambda: asyncio.get_running_loop().time() > until_s)
        peer.say(b"\x1c\r")
        handler.acknowledge(0)
        await until(lambda: len(handler.seen) == 2)
        handler.acknowledge(1)

        assert await peer.answers(2) == [ack(b"MSH|1"), ack(b"x" * 1_000)]


@on_every_wire
async def test_a_connection_that_says_nothing_or_nothing_framed_or_nothing_any_more_is_ended() -> None:
    async with serving(Immediate(), brief(silent_timeout_s=BRIEF_S)) as stand:
        assert await (await stand.connect()).rest() == b""
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.SILENT_TIMEOUT: 1})

    async with serving(Immediate(), brief(header_timeout_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        peer.say(b"MSH|^~\\&|")
        assert await peer.rest() == b""
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.NO_START_BLOCK: 1})

    async with serving(Immediate(), brief(idle_timeout_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|1")
        assert await peer.rest() == encode_frame(ack(b"MSH|1"))
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.IDLE_TIMEOUT: 1})


@on_every_wire
async def test_a_peer_that_does_not_close_its_side_is_cut() -> None:
    async with serving(Immediate(), brief(frame_timeout_s=BRIEF_S, linger_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|")
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.FRAME_TIMEOUT: 1})
        assert await peer.rest() == b""


# Ends


@on_every_wire
async def test_a_sender_that_has_said_all_still_gets_its_answers() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|1", b"MSH|2")
        peer.end()
        await until(lambda: len(handler.seen) == 2)
        handler.acknowledge(0)
        assert await peer.answers(1) == [ack(b"MSH|1")]
        handler.acknowledge(1)
        assert await peer.rest() == encode_frame(ack(b"MSH|2"))
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.PEER_CLOSED: 1})


@on_every_wire
async def test_a_frame_cut_off_by_the_network_is_discarded_and_counted() -> None:
    handler = Immediate()
    async with serving(handler) as stand:
        cut, reset = await stand.connect(), await stand.connect()
        cut.say(b"\x0bMSH|1\rPID")
        reset.say(b"\x0bMSH|1\rPID")
        await until(lambda: all(c._decoder.inside_frame for c in stand.connections()))
        cut.writer.close()
        reset.reset()
        await until(lambda: not stand.server.stats.connections_open)

        assert handler.seen == []
        assert stand.server.stats.faults == {FramingFault.CUT_OFF: 2}
        assert set(stand.server.stats.connections_closed) == {CloseReason.PEER_CLOSED, CloseReason.CONNECTION_LOST}


# Draining


@on_every_wire
async def test_draining_answers_what_is_in_flight_takes_nothing_new_and_ends_in_order() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        busy, idle = await stand.connect(), await stand.connect()
        busy.frame(b"MSH|1")
        await until(lambda: handler.seen)
        draining = asyncio.create_task(stand.server.drain())
        assert await idle.rest() == b""
        busy.frame(b"MSH|2")
        await until(lambda: stand.connection(1)._discarding)
        handler.acknowledge(0)

        assert await busy.rest() == encode_frame(ack(b"MSH|1"))
        busy.writer.close()
        assert await draining
        assert [inbound.payload for inbound in handler.seen] == [b"MSH|1"]
        assert stand.server.stats.connections_closed == {CloseReason.DRAINED: 2}
        stand.server.pause_accepting()
        stand.server.resume_accepting()
        assert stand.server._context.refusing is RefuseReason.DRAINING


@on_every_wire
async def test_draining_ends_in_time_with_peers_that_hang_and_a_handler_that_never_answers() -> None:
    handler = Holding()
    async with serving(handler, brief()) as stand:
        owed, midway = await stand.connect(), await stand.connect()
        owed.frame(b"MSH|1")
        midway.say(b"\x0bMSH|")
        await until(lambda: handler.seen and stand.connection(2)._decoder.inside_frame)

        assert not await stand.server.drain(BRIEF_S)
        assert stand.server.stats.connections_open == 0
        assert stand.server.stats.connections_closed == {CloseReason.DRAINED: 2}
        assert await owed.rest() == b""


@on_both_loops
async def test_a_server_that_was_never_started_or_never_used_drains_at_once() -> None:
    unused = MllpServer(Immediate())
    assert await unused.drain(0.0)
    await unused.start()
    assert await unused.drain(0.0)


@on_both_loops
async def test_a_drained_server_is_gone_from_its_port() -> None:
    async with serving(Immediate()) as stand:
        await stand.server.drain()
        try:
            peer = await stand.connect()
        except ConnectionRefusedError:
            return
        assert await peer.rest() == b""
