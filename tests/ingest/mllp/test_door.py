"""Who is let in at the server's door and how much of it one address may have, on both loops."""

import asyncio
import time
from ipaddress import ip_network
from typing import Any

import pytest

from services.ingest.mllp.frame import encode_frame
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, RefuseReason
from services.ingest.mllp.server import MllpServer
from tests.ingest.mllp.peers import (
    BRIEF_S,
    MESSAGE,
    Holding,
    Immediate,
    Listening,
    Peer,
    ack,
    brief,
    on_both_loops,
    on_every_wire,
    serving,
    until,
)


async def pause(seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    await until(lambda: asyncio.get_running_loop().time() > end)


@on_both_loops
async def test_an_address_that_is_not_listed_is_refused_before_it_says_anything() -> None:
    heard = Listening()
    async with serving(Immediate(), observer=heard, allowed=(ip_network("127.0.0.2"),)) as stand:
        outside = await stand.reach(host="127.0.0.3")
        assert await outside.rest() == b""
        inside = await stand.reach(host="127.0.0.2")
        inside.frame(MESSAGE)
        assert await inside.answers(1) == [ack(MESSAGE)]
        assert stand.server.stats.connections_refused == {RefuseReason.ADDRESS_NOT_ALLOWED: 1}
        assert ("refused", RefuseReason.ADDRESS_NOT_ALLOWED) in heard.heard


@on_every_wire
async def test_one_address_cannot_take_every_place() -> None:
    async with serving(Immediate(), brief(connections_per_peer_max=2, connections_max=10)) as stand:
        for host in ("127.0.0.2", "127.0.0.3"):
            first = await stand.reach(host=host)
            await stand.reach(host=host)
            assert await (await stand.reach(host=host)).rest() == b""
            first.writer.close()
        await until(lambda: stand.server.stats.connections_open == 2)
        await stand.reach(host="127.0.0.2")
        await until(lambda: stand.server.stats.connections_open == 3)
        assert stand.server.stats.connections_refused == {RefuseReason.PEER_CONNECTIONS_MAX: 2}


@on_every_wire
async def test_who_has_sent_a_message_keeps_its_place_and_who_has_not_gives_way() -> None:
    limits: dict[str, Any] = {"connections_max": 3, "unproven_grace_s": BRIEF_S}
    async with serving(Immediate(), brief(**limits)) as stand:
        good = await stand.connect()
        good.frame(MESSAGE)
        await good.answers(1)
        silent, slow = await stand.connect(), await stand.connect()
        slow.say(b"\x0bMSH")
        await until(lambda: len(stand.connections()) == 3)
        await pause(2 * BRIEF_S)
        newcomer = await stand.connect(host="127.0.0.2")
        newcomer.frame(MESSAGE)
        assert await newcomer.answers(1) == [ack(MESSAGE)]
        assert await silent.rest() == b""
        another = await stand.connect(host="127.0.0.3")
        another.frame(MESSAGE)
        assert await another.answers(1) == [ack(MESSAGE)]
        assert await slow.rest() == b""
        assert stand.server.stats.connections_closed == {CloseReason.DISPLACED: 2}

        await pause(2 * BRIEF_S)
        assert await (await stand.reach()).rest() == b""
        assert stand.server.stats.connections_refused == {RefuseReason.CONNECTIONS_MAX: 1}
        for peer in (good, newcomer, another):
            peer.frame(MESSAGE)
            assert await peer.answers(1) == [ack(MESSAGE)]


@on_every_wire
async def test_who_has_sent_before_comes_back_at_once_though_every_place_is_taken() -> None:
    limits: dict[str, Any] = {"connections_max": 2, "handshakes_max": 2}
    async with serving(Immediate(), brief(**limits, unproven_grace_s=3_600.0)) as stand:
        good = await stand.connect(host="127.0.0.2")
        good.frame(MESSAGE)
        await good.answers(1)
        good.writer.close()
        await until(lambda: not stand.server.stats.connections_open)
        for _ in range(2):
            await stand.reach(host="127.0.0.3")
        await until(lambda: stand.server.stats.connections_open == 2)
        assert await (await stand.reach(host="127.0.0.4")).rest() == b""
        good = await stand.connect(host="127.0.0.2")
        good.frame(MESSAGE)
        assert await good.answers(1) == [ack(MESSAGE)]
        await until(lambda: stand.server.stats.connections_closed[CloseReason.DISPLACED] == 1)


@on_every_wire
async def test_a_sender_over_its_rate_is_not_read_for_a_while_and_loses_nothing() -> None:
    handler = Immediate()
    payloads = [b"MSH|%d" % number for number in range(120)]
    async with serving(handler, brief(messages_per_peer_s=100.0, frame_timeout_s=0.1)) as stand:
        peer, other = await stand.connect(), await stand.connect()
        start = time.monotonic()
        peer.frame(*payloads[:60])
        other.frame(*payloads[60:])
        half = encode_frame(payloads[0])
        assert sorted(await peer.answers(60) + await other.answers(60)) == sorted(map(ack, payloads))
        assert stand.server.stats.throttled == 0, "a burst of two seconds is free"
        peer.say(b"".join(map(encode_frame, payloads[:60])) + half[:3])
        assert await peer.answers(60) == [ack(payload) for payload in payloads[:60]]
        assert stand.server.stats.throttled == 0
        peer.say(half[3:] + b"".join(map(encode_frame, payloads[:50])))
        assert await peer.answers(51) == [ack(payload) for payload in [payloads[0], *payloads[:50]]]
        assert time.monotonic() - start >= (120 + 60 + 51 - 200) / 100 - 0.01
        assert stand.server.stats.throttled >= 1
        assert not stand.server.stats.connections_closed


@on_both_loops
async def test_the_rate_is_of_the_address_and_not_of_the_connection() -> None:
    async with serving(Immediate(), brief(messages_per_peer_s=1.0)) as stand:
        for _ in range(2):
            peer = await stand.reach(host="127.0.0.2")
            peer.frame(b"MSH|1")
            await peer.answers(1)
            peer.writer.close()
        await until(lambda: not stand.server.stats.connections_open)
        held = await stand.reach(host="127.0.0.2")
        held.frame(b"MSH|1")
        await until(lambda: stand.server.stats.throttled == 1)
        free = await stand.reach(host="127.0.0.3")
        free.frame(b"MSH|1")
        assert await free.answers(1) == [ack(b"MSH|1")]
        assert await held.answers(1) == [ack(b"MSH|1")]


@on_both_loops
async def test_a_connection_that_is_held_back_can_be_cut_and_drained() -> None:
    handler = Holding()
    async with serving(handler, brief(messages_per_peer_s=1.0)) as stand:
        cut, drained = await stand.connect(), await stand.connect()
        for peer in (cut, drained):
            peer.frame(*[b"MSH|1"] * 3)
        await until(lambda: stand.server.stats.throttled == 2)
        cut.reset()
        for index in range(len(handler.answers)):
            handler.acknowledge(index)
        await until(lambda: stand.server.stats.connections_open == 1)
        drained.writer.close()
        assert await stand.server.drain()


@on_both_loops
async def test_a_listener_of_a_name_or_of_ipv6_listens_there_on_one_port() -> None:
    for host, address in (("localhost", "127.0.0.1"), ("::1", "::1"), ("127.0.0.9", "127.0.0.9")):
        handler = Immediate()
        server = MllpServer(handler, limits=ServerLimits())
        port = await server.start(host)
        peer = Peer(*await asyncio.open_connection(address, port))
        peer.frame(MESSAGE)
        assert await peer.answers(1) == [ack(MESSAGE)]
        expected = "[::1]" if ":" in address else "127.0.0.1" if address == "127.0.0.1" else address
        assert handler.seen[0].peer.rpartition(":")[0] in {expected, "127.0.0.1"}
        peer.writer.close()
        assert await server.drain()


@on_both_loops
async def test_a_taken_port_leaves_no_socket_behind() -> None:
    async with serving(Immediate()) as stand:
        second = MllpServer(Immediate())
        with pytest.raises(OSError, match="in use"):
            await second.start("127.0.0.1", stand.port)
        assert await second.drain()
