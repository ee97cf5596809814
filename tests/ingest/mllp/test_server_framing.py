"""What the listener does about unusual frames, junk and other protocols, over real sockets."""

import asyncio

from services.ingest.mllp.frame import Anomaly, encode_frame
from services.ingest.mllp.observation import CloseReason, FramingFault
from tests.ingest.mllp.peers import (
    BRIEF_S,
    MESSAGE,
    Holding,
    Immediate,
    Listening,
    ack,
    brief,
    on_every_wire,
    serving,
    until,
)

# Framing, as far as the server decides


@on_every_wire
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


@on_every_wire
async def test_a_bare_end_byte_needs_no_grace_when_the_sender_goes_on_or_has_ended() -> None:
    async with serving(Immediate(), brief()) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|1\x1c\x0bMSH|2\x1c\x0bMSH|3")
        assert await peer.answers(2) == [ack(b"MSH|1"), ack(b"MSH|2")]
        peer.say(b"\x1c")
        peer.end()
        assert await peer.answers(1) == [ack(b"MSH|3")]
        assert await peer.rest() == b""


@on_every_wire
async def test_the_last_byte_may_come_late_but_within_the_grace() -> None:
    async with serving(Immediate(), brief()) as stand:
        peer = await stand.connect()
        peer.say(b"\x0bMSH|1\x1c")
        await until(lambda: any(c._grace for c in stand.connections()))
        peer.say(b"\r")

        assert await peer.answers(1) == [ack(b"MSH|1")]
        assert not stand.server.stats.anomalies


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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


@on_every_wire
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
