"""Senders as hospitals have them: plain sockets, and a reading of answers that shares nothing with the product's.

`Sender` says exactly the bytes it is told. `Load` sends many messages over several connections with a window of them
unanswered on each, remembers which were acknowledged, and survives whatever happens to the listener.
"""

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

Address = tuple[str, int]
START, END = b"\x0b", b"\x1c\r"
ANSWER_WITHIN_S = 15.0
"""The listener holds an answer for up to 10 s when nothing can be written."""


BREAK_SHARE = 0.1  # fault F35


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
    """One connection, on a bare socket: what was received can be read also after writing has failed."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._received = bytearray()

    @classmethod
    async def connect(cls, address: Address) -> Self:
        """Open a connection."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(connection, address)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close; what was not read is thrown away."""
        self._socket.close()

    def cut(self) -> None:
        """Close with a reset, as a broken line does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def end(self) -> None:
        """Say that nothing more comes; answers can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    async def say(self, data: bytes, *, byte_by_byte: bool = False) -> None:
        """Write bytes, each in a write of its own if asked to."""
        for piece in [data[i : i + 1] for i in range(len(data))] if byte_by_byte else [data]:
            await asyncio.get_running_loop().sock_sendall(self._socket, piece)

    async def answer(self) -> Answer | None:
        """Read the next answer; `None` when the listener has closed. Half an answer is an error."""
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while (end := self._received.find(END)) < 0:
                if not (piece := await self._read()):
                    assert not self._received, bytes(self._received)
                    return None
                self._received += piece
        frame = bytes(self._received[: end + len(END)])
        del self._received[: len(frame)]
        (answer,) = split_answers(frame)
        return read_answer(answer)

    async def answers(self, count: int) -> list[Answer]:
        """Read so many answers."""
        answers = [answer for _ in range(count) if (answer := await self.answer()) is not None]
        assert len(answers) == count, f"closed after {len(answers)} of {count} answers"
        return answers

    async def rest(self) -> list[Answer]:
        """Read answers until the listener closes."""
        answers = []
        while (answer := await self.answer()) is not None:
            answers.append(answer)
        return answers

    async def everything(self) -> bytes:
        """Read until the listener closes, whatever it is that comes."""
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while piece := await self._read():
                self._received += piece
        return bytes(self._received)

    async def _read(self) -> bytes:
        """Return what is there, nothing once the listener has closed; a reset counts as closed."""
        with suppress(ConnectionError):
            return await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        return b""


async def exchange(address: Address, messages: Sequence[bytes]) -> list[Answer]:
    """Send all messages without waiting for an answer, read all answers meanwhile; more or fewer are an error."""
    async with await Sender.connect(address) as sender, asyncio.TaskGroup() as group:
        group.create_task(_say_all(sender, messages))
        answers = await sender.answers(len(messages))
        sender.end()
        assert await sender.rest() == [], "more answers than messages"
    return answers


async def _say_all(sender: Sender, messages: Sequence[bytes]) -> None:
    for message in messages:
        await sender.say(framed(message))


@dataclass(slots=True)
class Load:
    """Messages on their way over several connections, each with a window of them unanswered.

    `on_answer` hears the count of answers so far. `waiting` are those that nobody has answered, in flight or not.
    With `breaks` lines break in the middle of messages, as often as `BREAK_SHARE` says.
    """

    waiting: deque[bytes]
    connections: int = 4
    window: int = 16
    on_answer: Callable[[int], object] = lambda _count: None
    breaks: random.Random | None = None
    acknowledged: list[bytes] = field(default_factory=list)

    async def run(self, address: Address) -> None:
        """Send until all are answered, or until every connection is lost."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(self._pump(address))

    async def _pump(self, address: Address) -> None:
        in_flight: deque[bytes] = deque()
        with suppress(ConnectionError):  # nobody listens any more
            async with await Sender.connect(address) as sender:
                while await self._fill(sender, in_flight) and (answer := await sender.answer()) is not None:
                    self._note(answer, in_flight.popleft())
        self.waiting.extend(in_flight)

    async def _fill(self, sender: Sender, in_flight: deque[bytes]) -> bool:
        """Send until the window is full; return whether answers are owed."""
        while self.waiting and len(in_flight) < self.window:
            in_flight.append(self.waiting.popleft())
            if self.breaks is not None and self.breaks.random() < BREAK_SHARE:
                await sender.say(framed(in_flight[-1])[: self.breaks.randrange(len(in_flight[-1]))])
                sender.cut()
                return False
            with suppress(ConnectionError):  # it may have answered before it went
                await sender.say(framed(in_flight[-1]))
        return bool(in_flight)

    def _note(self, answer: Answer, message: bytes) -> None:
        assert (answer.code, answer.control_id) == ("AA", control_id_of(message)), answer
        self.acknowledged.append(message)
        self.on_answer(len(self.acknowledged))
