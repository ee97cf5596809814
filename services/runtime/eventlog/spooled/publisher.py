"""A publisher in front of a log that may be away: what the log does not take at once is stored and forwarded.

Promises, beside those of `port.Publisher`:
- A record is reported durable when the log has it or when the spool's disk has synced it, and never otherwise.
- A log that fails or has not answered for 2 s is given up: everything that it has not answered goes to the spool, in
  the order of submission, and so does all that follows until the spool is empty again. So a record may be in the log
  twice (the log may have it and not have said so), is never lost, and first occurrences keep their order in each
  partition, as long as a publisher sends nothing more to a partition in which a record failed.
- It heals by itself: every 250 ms a fresh publisher is tried, and the spool is forwarded through it.
- Past `bytes_max` new records are refused with `log-unavailable` until forwarding has made room.
- What never fits (`record-too-large`, a topic or partition that is not declared) is refused and never spooled. A
  *declared* topic that the log does not know is the log's fault: its records wait in the spool.
- A spool that has failed for good (a failed fsync) ends the process through `on_failure`, even if the log is well:
  what lies in it can be trusted again only after a restart, and the next outage would find no net.

States: `states`. Source: DESIGN §2, `streaming.md` §8, faults.md F08 to F20, ADR 0012.
"""

import asyncio
import contextlib
import copy
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

from services.runtime.clock import Clock, SystemClock, to_timestamp_us
from services.runtime.errors import AfterstayError, Transient
from services.runtime.eventlog.embedded.publisher import PublisherLimits
from services.runtime.eventlog.port import NewRecord, OnPublished, Position, Publisher, PublishOutcome
from services.runtime.eventlog.spooled import folder as on_disk
from services.runtime.eventlog.spooled.admission import Admission, no_room, size_of
from services.runtime.eventlog.spooled.delivery import is_loss_of_the_log, no_answer
from services.runtime.eventlog.spooled.entry import Entry
from services.runtime.eventlog.spooled.forwarder import Forwarder
from services.runtime.eventlog.spooled.partitions import learn_partitions, remember_partitions
from services.runtime.eventlog.spooled.probe import Probe
from services.runtime.eventlog.spooled.settings import SpoolSettings
from services.runtime.eventlog.spooled.spool import Spool
from services.runtime.eventlog.spooled.states import TRANSITIONS, SpoolStats, State, Trigger
from services.runtime.lifecycle import FolderLock, in_thread
from services.runtime.log import get_logger

_log = get_logger(__name__)


