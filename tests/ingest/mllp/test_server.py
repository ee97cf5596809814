"""The listener over real sockets on loopback, under asyncio and uvloop alike."""

import asyncio
import random
import socket
import threading

import hl7.client

from services.ingest.mllp.frame import Anomaly, encode_frame
from services.ingest.mllp.inbound import Answer, Inbound
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, FramingFault, RefuseReason
from services.ingest.mllp.server import KEEPALIVE_IDLE_S, MllpServer
from tests.ingest.mllp.peers import Holding, Immediate, Listening, ack, on_both_loops, serving, until

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


# Answers


@on_both_loops
async def test_a_message_is_answered_and_described() -> None:
    handler = Immediate()
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.frame(MESSAGE)

        assert await peer.answers(1) == [ack(MESSAGE)]
        host, port = peer.writer.get_extra_info("sockname")
        assert handler.seen == [Inbound(payload=MESSAGE, peer=f"{host}:{port}", connection_id=1)]


@on_both_loops
async def test_answers_leave_in_the_order_of_arrival_however_they_are_completed() -> None:
    handler = Holding()
    order = list(range(40))
    random.Random(3).shuffle(order)
    payloads = [b"MSH|%d" % number for number in range(40)]
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.frame(*payloads)
        await until(lambda: len(handler.seen) == 40)
        for index in order:
            handler.acknowledge(index)
            if index % 3 == 0:
                await asyncio.sleep(0)  # some in one turn of the loop, some in the next

        assert await peer.answers(40) == [ack(payload) for payload in payloads]


@on_both_loops
async def test_connections_do_not_wait_for_each_other() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        slow, quick = await stand.connect(), await stand.connect()
        slow.frame(b"MSH|slow")
        await until(lambda: len(handler.seen) == 1)
        quick.frame(b"MSH|quick")
        await until(lambda: len(handler.seen) == 2)
        handler.acknowledge(1)

        assert await quick.answers(1) == [ack(b"MSH|quick")]
        handler.acknowledge(0)
        assert await slow.answers(1) == [ack(b"MSH|slow")]
        assert len({inbound.connection_id for inbound in handler.seen}) == 2


@on_both_loops
async def test_a_thousand_pipelined_messages_are_answered_in_order_under_back_pressure() -> None:
    handler = Holding()
    limits = ServerLimits(in_flight_max=64)
    payloads = [b"MSH|%d|" % number + b"x" * 1_400 for number in range(1_000)]
    async with serving(handler, limits) as stand:
        peer = await stand.connect()
        peer.frame(*payloads)
        answered = 0
        while answered < 1_000:
            await until(lambda done=answered: len(handler.seen) > done)  # type: ignore[misc]  # a loop variable, bound
            assert len(handler.seen) - answered <= 64
            handler.acknowledge(answered)
            answered += 1

        assert await peer.answers(1_000) == [ack(payload) for payload in payloads]


@on_both_loops
async def test_a_thousand_empty_frames_in_one_write_are_answered() -> None:
    async with serving(Immediate()) as stand:
        peer = await stand.connect()
        peer.frame(*[b""] * 1_000)

        assert await peer.answers(1_000) == [ack(b"")] * 1_000


@on_both_loops
async def test_messages_are_held_back_by_their_bytes_too() -> None:
    handler = Holding()
    async with serving(handler, ServerLimits(in_flight_bytes_max=10_000)) as stand:
        peer = await stand.connect()
        peer.frame(*[b"x" * 6_000] * 10)
        for done in range(10):
            await until(lambda done=done: len(handler.seen) > done)  # type: ignore[misc]  # a loop variable, bound
            assert len(handler.seen) - done <= 2
            handler.acknowledge(done)

        assert await peer.answers(10) == [ack(b"x" * 6_000)] * 10


