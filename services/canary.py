"""Sends a canary through everything each minute and watches it arrive: listener, log, consumer, database.

An age of 0 also fits a listener that nobody can reach and a log that nobody writes; the canary tells those apart from a
quiet night. Promises: at most one canary of a minute, however many schedulers run; it is a message that can never make
a task (`schemas.canary`); one that is not in the database within `LOST_AFTER_S` is counted as lost, whatever the
reason, and no failure of one keeps the next from being sent.

It stands above both services, since it speaks to one and looks into the other's database.
"""

import asyncio
import contextlib
import secrets
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, Literal

from schemas.canary import TOKEN_CHARS, canary_control_id, canary_message
from services.followup.usecases.canary import AWAITED, KEPT, CanaryBook
from services.ingest.mllp.client import MllpClient, MllpClientError
from services.ingest.mllp.frame import FramingError
from services.runtime import metrics as declared
from services.runtime.clock import Clock
from services.runtime.errors import Ambiguous, Transient
from services.runtime.lifecycle import in_thread
from services.runtime.log import get_logger
from services.runtime.metrics import Metrics

EVERY_S: Final = 60.0
LOST_AFTER_S: Final = 60.0
"""The promise is a task within 60 s of the message (product.md §2.3)."""
ANSWER_TIMEOUT_S: Final = 15.0  # the listener holds an answer for up to 10 s when nothing can be stored (DESIGN §2)
CONNECT_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.1
PURGE_EVERY: Final = 60  # canaries

Lost = Literal["not-claimed", "not-sent", "not-accepted", "not-arrived"]
Send = Callable[[bytes], Awaitable[bytes]]
"""Sends one message and returns its answer; raises `MllpClientError`."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryTarget:
    """The listener that canaries are sent to; with TLS if it is given a context for it."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    async def send(self, message: bytes) -> bytes:
        """Connect, send and return the answer, as any hospital would."""
        client = await MllpClient.connect(
            self.host, self.port, connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=ANSWER_TIMEOUT_S, tls=self.tls
        )
        async with client:
            return await client.send(message)


@dataclass(slots=True)
class CanaryStats:
    """What became of the canaries that this process sent."""

    sent: int = 0
    lost: Counter[str] = field(default_factory=Counter)


class Canary:
    """Sends and watches until stopped."""

    def __init__(
        self,
        book: CanaryBook,
        send: Send,
        *,
        clock: Clock,
        executor: Executor,
        metrics: Metrics,
        every_s: float = EVERY_S,
        lost_after_s: float = LOST_AFTER_S,
    ) -> None:
        self._book = book
        self._send = send
        self._clock = clock
        self._executor = executor
        self._every_s = every_s
        self._lost_after_s = lost_after_s
        self.stats = CanaryStats()
        self._seconds = metrics.histogram(declared.CANARY_ROUNDTRIP)
        metrics.provide_value(declared.CANARY_SENT, lambda: self.stats.sent)
        metrics.provide_counts(declared.CANARY_LOST, self.stats.lost)

    async def run(self, stop: asyncio.Event) -> None:
        """Send one each minute until asked to stop; those under way are let go."""
        async with asyncio.TaskGroup() as group:
            under_way: list[asyncio.Task[None]] = []
            while not stop.is_set():
                under_way = [task for task in under_way if not task.done()] + [group.create_task(self.fly())]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._until_next_s())
            for task in under_way:
                task.cancel()

    async def fly(self) -> None:
        """Send this minute's canary, unless somebody has, and wait until it arrives or is lost."""
        control_id = canary_control_id(secrets.token_hex(TOKEN_CHARS // 2))
        now = self._clock.now()
        try:
            turn = int(now.timestamp() // self._every_s)
            if not await in_thread(self._executor, self._book.claim, turn, control_id, now):
                return
        except (Transient, Ambiguous) as error:
            self._lose("not-claimed", error.code)
            return
        began_s = self._clock.monotonic()
        self.stats.sent += 1
        lost = await self._deliver(control_id)
        if lost is None:
            lost = await self._await_arrival(control_id, began_s)
        if lost is not None:
            self._lose(*lost)
        await self._purge_when_due()

    async def _deliver(self, control_id: str) -> tuple[Lost, str] | None:
        try:
            answer = await self._send(canary_message(control_id, self._clock.now()))
        except (MllpClientError, FramingError) as error:
            return "not-sent", str(error)
        return None if _is_accepted(answer, control_id) else ("not-accepted", "refused")

    async def _await_arrival(self, control_id: str, began_s: float) -> tuple[Lost, str] | None:
        """Look until it is there; a database that is away is looked at again."""
        reason = "late"
        while (elapsed_s := self._clock.monotonic() - began_s) < self._lost_after_s:
            try:
                if await in_thread(self._executor, self._book.has_arrived, control_id):
                    self._seconds.observe(self._clock.monotonic() - began_s)
                    return None
                reason = "late"
            except (Transient, Ambiguous) as error:
                reason = error.code
            await asyncio.sleep(max(POLL_S, elapsed_s / 20))  # within 5 % of the truth, and few looks at a late one
        return "not-arrived", reason

    async def _purge_when_due(self) -> None:
        if self.stats.sent % PURGE_EVERY != 1:
            return
        now = self._clock.now()
        try:
            rows = await in_thread(self._executor, self._book.purge, now - KEPT, now - AWAITED)
        except (Transient, Ambiguous) as error:
            _log.warning("canaries_unpurged", code=error.code)
        else:
            _log.debug("canaries_purged", rows=rows)

    def _lose(self, lost: Lost, reason: str) -> None:
        self.stats.lost[lost] += 1
        _log.warning("canary_lost", kind=lost, reason=reason)

    def _until_next_s(self) -> float:
        """Return how long until the next minute begins."""
        return self._every_s - self._clock.now().timestamp() % self._every_s


def _is_accepted(answer: bytes, control_id: str) -> bool:
    """Tell whether an answer is AA (or CA) for this canary; read by hand, since it is ours from end to end."""
    fields = next((line for line in answer.split(b"\r") if line.startswith(b"MSA")), b"").split(b"|")
    return len(fields) > 2 and fields[1] in {b"AA", b"CA"} and fields[2] == control_id.encode()
