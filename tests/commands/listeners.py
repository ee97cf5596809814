"""A listener for tests of `send`: answers in a thread of its own, on a free port of this machine."""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from services.ingest.hl7.ack import AckCode, build_ack
from services.ingest.hl7.message import parse
from services.ingest.mllp.frame import Frame, FrameDecoder, encode_frame

Answer = Callable[[bytes], bytes | None]
WAIT_S = 10.0


class Listener:
    """Where it listens and what it got."""

    def __init__(self, server: socket.socket, answer: Answer) -> None:
        self.address = f"127.0.0.1:{server.getsockname()[1]}"
        self.got: list[bytes] = []
        self._server = server
        self._answer = answer

    def serve(self) -> None:
        """Answer one connection until it ends, or until there is no answer to give."""
        try:
            connection, _ = self._server.accept()
        except OSError:  # closed before anybody came
            return
        decoder = FrameDecoder()
        with connection:
            connection.settimeout(WAIT_S)
            while data := connection.recv(65536):
                for event in decoder.feed(data):
                    assert isinstance(event, Frame)
                    self.got.append(event.payload)
                    answer = self._answer(event.payload)
                    if answer is None:
                        return
                    connection.sendall(encode_frame(answer))


@contextmanager
def listening(answer: Answer) -> Generator[Listener]:
    """Listen for the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        listener = Listener(server, answer)
        thread = threading.Thread(target=listener.serve)
        thread.start()
        try:
            yield listener
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # wakes who still waits for a connection
            thread.join(WAIT_S)
            assert not thread.is_alive()


def answered(code: AckCode, text: str | None = None) -> Answer:
    """Return what answers every message with a code."""

    def answer(payload: bytes) -> bytes:
        return build_ack(
            parse(payload), code=code, control_id="X1", sent_at=datetime(2026, 11, 24, tzinfo=UTC), text=text
        )

    return answer