@on_both_loops
async def test_all_connections_together_are_held_back_by_their_bytes() -> None:
    handler = Holding()
    async with serving(handler, brief(held_bytes_max=10_000)) as stand:
        first, second = await stand.connect(), await stand.connect()
        first.frame(b"x" * 12_000)
        await until(lambda: len(handler.seen) == 1)
        second.frame(b"MSH|2")
        probe = await stand.connect()
        probe.writer.transport.abort()
        await until(lambda: stand.server.stats.connections_open == 2)
        assert len(handler.seen) == 1, "the second is not read while the first fills the bound"

        handler.acknowledge(0)
        await first.answers(1)
        await until(lambda: len(handler.seen) == 2)
        handler.acknowledge(1)
        assert await second.answers(1) == [ack(b"MSH|2")]


@on_both_loops
async def test_a_sender_that_does_not_read_is_not_read_and_then_ended() -> None:
    handler = Immediate()
    limits = brief(write_buffer_bytes_max=1_000, write_stalled_timeout_s=BRIEF_S)
    async with serving(handler, limits) as stand:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", stand.port))
        frames = encode_frame(b"x" * 100_000)
        closed = stand.server.stats.connections_closed
        try:
            while not closed:
                try:
                    sock.send(frames)
                except OSError:
                    await asyncio.sleep(0.001)
        finally:
            sock.close()

        assert closed == {CloseReason.WRITE_STALLED: 1}


@on_both_loops
async def test_an_unanswerable_message_ends_the_connection_after_the_answers_before_it() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|1", b"MSH|2", b"MSH|3")
        await until(lambda: len(handler.seen) == 3)
        handler.acknowledge(2)
        handler.answers[1](None)
        await asyncio.sleep(0)
        handler.acknowledge(0)

        assert await peer.rest() == encode_frame(ack(b"MSH|1"))
        await until(lambda: not stand.server.stats.connections_open)
        assert stand.server.stats.connections_closed == {CloseReason.UNANSWERED: 1}
        assert (stand.server.stats.answers, stand.server.stats.answers_undelivered) == (1, 2)


@on_both_loops
async def test_an_answer_after_the_connection_is_gone_is_dropped_and_counted() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|1")
        await until(lambda: handler.seen)
        peer.reset()
        await until(lambda: not stand.server.stats.connections_open)
        handler.acknowledge(0)
        await asyncio.sleep(0)

        assert stand.server.stats.answers == 0
        assert stand.server.stats.answers_undelivered == 1


@on_both_loops
async def test_an_answer_that_echoes_framing_bytes_is_sent_without_them() -> None:
    def echo(inbound: Inbound, answer: Answer) -> None:
        answer(b"MSA|AA|" + inbound.payload + b"\r")

    async with serving(echo) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bid\x1c|\x1c\x1c\r")

        assert await peer.answers(1) == [b"MSA|AA|id\x1c|\r"]
        peer.say(b"\x0bid\x0bMS\x1c\r")
        assert await peer.answers(1) == [b"MSA|AA|id\x0bMS\r"]

    def break_off(inbound: Inbound, answer: Answer) -> None:
        answer(b"MSA|AA|id\x1c\r")

    async with serving(break_off) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|")
        assert await peer.answers(1) == [b"MSA|AA|id\r"]
        assert stand.server.stats.answers_mended == 1


@on_both_loops
async def test_a_handler_that_raises_ends_its_connection_and_no_other() -> None:
    class HandlerBugError(Exception):
        pass

    def handler(inbound: Inbound, answer: Answer) -> None:
        if inbound.payload == b"bad":
            raise HandlerBugError
        answer(ack(inbound.payload))

    heard = Listening()
    async with serving(handler, observer=heard) as stand:
        other, peer = await stand.connect(), await stand.connect()
        peer.frame(b"good", b"bad", b"good")

        assert await peer.rest() == encode_frame(ack(b"good"))
        other.frame(b"good")
        assert await other.answers(1) == [ack(b"good")]
        assert [type(what) for kind, what in heard.heard if kind == "failed"] == [HandlerBugError]
        peer.writer.close()
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.HANDLER_FAILED: 1})


# Framing, as far as the server decides


