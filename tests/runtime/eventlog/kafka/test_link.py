"""Goal: whatever comes over the connection, a request is answered once or its connection is over."""

import asyncio
import struct
from collections.abc import AsyncIterator
from functools import partial
from types import SimpleNamespace

import pytest

from services.runtime.eventlog.kafka.link import BrokerLink
from services.runtime.eventlog.kafka.wire import Batches, PartitionAnswer, pack_produce, unpack_produced
from tests.runtime.eventlog.kafka.support import until


def response(correlation_id: int, partitions: int = 2) -> bytes:
    answers = b"".join(struct.pack(">ihqqq", number, number, 100 + number, -1, 0) for number in range(partitions))
    frame = struct.pack(">iih", correlation_id, 1, 5) + b"topic" + struct.pack(">i", partitions) + answers
    frame += struct.pack(">i", 0)
    return struct.pack(">i", len(frame)) + frame


ANSWERS = [PartitionAnswer("topic", 0, 0, 100), PartitionAnswer("topic", 1, 1, 101)]


class Heard:
    def __init__(self) -> None:
        self.answers: list[list[PartitionAnswer]] = []
        self.reasons: list[str] = []

    def has(self, number: int) -> bool:
        return len(self.answers) == number

    def heard(self, answers: list[PartitionAnswer]) -> None:
        self.answers.append(answers)

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


class Peer:
    """A broker's end of one connection, and our link on the other."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.link: BrokerLink
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self, timeout_ms: int = 20_000) -> "Peer":
        accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.get_running_loop().create_future()
        )
        server = await asyncio.start_server(lambda *ends: accepted.set_result(ends), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        self.reader, self.writer = await accepted
        server.close()
        read_task = asyncio.create_task(reader.read())
        await asyncio.sleep(0)
        connection = SimpleNamespace(_versions={0: (3, 13)}, _read_task=read_task, _writer=writer, _reader=reader)
        self.link = BrokerLink(connection, self.heard, client_id="test", timeout_ms=timeout_ms)
        return self

    async def close(self) -> None:
        self.link.close()
        self.writer.close()
        await asyncio.wait([asyncio.create_task(self.writer.wait_closed())])


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    opened = await Peer().open()
    yield opened
    await opened.close()


async def asked(peer: Peer) -> bytes:
    size = await peer.reader.readexactly(4)
    return await peer.reader.readexactly(struct.unpack(">i", size)[0])


BATCHES: Batches = {"topic": [(0, b"batch of 0"), (1, bytearray(b"batch of 1"))]}


async def test_requests_are_answered_in_turn_however_the_bytes_are_cut(peer: Peer) -> None:
    for turn in range(1, 4):
        peer.link.send(BATCHES)
        assert b"batch of 0" in await asked(peer)
        for byte in response(turn) if turn == 2 else [response(turn)]:
            peer.writer.write(bytes([byte]) if isinstance(byte, int) else byte)
            await peer.writer.drain()
        await until(partial(peer.heard.has, turn))
    assert peer.heard.answers == [ANSWERS] * 3
    assert peer.heard.reasons == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (response(7), "it answered what was not asked"),
        (struct.pack(">i", 6) + b"nosuch", "it answered with something else"),
        (response(1) + response(1), "it answered what was not asked"),
    ],
)
async def test_an_answer_that_is_none_ends_the_connection(peer: Peer, sent: bytes, reason: str) -> None:
    peer.link.send(BATCHES)
    await asked(peer)
    peer.writer.write(sent)
    await until(lambda: peer.heard.reasons)
    assert peer.heard.reasons == [reason]


async def test_a_peer_that_hangs_up_is_heard_of_once(peer: Peer) -> None:
    peer.link.send(BATCHES)
    await asked(peer)
    peer.writer.close()
    await until(lambda: peer.heard.reasons)
    assert peer.heard.reasons == ["it closed the connection"]


async def test_no_answer_in_time_ends_the_connection() -> None:
    peer = await Peer().open(timeout_ms=50)
    peer.link.send(BATCHES)
    await until(lambda: peer.heard.reasons)
    assert peer.heard.reasons == ["no answer in time"]
    assert await peer.reader.read(-1), "what was sent had left"
    await peer.close()


async def test_closing_is_nobodys_loss(peer: Peer) -> None:
    peer.link.send(BATCHES)
    peer.link.close()
    await asyncio.sleep(0.01)
    assert peer.heard.reasons == []


def test_a_request_is_packed_as_the_protocol_guide_says() -> None:
    packed = pack_produce({"t": [(3, b"xyz")]}, correlation_id=9, client_id=b"me", timeout_ms=1500)
    assert packed == (
        struct.pack(">ihhih", len(packed) - 4, 0, 7, 9, 2) + b"me"
        + struct.pack(">hhii", -1, -1, 1500, 1)
        + struct.pack(">h", 1) + b"t" + struct.pack(">iii", 1, 3, 3) + b"xyz"
    )  # fmt: skip


def test_a_response_is_read_as_the_protocol_guide_says() -> None:
    assert unpack_produced(response(9)[4:]) == (9, ANSWERS)
