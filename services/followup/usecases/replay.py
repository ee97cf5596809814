"""Re-apply a range of the log after a rule or a map has changed (promise: nothing that people did is changed).

The records of the range are read anew, with the rules and feeds of now. Whose messages read otherwise, before or now,
is rebuilt from all of their messages (`usecases.rebuild`); for the others in the range what follows is brought up to
date, since the protocol may have changed. Promises:

- A rehearsal (dry run) runs the same units of work and takes each back: what it says is what would happen.
- It may be ended at any moment: each unit leaves a consistent state, and running it again does the rest.
- Live traffic goes first: units are small, and after each window it rests for as long as its units took, or longer as
  its rate says.
- Memory is bounded by a window and a circle of people, and by the ids of stays and people that changed; statements
  are set-based.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple, Protocol, TypeVar, TypeVarTuple

from services.followup.usecases.again import run_again
from services.followup.usecases.follow_up import FollowUp
from services.followup.usecases.ports import Begin, EventRow, HeldEvent, Place, UnitOfWork
from services.followup.usecases.readings import Reader, Reading, fields_changed, is_in_force
from services.followup.usecases.rebuild import Circle, ReadLate, Rebuild, Rebuilt, Stale
from services.followup.usecases.replay_range import Span
from services.followup.usecases.replay_reading import WINDOW_RECORDS, LogReading
from services.followup.usecases.replay_window import Survey, Touched, survey
from services.followup.usecases.sorting import is_discarded
from services.runtime.clock import Clock
from services.runtime.eventlog.port import Record, Subscriber
from services.runtime.lifecycle import in_thread

SETTLED_MAX: Final = 100_000
"""People remembered as settled; more are forgotten, which costs time and nothing else."""
ATTEMPTS_MAX: Final = 3
"""Of one circle whose people's messages keep coming; after that they are made to wait while the last ones are read."""

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


class TaskChange(NamedTuple):
    """What became of a patient's task of one kind after one discharge; a window may come to it once more."""

    task: str
    change: str
    patient_id: str
    discharged_on: date


@dataclass(slots=True)
class Report:
    """What a replay did, or a rehearsal would do. `reached` are the next offsets, of the partitions begun.

    A rehearsal takes back what it does window by window: dead letters of one person in several of them live alone.
    `left` counts people that are left as they are, since they have too many messages; `kept` messages that stand as
    they were read before, since the log has not all records of their stay any more.
    """

    read: int = 0
    unreadable: int = 0
    changed: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    people: int = 0
    stays: set[str] = field(default_factory=set)
    tasks: set[TaskChange] = field(default_factory=set)
    revived: int = 0
    buried: int = 0
    kept: int = 0
    left: int = 0
    reached: dict[int, int] = field(default_factory=dict)
    finished: bool = False


class Observer(Protocol):
    """Hears how far a replay is."""

    def progressed(self, report: Report) -> None:
        """A window is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a replay works on: the log to read ahead and here and there, the database to look at and to write to.

    A rehearsal writes through `rehearsed`.
    """

    topic: str
    ahead: Subscriber
    jumps: Subscriber
    look: Begin
    begin: Begin
    executor: Executor


class _Enough(Exception):  # noqa: N818 - not an error: the end of a rehearsal
    """Takes a unit of work back."""


def rehearsed(begin: Begin) -> Begin:
    """Return what begins units of work that are taken back at their end."""

    @contextmanager
    def rehearse() -> Iterator[UnitOfWork]:
        with suppress(_Enough), begin() as unit:
            yield unit
            raise _Enough

    return rehearse