@on_both_loops
async def test_a_frame_ended_by_a_bare_end_byte_is_answered_after_a_grace() -> None:
    handler = Immediate()
    async with serving(handler, brief(end_grace_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        for number in range(3):
            peer.say(b"\x0bMSH|%d\r\x1c" % number)
            assert await peer.answers(1) == [ack(b"MSH|%d\r" % number)]
        peer.say(b"\r")
        peer.frame(b"MSH|3")
        assert await peer.answers(1) == [ack(b"MSH|3")]

        assert stand.server.stats.anomalies == {Anomaly.MISSING_CR: 3}
        assert stand.server.stats.junk_bytes == 0


@on_both_loops
async def test_a_bare_end_byte_needs_no_grace_when_the_sender_goes_on_or_has_ended() -> None:
    async with serving(Immediate(), brief()) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|1\x1c\x0bMSH|2\x1c\x0bMSH|3")
        assert await peer.answers(2) == [ack(b"MSH|1"), ack(b"MSH|2")]
        peer.say(b"\x1c")
        peer.writer.write_eof()
        assert await peer.answers(1) == [ack(b"MSH|3")]
        assert await peer.rest() == b""


@on_both_loops
async def test_the_last_byte_may_come_late_but_within_the_grace() -> None:
    async with serving(Immediate(), brief()) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|1\x1c")
        await until(lambda: any(c._grace for c in stand.server._context.connections.values()))
        peer.say(b"\r")

        assert await peer.answers(1) == [ack(b"MSH|1")]
        assert not stand.server.stats.anomalies


@on_both_loops
async def test_a_message_begun_again_is_handed_on_as_truncated_and_only_the_second_is_answered() -> None:
    handler = Immediate()
    heard = Listening()
    async with serving(handler, observer=heard) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|1\rPID|\x0bMSH|1\rPID|1\x1c\r")

        assert await peer.answers(1) == [ack(b"MSH|1\rPID|1")]
        assert [(inbound.payload, inbound.truncated) for inbound in handler.seen] == [
            (b"MSH|1\rPID|", True),
            (b"MSH|1\rPID|1", False),
        ]
        assert stand.server.stats.faults == {FramingFault.TRUNCATED: 1}
        assert stand.server.stats.frames == 1
        assert ("framing", FramingFault.TRUNCATED) in heard.heard


@on_both_loops
async def test_a_truncated_message_that_is_not_durable_yet_holds_the_answers_behind_it() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|1\x0bMSH|2\x1c\r")
        await until(lambda: len(handler.seen) == 2)
        handler.acknowledge(1)
        await asyncio.sleep(0)
        assert stand.server.stats.answers == 0
        handler.answers[0](None)  # whatever it is answered is not sent and ends nothing

        assert await peer.answers(1) == [ack(b"MSH|2")]


@on_both_loops
async def test_a_frame_too_large_is_refused_and_the_sender_can_read_the_answer_though_it_still_sends() -> None:
    handler = Immediate()
    async with serving(handler, brief(frame_bytes_max=10_000)) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|before")
        peer.say(b"\x0b" + MESSAGE + b"x" * 3_000_000)
        peer.say(b"\x1c\r" + encode_frame(b"MSH|after"))

        before, refusal = await peer.answers(2)
        assert before == ack(b"MSH|before")
        assert refusal.startswith(ack(MESSAGE))
        assert await peer.rest() == b""
        assert [inbound.oversized for inbound in handler.seen] == [False, True]
        peer.writer.close()
        await until(lambda: not stand.server.stats.connections_open)
        assert stand.server.stats.connections_closed == {CloseReason.FRAME_TOO_LARGE: 1}
        assert stand.server.stats.faults == {FramingFault.OVERSIZED: 1}


@on_both_loops
async def test_a_peer_that_sends_for_ever_after_its_refusal_is_ended() -> None:
    async with serving(Immediate(), brief(frame_bytes_max=100, linger_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        peer.say(b"\x0b" + b"x" * 200)
        await peer.answers(1)
        while stand.server.stats.connections_open:
            if not peer.writer.transport.is_closing():
                peer.say(b"x" * 1_000)
            await asyncio.sleep(0.001)

        assert stand.server.stats.connections_closed == {CloseReason.FRAME_TOO_LARGE: 1}


@on_both_loops
async def test_junk_is_dropped_and_counted_and_ends_the_connection_at_its_limit() -> None:
    heard = Listening()
    async with serving(Immediate(), brief(junk_bytes_max=100), heard) as stand:
        peer = await stand.connect()
        peer.say(b"noise")
        peer.frame(b"MSH|1")
        assert await peer.answers(1) == [ack(b"MSH|1")]
        peer.frame(b"MSH|2")
        peer.say(b"x" * 101)
        peer.frame(b"MSH|3")

        assert await peer.answers(1) == [ack(b"MSH|2")]
        assert await peer.rest() == b""
        assert stand.server.stats.junk_bytes == 5 + 101
        assert [what for kind, what in heard.heard if kind == "junk"] == [5, 101]
        peer.writer.close()
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.JUNK_LIMIT: 1})


@on_both_loops
async def test_other_protocols_are_ended_at_once_with_their_name_and_without_an_answer() -> None:
    talks = {
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n": CloseReason.TALKS_HTTP,
        b"\x16\x03\x01\x02\x00\x01\x00": CloseReason.TALKS_TLS,
        b'{"resourceType": "Patient"}': CloseReason.TALKS_JSON,
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>': CloseReason.TALKS_XML,
    }
    handler = Immediate()
    async with serving(handler, brief()) as stand:
        for talk, reason in talks.items():
            peer = await stand.connect()
            peer.say(talk)
            assert await peer.rest() == b""
            await until(lambda reason=reason: stand.server.stats.connections_closed[reason] == 1)  # type: ignore[misc]  # a loop variable, bound

        assert handler.seen == []
        assert stand.server.stats.junk_bytes == sum(map(len, talks))


# Time


@on_both_loops
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
            if stand.server._context.connections[2]._finishing is not None:
                slow.writer.close()
                await until(lambda: stand.server.stats.connections_closed)

        assert stand.server.stats.connections_closed == {CloseReason.HEADER_TIMEOUT: 1}
        good.frame(MESSAGE)
        assert await good.answers(1) == [ack(MESSAGE)]


@on_both_loops
async def test_a_frame_that_does_not_end_in_time_is_given_up_after_the_answers_owed() -> None:
    handler = Holding()
    async with serving(handler, brief(frame_timeout_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|1")
        peer.say(b"\x0b" + b"x" * 1_000)
        await until(lambda: handler.seen)
        await until(lambda: stand.server._context.connections[1]._finishing)
        handler.acknowledge(0)

        assert await peer.rest() == encode_frame(ack(b"MSH|1"))
        peer.writer.close()
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.FRAME_TIMEOUT: 1})


@on_both_loops
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


@on_both_loops
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


@on_both_loops
async def test_a_peer_that_does_not_close_its_side_is_cut() -> None:
    async with serving(Immediate(), brief(frame_timeout_s=BRIEF_S, linger_s=BRIEF_S)) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|")
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.FRAME_TIMEOUT: 1})
        assert await peer.rest() == b""


