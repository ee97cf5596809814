"""The client against our server and against peers that misbehave."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from services.ingest.mllp.client import MllpClient, MllpClientError, client_context
from services.ingest.mllp.frame import FramingError, encode_frame
from tests.ingest.mllp.peers import Holding, Immediate, ack, on_both_loops, server_tls, serving, until
from tests.support.certificates import SERVER, authority, issue

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def misbehaving(talk: Talk) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@on_both_loops
async def test_a_message_is_answered() -> None:
    async with serving(Immediate()) as stand, await MllpClient.connect("127.0.0.1", stand.port) as client:
        assert await client.send(b"MSH|1") == ack(b"MSH|1")
        assert await client.send(b"MSH|2") == ack(b"MSH|2")


@on_both_loops
async def test_many_messages_are_answered_in_order_with_no_more_under_way_than_the_window() -> None:
    handler = Holding()
    payloads = [b"MSH|%d" % number for number in range(50)]

    async def acknowledge() -> int:
        most = 0
        for index in range(50):
            await until(lambda index=index: len(handler.seen) > index)  # type: ignore[misc]  # a loop variable, bound
            most = max(most, len(handler.seen) - index)
            handler.acknowledge(index)
        return most

    async with serving(handler) as stand, await MllpClient.connect("127.0.0.1", stand.port) as client:
        acknowledging = asyncio.create_task(acknowledge())
        answers = [answer async for answer in client.send_many(payloads, window=4)]

    assert answers == [ack(payload) for payload in payloads]
    assert await acknowledging <= 4


@on_both_loops
async def test_a_client_can_be_used_again_after_many_and_many_may_be_none() -> None:
    async with serving(Immediate()) as stand, await MllpClient.connect("127.0.0.1", stand.port) as client:
        assert [answer async for answer in client.send_many([])] == []
        assert len([answer async for answer in client.send_many([b"MSH|1"] * 300)]) == 300
        assert await client.send(b"MSH|2") == ack(b"MSH|2")


@on_both_loops
async def test_payloads_are_taken_only_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"MSH|"

    async with serving(Immediate()) as stand:
        client = await MllpClient.connect("127.0.0.1", stand.port)
        async with contextlib.aclosing(client.send_many(endless(), window=4)) as answers:
            assert await anext(answers) == ack(b"MSH|")
        assert taken == 4

        with pytest.raises(MllpClientError, match="connect again"):
            await client.send(b"MSH|1")
        await client.close()


@on_both_loops
async def test_a_payload_that_cannot_be_framed_is_refused_before_anything_is_sent() -> None:
    async with serving(Immediate()) as stand, await MllpClient.connect("127.0.0.1", stand.port) as client:
        with pytest.raises(FramingError):
            await client.send(b"a\x1c\rb")
        assert await client.send(b"MSH|1") == ack(b"MSH|1")


@on_both_loops
async def test_nobody_listening_is_said_plainly() -> None:
    async with misbehaving(_silent) as port:
        pass

    with pytest.raises(MllpClientError, match=f"cannot connect to 127.0.0.1:{port} .* check that the listener runs"):
        await MllpClient.connect("127.0.0.1", port)


@on_both_loops
async def test_a_connection_that_is_not_taken_in_time_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_accepting:
        port = never_accepting.getsockname()[1]
        with pytest.raises(MllpClientError, match="did not take the connection within 0 s: check address"):
            await MllpClient.connect("127.0.0.1", port, connect_timeout_s=0.0)


@on_both_loops
async def test_answers_that_came_before_the_end_are_given_before_the_end_is_told() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        client = await MllpClient.connect("127.0.0.1", stand.port)
        async with contextlib.aclosing(client.send_many([b"MSH|1", b"MSH|2", b"MSH|3"])) as answers:
            waiting = asyncio.ensure_future(anext(answers))
            await until(lambda: len(handler.seen) == 3)
            handler.acknowledge(0)
            handler.acknowledge(1)
            handler.answers[2](None)
            assert await waiting == ack(b"MSH|1")
            await client._protocol.closed.wait()
            assert await anext(answers) == ack(b"MSH|2")
            with pytest.raises(MllpClientError, match="before the answer"):
                await anext(answers)


@on_both_loops
async def test_an_answer_that_does_not_come_in_time_ends_the_client() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        client = await MllpClient.connect("127.0.0.1", stand.port, answer_timeout_s=0.05)
        with pytest.raises(MllpClientError, match=r"no answer within 0\.05 s: .* send it again"):
            await client.send(b"MSH|1")
        with pytest.raises(MllpClientError):
            await client.send(b"MSH|2")
        assert len(handler.seen) == 1
        handler.acknowledge(0)


@on_both_loops
async def test_a_caller_that_stops_waiting_ends_the_client_so_that_no_answer_is_taken_for_another() -> None:
    handler = Holding()
    async with serving(handler) as stand:
        client = await MllpClient.connect("127.0.0.1", stand.port)
        sending = asyncio.create_task(client.send(b"MSH|1"))
        await until(lambda: handler.seen)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        handler.acknowledge(0)

        with pytest.raises(MllpClientError, match="the caller stopped"):
            await client.send(b"MSH|2")


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


async def _answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(encode_frame(b"MSA|AA|1") * 2)
    await reader.read()


async def _talk_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 5_000)
    await reader.read()


@pytest.mark.parametrize(
    ("talk", "what"),
    [
        (_hang_up, "before the answer: the message is not acknowledged; send it again"),
        (_reset, "before the answer: the message is not acknowledged; send it again"),
        (_answer_twice, "out of step; connect again"),
        (_talk_http, "not MLLP: check that the address is an MLLP listener"),
    ],
)
async def test_a_peer_that_misbehaves_is_named_with_what_to_do(talk: Talk, what: str) -> None:
    async with misbehaving(talk) as port, await MllpClient.connect("127.0.0.1", port) as client:
        with pytest.raises(MllpClientError, match=what) as failure:
            await client.send(b"MSH|1")
        assert str(failure.value).startswith(f"127.0.0.1:{port}: ")


async def test_noise_around_an_answer_is_no_error() -> None:
    async def noisy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"noise\r\n" + encode_frame(b"MSA|AA|1") + b"\n")
        await reader.read()

    async with misbehaving(noisy) as port, await MllpClient.connect("127.0.0.1", port) as client:
        assert await client.send(b"MSH|1") == b"MSA|AA|1"


async def test_closing_twice_is_closing_once() -> None:
    async with serving(Immediate()) as stand:
        client = await MllpClient.connect("127.0.0.1", stand.port)
        await client.close()
        await client.close()
        with pytest.raises(MllpClientError):
            await client.send(b"MSH|1")


# TLS


@on_both_loops
async def test_a_client_shows_its_certificate_and_looks_at_the_listeners() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ca, both, strangers = (Path(folder) / name for name in ("ca.pem", "sender.pem", "strangers.pem"))
        ca.write_bytes(authority("ours").cert_pem.bytes())
        strangers.write_bytes(authority("strangers").cert_pem.bytes())
        issue("sender.test").private_key_and_cert_chain_pem.write_to_path(str(both))
        known, unknown = client_context(ca, certificate=both), client_context(ca)
        distrustful = client_context(strangers, certificate=both)
        ours = client_context(None)
    handler = Immediate()
    async with serving(handler, tls=server_tls()) as stand:

        async def connect(tls: ssl.SSLContext, name: str | None = SERVER) -> MllpClient:
            return await MllpClient.connect("127.0.0.1", stand.port, tls=tls, tls_name=name)

        async with await connect(known) as client:
            assert [answer async for answer in client.send_many([b"MSH|1", b"MSH|2"])] == [ack(b"MSH|1"), ack(b"MSH|2")]
        with pytest.raises(MllpClientError, match="is not to be trusted"):
            await connect(distrustful)
        with pytest.raises(MllpClientError, match="is not to be trusted"):
            await connect(ours)
        with pytest.raises(MllpClientError, match=r"not to be trusted .*127\.0\.0\.1"):
            await connect(known, None)
        client = await connect(unknown)
        with pytest.raises(MllpClientError, match="refused our certificate or our TLS"):
            await client.send(b"MSH|3")
        assert [one.payload for one in handler.seen] == [b"MSH|1", b"MSH|2"]


@on_both_loops
async def test_a_port_that_speaks_no_tls_and_one_that_speaks_nothing_else_are_told_apart() -> None:
    async with serving(Immediate()) as stand:
        with pytest.raises(MllpClientError, match="check that"):
            await MllpClient.connect("127.0.0.1", stand.port, tls=client_context(None))
    async with serving(Immediate(), tls=server_tls()) as stand:
        client = await MllpClient.connect("127.0.0.1", stand.port)
        with pytest.raises(MllpClientError, match="before the answer"):
            await client.send(b"MSH|1")