class Replay:
    """The use case. `rate` is messages a second at most; `feed` keeps to the messages of one feed. Run it once."""

    def __init__(
        self, desk: Desk, follow_up: FollowUp, reader: Reader, clock: Clock, *, rate: float, feed: str | None = None
    ) -> None:
        self._desk = desk
        self._rebuild = Rebuild(follow_up)
        self._log = LogReading(desk.topic, reader, ahead=desk.ahead, jumps=desk.jumps)
        self._clock = clock
        self._rate = rate
        self._feed = feed
        self._report = Report()
        self._done: set[str] = set()
        self._settled: set[str] = set()
        self._busy_s = 0.0

    async def run(self, spans: Sequence[Span], stop: asyncio.Event, observer: Observer) -> Report:
        """Re-apply spans until they end or `stop` is set; the unit under way is finished first.

        Raises:
            Transient: the database or the log is away; run it again.
            Permanent: `normalizer-outdated`.
        """
        for span in spans:
            offset = span.first
            while offset < span.end and not stop.is_set():
                began = time.monotonic()
                records = await self._log.window(span.partition, offset, span.end - offset)
                await self._re_apply([record for record in records if span.holds(record)])
                offset = records[-1].offset + 1 if records else span.end
                self._report.reached[span.partition] = offset
                observer.progressed(self._report)
                await self._rest(len(records), began, stop)
        self._report.finished = not stop.is_set()
        return self._report

    async def run_awaiting(self, stop: asyncio.Event, observer: Observer) -> Report:
        """Take up the messages that came again with a reading of newer rules, as `run` does a range."""
        after = ""
        while not stop.is_set():
            began = time.monotonic()
            waiting = await in_thread(self._desk.executor, self._awaiting, after)
            if not waiting:
                self._report.finished = True
                break
            await self._re_apply(await self._log.records_of(waiting))
            after = waiting[-1].row.event_id
            observer.progressed(self._report)
            await self._rest(len(waiting), began, stop)
        return self._report

    def _awaiting(self, after: str) -> list[HeldEvent]:
        with self._desk.look() as unit:
            return unit.rebuilds.awaiting(after, WINDOW_RECORDS)

    async def _rest(self, messages: int, began: float, stop: asyncio.Event) -> None:
        """Let others have the database for as long as we had it, and keep to the rate."""
        pause_s = max(self._busy_s, messages / self._rate - (time.monotonic() - began))
        self._busy_s = 0.0
        if pause_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=pause_s)

    async def _re_apply(self, records: Sequence[Record]) -> None:
        """Re-apply the records of one window."""
        window = [(record, self._log.read_anew(record)) for record in records]
        readable = [(record, reading) for record, reading in window if reading is not None]
        self._report.unreadable += len(window) - len(readable)
        if not readable:
            return
        found = await in_thread(self._desk.executor, self._survey, readable)
        self._report.read += found.read
        in_place = {reading.place: reading for _, reading in readable}
        for one in found.touched:
            if one.too_many:
                self._report.left += len(one.circle.people)
            elif one.circle.loose or one.circle.letters or not one.circle.people <= self._done:
                await self._run_circle(one, found, in_place)
        people = found.people - self._done - self._settled
        if people or found.revised:
            self._add(await self._timed(self._settle, sorted(people), found.revised))
            self._remember(people)

    def _survey(self, window: Sequence[tuple[Record, Reading]]) -> Survey:
        with self._desk.look() as unit:
            return survey(unit, window, self._log.revision, feed=self._feed)

    async def _run_circle(self, one: Touched, found: Survey, in_place: Mapping[Place, Reading]) -> None:
        """Rebuild a circle; what came while its messages were read is read too, and the unit run again."""
        circle, loop = one.circle, asyncio.get_running_loop()
        late = [*one.told, *(found.held[event_id] for event_id in sorted(circle.loose))]
        messages: dict[str, EventRow] = {}
        readings: dict[str, Reading | None] = {}

        async def read(more: Sequence[HeldEvent]) -> Mapping[str, Reading | None]:
            messages.update({message.row.event_id: message.row for message in more})
            readings.update(await self._log.messages(more, in_place))
            return readings

        def read_waited_for(more: Sequence[HeldEvent]) -> Mapping[str, Reading | None]:
            return asyncio.run_coroutine_threadsafe(read(more), loop).result()

        for attempt in range(ATTEMPTS_MAX + 1):
            await read(late)
            try:
                read_late = None if attempt < ATTEMPTS_MAX else read_waited_for
                rebuilt = await self._timed(self._run_unit, circle, readings, read_late)
                break
            except Stale as stale:
                late = list(stale.missing)
        again = bool(circle.people) and circle.people <= self._done  # in a rehearsal, for the sake of others
        self._count({key: messages[key] for key in circle.loose} if again else messages, readings)
        self._report.people += len(circle.people - self._done)
        self._done |= circle.people
        self._add(rebuilt)

    def _count(self, rows: Mapping[str, EventRow], readings: Mapping[str, Reading | None]) -> None:
        """Count the messages that read otherwise now, with the names of their fields."""
        for event_id, row in rows.items():
            reading = readings[event_id]
            if reading is not None and not is_discarded(row) and not is_in_force(reading, row):
                self._report.changed += 1
                self._report.fields.update(fields_changed(reading, row))

    @run_again
    def _run_unit(self, circle: Circle, readings: Mapping[str, Reading | None], late: ReadLate | None) -> Rebuilt:
        with self._desk.begin() as unit:
            return self._rebuild.run(unit, circle, readings, self._clock.now(), read_late=late)

    @run_again
    def _settle(self, people: Sequence[str], revised: Collection[str]) -> Rebuilt:
        with self._desk.begin() as unit:
            unit.stays.lock(people)
            unit.rebuilds.revise(revised, self._log.revision)
            return self._rebuild.settle(unit, people, self._clock.now())

    def _remember(self, people: Collection[str]) -> None:
        """Remember who was settled, so that their later messages in the range cost a reading each and no more."""
        if len(self._settled) > SETTLED_MAX:
            self._settled.clear()
        self._settled.update(people)

    async def _timed(self, unit: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        began = time.monotonic()
        try:
            return await in_thread(self._desk.executor, unit, *arguments)
        finally:
            self._busy_s += time.monotonic() - began

    def _add(self, rebuilt: Rebuilt) -> None:
        report = self._report
        report.stays |= rebuilt.stays
        report.tasks |= {
            TaskChange(change.after.kind, change.kind, change.after.patient_id, change.after.discharged_on)
            for change in rebuilt.changes
        }
        report.revived += rebuilt.revived
        report.buried += rebuilt.buried
        report.kept += rebuilt.kept