# Ends


@on_both_loops
async def test_a_sender_that_has_said_all_still_gets_its_answers() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.frame(b"MSH|1", b"MSH|2")
        peer.writer.write_eof()
        await until(lambda: len(handler.seen) == 2)
        handler.acknowledge(0)
        assert await peer.answers(1) == [ack(b"MSH|1")]
        handler.acknowledge(1)
        assert await peer.rest() == encode_frame(ack(b"MSH|2"))
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.PEER_CLOSED: 1})


@on_both_loops
async def test_a_frame_cut_off_by_the_network_is_discarded_and_counted() -> None:
    handler = Immediate()
    async with serving(handler) as stand:
        cut, reset = await stand.connect(), await stand.connect()
        cut.say(b"\x0bMSH|1\rPID")
        reset.say(b"\x0bMSH|1\rPID")
        await until(lambda: all(c._decoder.inside_frame for c in stand.server._context.connections.values()))
        cut.writer.close()
        reset.reset()
        await until(lambda: not stand.server.stats.connections_open)

        assert handler.seen == []
        assert stand.server.stats.faults == {FramingFault.CUT_OFF: 2}
        assert set(stand.server.stats.connections_closed) == {CloseReason.PEER_CLOSED, CloseReason.CONNECTION_LOST}


# The door


