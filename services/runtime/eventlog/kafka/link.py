"""A connection to one broker for produce requests alone, one at a time.

aiokafka connects, agrees on versions and logs in; then this protocol takes over the transport. Through aiokafka's own
reader a request costs two tasks' turns, two timers and three futures more, which at a few messages a request is a
third of what publishing costs.
"""

import asyncio
import struct
from typing import Any, Final, Protocol

from services.runtime.eventlog.kafka.wire import (
    PRODUCE,
    PRODUCE_VERSION,
    Batches,
    PartitionAnswer,
    pack_produce,
    unpack_produced,
)

_SIZE: Final = struct.Struct(">i")
_IDS: Final = 2**31


class Receiver(Protocol):
    """Who sends through a link; called on the event loop."""

    def heard(self, answers: list[PartitionAnswer]) -> None:
        """The broker has answered the request."""

    def lost(self, reason: str) -> None:
        """The connection is over; a request that was on its way may have been carried out."""


class BrokerLink(asyncio.Protocol):
    """Takes over a fresh connection of aiokafka's; `client_id` names us in the broker's log."""

    def __init__(self, connection: Any, receiver: Receiver, *, client_id: str, timeout_ms: int) -> None:  # noqa: ANN401 - aiokafka is untyped
        lowest, highest = connection._versions.get(PRODUCE, (0, 0))  # noqa: SLF001 - it is ours from here on
        self.speaks_our_version = lowest <= PRODUCE_VERSION <= highest
        self._receiver = receiver
        self._client_id = client_id.encode()
        self._timeout_ms = timeout_ms
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._correlation_id = 0
        self._overdue: asyncio.TimerHandle | None = None
        self._is_over = False
        self._connection = connection
        connection._read_task.cancel()  # noqa: SLF001
        self._transport: Any = connection._writer.transport  # noqa: SLF001
        self._transport.set_protocol(self)

    def send(self, batches: Batches) -> None:
        """Send a request; the one before has been answered."""
        self._correlation_id = (self._correlation_id + 1) % _IDS
        self._overdue = self._loop.call_later(self._timeout_ms / 1000, self._end, "no answer in time")
        self._transport.write(
            pack_produce(
                batches,
                correlation_id=self._correlation_id,
                client_id=self._client_id,
                timeout_ms=self._timeout_ms,
            )
        )

    def close(self) -> None:
        """Let go of the connection at once, whatever is on its way."""
        self._is_over = True
        if self._overdue is not None:
            self._overdue.cancel()
        self._transport.abort()
        self._connection._reader = None  # noqa: SLF001 - aiokafka takes it as closed

    def data_received(self, data: bytes) -> None:
        """Take bytes; asyncio's protocol."""
        self._buffer = self._buffer + data if self._buffer else data
        while len(self._buffer) >= _SIZE.size and not self._is_over:
            end = _SIZE.size + _SIZE.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            frame, self._buffer = self._buffer[_SIZE.size : end], self._buffer[end:]
            self._take(frame)

    def connection_lost(self, error: Exception | None) -> None:
        """Hear of the end; asyncio's protocol."""
        self._end("it closed the connection" if error is None else f"the connection broke ({type(error).__name__})")

    def eof_received(self) -> None:
        """Close when the broker does; asyncio's protocol."""

    def _take(self, frame: bytes) -> None:
        try:
            correlation_id, answers = unpack_produced(frame)
        except (struct.error, UnicodeDecodeError):
            self._end("it answered with something else")
            return
        if self._overdue is None or correlation_id != self._correlation_id:
            self._end("it answered what was not asked")
            return
        self._overdue.cancel()
        self._overdue = None
        self._receiver.heard(answers)

    def _end(self, reason: str) -> None:
        if not self._is_over:
            self.close()
            self._receiver.lost(reason)
