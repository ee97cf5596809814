import asyncio
import json
import signal
import socket
from typing import Any

import pytest
from fastapi import FastAPI

from services.runtime.http_server import HttpServer


@pytest.fixture
def listening() -> Any:
    listener = socket.create_server(("127.0.0.1", 0))
    yield listener
    listener.close()


async def request(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_serves_on_the_socket_it_is_given_until_it_is_stopped(app: FastAPI, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    server = HttpServer(app, listening)
    serving = asyncio.create_task(server.serve())
    answer = await request(port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(answer.rpartition(b"\r\n")[2]) == {"status": "ok"}
    assert b"uvicorn" not in answer.lower()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    server.stop()
    await asyncio.wait_for(serving, 10)
    with pytest.raises(ConnectionRefusedError):
        await request(port, b"")


async def test_bytes_that_are_not_http_do_it_no_harm(app: FastAPI, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    server = HttpServer(app, listening)
    serving = asyncio.create_task(server.serve())
    assert (await request(port, b"\x0bMSH|^~\\&|\x1c\r\r\n\r\n")).startswith(b"HTTP/1.1 400")
    answer = await request(port, b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 200")
    server.stop()
    await asyncio.wait_for(serving, 10)