@on_both_loops
async def test_one_connection_too_many_is_refused_and_counted_until_another_leaves() -> None:
    heard = Listening()
    async with serving(Immediate(), ServerLimits(connections_max=2), heard) as stand:
        first, second = await stand.connect(), await stand.connect()
        await until(lambda: stand.server.stats.connections_open == 2)
        third = await stand.connect()
        assert await third.rest() == b""
        second.frame(b"MSH|1")
        assert await second.answers(1) == [ack(b"MSH|1")]
        assert ("refused", RefuseReason.CONNECTIONS_MAX) in heard.heard

        first.writer.close()
        await until(lambda: stand.server.stats.connections_open == 1)
        fourth = await stand.connect()
        fourth.frame(b"MSH|4")
        assert await fourth.answers(1) == [ack(b"MSH|4")]
        assert stand.server.stats.connections_refused == {RefuseReason.CONNECTIONS_MAX: 1}
        assert stand.server.stats.connections_accepted == 3


@on_both_loops
async def test_a_paused_server_refuses_at_the_door_and_serves_inside() -> None:
    async with serving(Immediate()) as stand:
        inside = await stand.connect()
        await until(lambda: stand.server.stats.connections_open)
        stand.server.pause_accepting()
        outside = await stand.connect()
        assert await outside.rest() == b""
        inside.frame(b"MSH|1")
        assert await inside.answers(1) == [ack(b"MSH|1")]

        stand.server.resume_accepting()
        late = await stand.connect()
        late.frame(b"MSH|2")
        assert await late.answers(1) == [ack(b"MSH|2")]
        assert stand.server.stats.connections_refused == {RefuseReason.PAUSED: 1}


@on_both_loops
async def test_accepted_sockets_send_at_once_and_probe_silent_peers() -> None:
    async with serving(Immediate()) as stand:
        await stand.connect()
        await until(lambda: stand.server.stats.connections_open)
        (connection,) = stand.server._context.connections.values()
        sock = connection._transport.get_extra_info("socket")

        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_S


# Draining


@on_both_loops
async def test_draining_answers_what_is_in_flight_takes_nothing_new_and_ends_in_order() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        busy, idle = await stand.connect(), await stand.connect()
        busy.frame(b"MSH|1")
        await until(lambda: handler.seen)
        draining = asyncio.create_task(stand.server.drain())
        assert await idle.rest() == b""
        busy.frame(b"MSH|2")
        await until(lambda: stand.server._context.connections[1]._more_expected)
        handler.acknowledge(0)

        assert await busy.rest() == encode_frame(ack(b"MSH|1"))
        busy.writer.close()
        assert await draining
        assert [inbound.payload for inbound in handler.seen] == [b"MSH|1"]
        assert stand.server.stats.connections_closed == {CloseReason.DRAINED: 2}
        stand.server.resume_accepting()
        assert stand.server._context.refusing is RefuseReason.DRAINING


@on_both_loops
async def test_draining_ends_in_time_with_peers_that_hang_and_a_handler_that_never_answers() -> None:
    handler = Holding()
    async with serving(handler, brief()) as stand:
        owed, midway = await stand.connect(), await stand.connect()
        owed.frame(b"MSH|1")
        midway.say(b"\x0bMSH|")
        await until(lambda: handler.seen and stand.server._context.connections[2]._decoder.inside_frame)

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


# An independent client


@on_both_loops
async def test_the_client_of_python_hl7_sends_and_is_answered() -> None:
    answers: list[bytes] = []

    def converse(port: int) -> None:
        with hl7.client.MLLPClient("127.0.0.1", port) as client:
            answers.extend(client.send_message(MESSAGE + b"%d" % number) for number in range(20))

    async with serving(Immediate()) as stand:
        thread = threading.Thread(target=converse, args=(stand.port,))
        thread.start()
        await until(lambda: not thread.is_alive())

        assert answers == [encode_frame(ack(MESSAGE + b"%d" % number)) for number in range(20)]
