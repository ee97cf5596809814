"""The listener over real sockets on loopback, under asyncio and uvloop alike: answers, back-pressure and the door."""

import asyncio
import random
import socket
import threading
from typing import cast

import hl7.client

from services.ingest.mllp.frame import encode_frame
from services.ingest.mllp.inbound import Answer, Inbound
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, RefuseReason
from services.ingest.mllp.server import KEEPALIVE_IDLE_S
from tests.ingest.mllp.peers import (
    BRIEF_S,
    MESSAGE,
    Holding,
    Immediate,
    Listening,
    ack,
    brief,
    on_both_loops,
    on_every_wire,
    serving,
    until,
)

# Answers


@on_every_wire
async def test_a_message_is_answered_and_described() -> None:
    handler = Immediate()
    async with serving(handler) as stand:
        peer = await stand.connect()
        peer.frame(MESSAGE)

        assert await peer.answers(1) == [ack(MESSAGE)]
        host, port = peer.writer.get_extra_info("sockname")
        (seen,) = handler.seen
        assert seen == Inbound(payload=MESSAGE, peer=f"{host}:{port}", connection_id=1, identity=seen.identity)


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


@on_every_wire
async def test_a_thousand_empty_frames_in_one_write_are_answered() -> None:
    async with serving(Immediate()) as stand:
        peer = await stand.connect()
        peer.frame(*[b""] * 1_000)

        assert await peer.answers(1_000) == [ack(b"")] * 1_000


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


# The door


@on_every_wire
async def test_one_connection_too_many_is_refused_and_counted_until_another_leaves() -> None:
    heard = Listening()
    async with serving(Immediate(), ServerLimits(connections_max=2), heard) as stand:
        first, second = await stand.connect(), await stand.connect()
        await until(lambda: stand.server.stats.connections_open == 2)
        third = await stand.reach()
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


@on_every_wire
async def test_a_paused_server_refuses_at_the_door_and_serves_inside() -> None:
    async with serving(Immediate()) as stand:
        inside = await stand.connect()
        await until(lambda: stand.server.stats.connections_open)
        stand.server.pause_accepting()
        outside = await stand.reach()
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
        sock = cast("asyncio.Transport", stand.connection(1)._wire).get_extra_info("socket")

        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_S


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
