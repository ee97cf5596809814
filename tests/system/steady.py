"""Hospitals that never pause: a steady load from a thread of its own, through whatever happens to the listener.

Each connection sends, waits for the answer, and keeps its pace; one that is lost is opened again, and what was not
answered on it is sent again, as interface engines do. When everything was sent, something that was answered before is
sent once more, as they do too, until `finish`.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tests.system.senders import Address, Sender, control_id_of, framed

RECONNECT_S = 0.2


class SteadyLoad:
    """A context manager; `acknowledged` grows while it sends, `finish` sends the rest as fast as it is answered."""

    def __init__(self, messages: Iterable[bytes], *, connections: int, per_second: float) -> None:
        self.waiting = deque(messages)
        self.acknowledged: list[bytes] = []
        self.worst_answer_s = 0.0
        """The longest that an answer took since it was last reset."""
        self._pause_s = connections / per_second
        self._connections = connections
        self._address: Address = ("", 0)
        self._stop = threading.Event()
        self._finishing = threading.Event()
        self._again = random.Random(0)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="steady-load", daemon=True)
        self._error: BaseException | None = None

    def to(self, address: Address) -> Self:
        """Say where the listener is; it may move."""
        self._address = address
        return self

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Send everything that is left, without pauses, and wait for the answers."""
        self._pause_s = 0.0
        self._finishing.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._connections):
                    group.create_task(self._send_on())
        except BaseException as error:  # noqa: BLE001 - it is the test's, which asks for it at the end
            self._error = error

    async def _send_on(self) -> None:
        unanswered: bytes | None = None
        while not self._is_over(unanswered):
            with contextlib.suppress(OSError):
                async with await Sender.connect(self._address) as sender:
                    while not self._is_over(unanswered):
                        unanswered = unanswered or self._next()
                        began = time.monotonic()
                        if not await self._is_answered(sender, unanswered):
                            break
                        took_s = time.monotonic() - began
                        self.worst_answer_s = max(self.worst_answer_s, took_s)
                        unanswered = None
                        await asyncio.sleep(max(0.0, self._pause_s - took_s))
            if unanswered is not None:
                await asyncio.sleep(RECONNECT_S)

    def _is_over(self, unanswered: bytes | None) -> bool:
        done = self._finishing.is_set() and not self.waiting and unanswered is None
        return done or self._stop.is_set()

    def _next(self) -> bytes:
        return self.waiting.popleft() if self.waiting else self._again.choice(self.acknowledged)

    async def _is_answered(self, sender: Sender, message: bytes) -> bool:
        await sender.say(framed(message))
        answer = await sender.answer()
        if answer is None:
            return False
        assert (answer.code, answer.control_id) == ("AA", control_id_of(message)), answer
        self.acknowledged.append(message)
        return True