class SpooledPublisher:
    """The publisher of a listener in front of a log elsewhere; it owns the spool's folder."""

    def __init__(
        self,
        folder: Path,
        *,
        open_direct: Callable[[], Awaitable[Publisher]],
        topics: Mapping[str, int],
        settings: SpoolSettings,
        on_failure: Callable[[AfterstayError], None],
        clock: Clock,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._on_failure = on_failure
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._admission = Admission(settings, topics)
        self._probe = Probe(open_direct, close_timeout_s=settings.close_timeout_s)
        self._patience_s = settings.answer_timeout_s - settings.grace_s
        self._lock: FolderLock
        self._spool: Spool
        self._forwarder: Forwarder
        self._forwarding: asyncio.Task[None] | None = None
        self._state: State = "spooling"
        self._state_since_us = to_timestamp_us(clock.now())
        self._direct: Publisher | None = None
        self._in_flight: deque[Entry] = deque()  # handed to the log, in order; answered ones leave from the front
        self._timer: asyncio.TimerHandle | None = None  # looks at the oldest of them
        self._held: list[Entry] | None = None  # new ones, while the last of the spool is forwarded
        self._hold_timer: asyncio.TimerHandle | None = None
        self._refused_total = 0
        self._outages_total = 0
        self._last_error: str | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        open_direct: Callable[[], Awaitable[Publisher]],
        topics: Mapping[str, int],
        settings: SpoolSettings,
        on_failure: Callable[[AfterstayError], None],
        clock: Clock | None = None,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> Self:
        """Claim the spool's folder, open the spool, and try the log once, within a bound.

        `open_direct` makes a publisher to the log; it may fail or hang. `topics` are the only ones that may be
        published to, with the partitions that they have until the log says otherwise. `on_failure` is called once,
        on the loop, if the spool fails for good: stop accepting and exit non-zero.

        Raises:
            Permanent: `data-folder-unusable`, `data-folder-in-use`.
            Transient: `log-unavailable`, when the spool's disk cannot be used now; never because the log is away.
        """
        publisher = cls(
            folder,
            open_direct=open_direct,
            topics=topics,
            settings=settings,
            on_failure=on_failure,
            clock=clock or SystemClock(),
        )
        await in_thread(None, on_disk.prepare, folder)
        lock = FolderLock(folder, option="--spool")
        await in_thread(None, lock.acquire)
        try:
            await publisher._start(lock, factory)
        except BaseException:
            lock.release()
            raise
        return publisher

    @property
    def stats(self) -> SpoolStats:
        """Return what the spool holds and has done, now."""
        spool = self._spool
        return SpoolStats(
            state=self._state,
            state_since_us=self._state_since_us,
            records=spool.pending,
            bytes=spool.pending_bytes,
            oldest_timestamp_us=spool.oldest_timestamp_us,
            disk_bytes=spool.disk_bytes,
            bytes_max=self._settings.bytes_max,
            spooled_total=spool.spooled_total,
            drained_total=spool.drained_total,
            quarantined_total=spool.quarantined_total,
            quarantined_segments=spool.quarantined_segments,
            refused_total=self._refused_total,
            outages_total=self._outages_total,
            last_error=self._last_error,
        )

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions as the log said, or as was remembered or declared while it was away."""
        return tuple(range(self._admission.require_declared(topic)))

    async def publish(self, record: NewRecord) -> Position:
        """Append one record and return where, once it is durable; `SPOOLED_OFFSET` if that is in the spool."""
        future: asyncio.Future[Position] = self._loop.create_future()

        def on_done(outcome: PublishOutcome) -> None:
            if future.done():  # the caller was canceled
                return
            if isinstance(outcome, Position):
                future.set_result(outcome)
            else:
                future.set_exception(copy.copy(outcome))  # one error may answer many; each raises its own

        self.submit(record, on_done)
        return await future

    def submit(self, record: NewRecord, on_done: OnPublished) -> None:
        """Append one record and call `on_done` once it is durable, in the log or in the spool, or has failed."""
        size = size_of(record)
        refusal = self._admission.enter(record, size) if self._has_room() else self._refuse_for_room()
        if refusal is not None:
            self._loop.call_soon(on_done, refusal)
            return
        entry = Entry(self, record, size, on_done)
        if self._direct is not None:
            self._send(self._direct, entry)
        elif self._held is not None:
            self._held.append(entry)
        else:
            self._spool.append(record, size, entry.on_stored)

    async def close(self) -> None:
        """Finish what was handed over, in the log or in the spool, and let go; the spool stays for the next start."""
        if self._closing is None:
            self._admission.closed = self._admission.closed or Transient(
                "log-unavailable", "the publisher is closing; nothing was stored, send it again after the restart"
            )
            self._closing = self._loop.create_task(self._close(), name="spooled-publisher-close")
        await asyncio.shield(self._closing)

    # What the log and the spool say

    def hear(self, entry: Entry, outcome: PublishOutcome) -> None:
        """Hear what the log says of a record that it has in hand."""
        if isinstance(outcome, AfterstayError) and is_loss_of_the_log(outcome):
            self._lose(outcome)
            return
        entry.direct = False
        in_flight = self._in_flight
        while in_flight and not in_flight[0].direct:
            in_flight.popleft()
        self.settle(entry, outcome)

    def settle(self, entry: Entry, outcome: PublishOutcome) -> None:
        """Tell the caller; the books are right before he is told, whatever he does."""
        self._admission.leave(entry.size)
        entry.on_done(outcome)

    # On the way in

    def _has_room(self) -> bool:
        return self._direct is not None or self._held is not None or self._spool.disk_bytes < self._settings.bytes_max

    def _refuse_for_room(self) -> Transient:
        self._refused_total += 1
        if self._state != "full":
            self._move("limit-passed")
            _log.error("spool_filled", records=self._spool.pending, bytes=self._spool.disk_bytes)
        return no_room(self._spool.disk_bytes, self._settings.bytes_max)

    def _send(self, direct: Publisher, entry: Entry) -> None:
        entry.deadline = self._loop.time() + self._patience_s
        entry.direct = entry.tried = True
        self._in_flight.append(entry)
        if self._timer is None:
            self._timer = self._loop.call_at(entry.deadline, self._check_oldest)
        direct.submit(entry.record, entry.on_direct)

    def _check_oldest(self) -> None:
        """Give up the log if its oldest record is overdue; one timer, however many records."""
        self._timer = None
        if not self._in_flight:
            return
        oldest = self._in_flight[0]
        if oldest.deadline > self._loop.time():
            self._timer = self._loop.call_at(oldest.deadline, self._check_oldest)
        else:
            self._timer = self._loop.call_later(self._settings.grace_s, self._check_again, oldest)

    def _check_again(self, oldest: Entry) -> None:
        if oldest.direct:
            self._lose(no_answer(self._settings.answer_timeout_s))
        else:
            self._check_oldest()

    def _lose(self, error: AfterstayError) -> None:
        """Open the circuit: spool what the log has not answered, and leave the log to the forwarder."""
        direct, self._direct = self._direct, None
        assert direct is not None, "only a publisher in use is lost"
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._outages_total += 1
        self._last_error = None  # so that this one is said, also when the last was of the same kind
        self.lost(error)
        unanswered = [entry for entry in self._in_flight if entry.direct]
        self._in_flight.clear()
        for entry in unanswered:
            entry.direct = False
            self._spool.append(entry.record, entry.size, entry.on_stored)
        self._probe.close_in_background(direct)
        self._forwarder.needed.set()

    # What the forwarder asks

    @property
    def holding(self) -> bool:
        """Tell whether new records are held in memory, so that the spool can become empty under load."""
        return self._held is not None

    def hold(self) -> None:
        """Hold new records for a bounded moment."""
        self._held = []
        self._hold_timer = self._loop.call_later(self._settings.handover_s, self.release)

    def release(self) -> None:
        """Spool what was held after all."""
        for entry in self._take_held():
            self._spool.append(entry.record, entry.size, entry.on_stored)

    def found(self) -> None:
        """Note that the log can be reached."""
        self._move("log-found")

    def lost(self, error: AfterstayError) -> None:
        """Note that the log cannot be reached."""
        self._note(error)
        self._move("log-lost")

    def forwarded(self) -> None:
        """Take new records again if there is room."""
        if self._state == "full" and self._spool.disk_bytes < self._settings.bytes_max:
            self._move("room-made")

    def close_circuit(self, direct: Publisher) -> None:
        """Use the log directly: the spool is empty, and what was held goes first."""
        self._move("drained")
        self._forwarder.needed.clear()
        self._direct = direct
        for entry in self._take_held():
            self._send(direct, entry)
        self._spool.start_afresh()
        _log.info("log_found", records=self._spool.drained_total, count=self._outages_total)

    def _note(self, error: AfterstayError) -> None:
        """Say why the log is away, once for each kind of reason: the probes come four times a second."""
        if error.code != self._last_error:
            _log.warning("log_lost", code=error.code, reason=error.message, records=self._spool.pending)
        self._last_error = error.code

    def _take_held(self) -> list[Entry]:
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None
        held, self._held = self._held or [], None
        return held

    def _move(self, trigger: Trigger) -> None:
        state = TRANSITIONS[self._state, trigger]
        if state != self._state:
            self._state = state
            self._state_since_us = to_timestamp_us(self._clock.now())

    # Start and end

    async def _start(self, lock: FolderLock, factory: type[sqlite3.Connection]) -> None:
        settings = self._settings
        self._lock = lock
        self._spool = await Spool.open(
            self._folder,
            segment_bytes=min(settings.segment_bytes, max(settings.bytes_max // 4, 1)),
            # What may wait is counted here; the writer's own limits stand above, for records that move to the spool.
            writer_limits=PublisherLimits(
                queue_records_max=settings.queue_records_max * 4,
                queue_bytes_max=settings.queue_bytes_max * 4,
                record_bytes_max=settings.record_bytes_max * 2,
            ),
            on_failure=self._fail,
            factory=factory,
        )
        self._forwarder = Forwarder(self, self._spool, self._probe, settings)
        self._forwarder.needed.set()
        remembered = await in_thread(None, on_disk.read_topics, self._folder)
        declared = self._admission.partitions
        declared |= {topic: count for topic, count in remembered.items() if topic in declared}
        knows_all = remembered.keys() >= declared.keys()
        direct = await self._try_log(settings.start_patience_s if knows_all else settings.answer_timeout_s)
        if direct is not None and self._spool.is_empty:
            self.found()
            self.close_circuit(direct)
            direct = None
        else:
            _log.warning("spool_in_use", records=self._spool.pending, code=self._last_error)
        self._forwarding = self._loop.create_task(self._forwarder.run(direct), name="spool-forwarder")

    async def _try_log(self, timeout_s: float) -> Publisher | None:
        """Return a publisher to the log if it is there and has the declared topics."""
        found = await self._probe.open(timeout_s)
        if isinstance(found, AfterstayError):
            self._note(found)
            return None
        topics = self._admission.partitions
        told = await learn_partitions(found, topics, timeout_s=self._settings.answer_timeout_s)
        if isinstance(told, AfterstayError):
            self._note(told)
            self._probe.close_in_background(found)
            return None
        topics |= told
        await remember_partitions(self._folder, told)
        return found

    def _fail(self, error: AfterstayError) -> None:
        """End with the spool: see the module's promise."""
        self._admission.closed = error
        if self._forwarding is not None:
            self._forwarding.cancel()
        self._on_failure(error)

    async def _close(self) -> None:
        if self._forwarding is not None:
            self._forwarding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._forwarding
        self.release()
        if self._direct is not None:
            await self._finish_direct(self._direct)
        if self._timer is not None:
            self._timer.cancel()
        await self._spool.close()
        await self._probe.finish()
        self._lock.release()

    async def _finish_direct(self, direct: Publisher) -> None:
        """Let the log answer what it has in hand, no longer than ever; what it does not answer is spooled."""
        closing = self._probe.close_in_background(direct)
        lost = self._loop.create_task(self._forwarder.needed.wait())
        ends: list[asyncio.Future[Any]] = [closing, lost]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if self._direct is not None and any(entry.direct for entry in self._in_flight):
            self._lose(no_answer(self._settings.answer_timeout_s))
