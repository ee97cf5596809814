"""Senders as hospitals have them: plain sockets, and a reading of answers that shares nothing with the product's.

`Sender` says exactly the bytes it is told. `Load` sends many messages over several connections with a window of them
unanswered on each, remembers which were acknowledged, and survives whatever happens to the listener.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

Address = tuple[str, int]
START, END = b"\x0b", b"\x1c\r"
ANSWER_WITHIN_S = 15.0
"""The listener holds an answer for up to 10 s when nothing can be written."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An acknowledgement: MSA-1, MSA-2 and all of it."""

    code: str
    control_id: str
    raw: bytes


def framed(payload: bytes) -> bytes:
    """Return a message as it goes over the wire."""
    return START + payload + END


def read_answer(raw: bytes) -> Answer:
    """Read an acknowledgement by its MSA segment."""
    segments = raw.split(b"\r")
    assert segments[0].startswith(b"MSH"), raw
    (msa,) = (segment for segment in segments if segment.startswith(b"MSA"))
    fields = msa.split(msa[3:4])
    return Answer(code=fields[1].decode(), control_id=fields[2].decode(), raw=raw)


def control_id_of(payload: bytes) -> str:
    """Return MSH-10 of a message with the usual separators."""
    return payload.split(b"\r", 1)[0].split(b"|")[9].decode()


def send_each(address: Address, messages: Iterable[bytes]) -> list[Answer]:
    """Send messages on one connection, each after the answer to the one before."""
    answers = []
    with socket.create_connection(address, timeout=ANSWER_WITHIN_S) as connection:
        for message in messages:
            connection.sendall(framed(message))
            received = b""
            while not received.endswith(END):
                piece = connection.recv(65_536)
                assert piece, f"closed without an answer to {control_id_of(message)}"
                received += piece
            (answer,) = split_answers(received)
            answers.append(read_answer(answer))
    return answers


def split_answers(received: bytes) -> list[bytes]:
    """Return whole answers; anything between them is an error."""
    *frames, rest = received.split(END)
    assert not rest, received
    assert all(frame.startswith(START) for frame in frames), received
    return [frame.removeprefix(START) for frame in frames]


class Sender:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: Address) -> Self:
        """Open a connection."""
        reader, writer = await asyncio.open_connection(*address, limit=2**24)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(reader, writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.writer.transport.abort()

    async def say(self, data: bytes, *, byte_by_byte: bool = False) -> None:
        """Write bytes, each in a write of its own if asked to."""
        for piece in ([data[i : i + 1] for i in range(len(data))] if byte_by_byte else [data]):
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self) -> Answer:
        """Read the next answer."""
        async with asyncio.timeout(ANSWER_WITHIN_S):
            frame = await self._reader.readuntil(END)
        (answer,) = split_answers(frame)
        return read_answer(answer)

    async def answers(self, count: int) -> list[Answer]:
        """Read so many answers."""
        return [await self.answer() for _ in range(count)]

    async def rest(self) -> list[Answer]:
        """Read until the listener closes; return the answers before that. A reset counts as closed."""
        received = bytearray()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            with suppress(ConnectionError):
                while piece := await self._reader.read(65_536):
                    received += piece
        return [read_answer(answer) for answer in split_answers(bytes(received))]


async def exchange(address: Address, messages: Sequence[bytes]) -> list[Answer]:
    """Send all messages without waiting for an answer, read all answers meanwhile; more or fewer are an error."""
    async with await Sender.connect(address) as sender, asyncio.TaskGroup() as group:
        group.create_task(_say_all(sender, messages))
        answers = await sender.answers(len(messages))
        sender.writer.write_eof()
        assert await sender.rest() == [], "more answers than messages"
    return answers


async def _say_all(sender: Sender, messages: Sequence[bytes]) -> None:
    for message in messages:
        await sender.say(framed(message))


@dataclass(slots=True)
class Load:
    """Messages on their way over several connections, each with a window of them unanswered.

    `on_answer` hears the count of answers so far. `waiting` are those that nobody has answered, in flight or not.
    """

    waiting: deque[bytes]
    connections: int = 4
    window: int = 16
    on_answer: Callable[[int], object] = lambda _count: None
    acknowledged: list[bytes] = field(default_factory=list)

    async def run(self, address: Address) -> None:
        """Send until all are answered, or until every connection is lost."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(self._pump(address))

    async def _pump(self, address: Address) -> None:
        in_flight: deque[bytes] = deque()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            async with await Sender.connect(address) as sender:
                while self.waiting or in_flight:
                    while self.waiting and len(in_flight) < self.window:
                        in_flight.append(self.waiting.popleft())
                        await sender.say(framed(in_flight[-1]))
                    answer = await sender.answer()
                    message = in_flight.popleft()
                    assert (answer.code, answer.control_id) == ("AA", control_id_of(message))
                    self.acknowledged.append(message)
                    self.on_answer(len(self.acknowledged))
        self.waiting.extend(in_flight)
