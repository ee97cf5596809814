"""Apply a batch of records: at-least-once in, exactly-once effect.

Promise (house style 11): an event is claimed in the transaction of its effects and of its position. Running a batch
twice, or part of it again, changes nothing. The books move in the same transaction, so they always balance.

The position is locked before anything else is read, so that a consumer that lost its partitions without knowing (a
zombie) finds what it offers known, and one whose offer leaves something out is told so instead of skipping it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from schemas.events import AdtEvent
from services.followup.usecases.again import CONFLICT, run_again
from services.followup.usecases.delays import SourceDelay, source_delays
from services.followup.usecases.follow_up import FollowUp
from services.followup.usecases.ports import Begin, DeadLetter, EventRow, Tally, UnitOfWork
from services.followup.usecases.readings import digest_of
from services.followup.usecases.sorting import (
    DEAD_LETTER,
    DISCARDED,
    EFFECT,
    LOST,
    NO_EFFECT,
    PARKED,
    REPLAYED,
    SUPERSEDED,
    Books,
    Unusable,
    decode,
    event_row,
    replay_event,
    sort_records,
)
from services.followup.usecases.status import UNKNOWN_ACK
from services.followup.usecases.texts import storable
from services.runtime.clock import Clock
from services.runtime.errors import Transient
from services.runtime.eventlog.port import Record

SPREAD_STAYS: Final = 2_000
"""Stays that get a timer after a panel load in one step, which takes a few hundredths of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a batch came to: records that were new to the group, how the books moved, and what is to be measured.

    `effects` are (feed, time of receipt) of events that took effect, to measure how long that took; `source_delays`
    are those of the events that were not known before.
    """

    fresh: int = 0
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    effects: tuple[tuple[str | None, datetime], ...] = ()
    source_delays: tuple[SourceDelay, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Nothing was applied: of these partitions the records from the offset given on must be applied first."""

    positions: Mapping[int, int]


class ApplyEvents:
    """The consumer's use case. Synchronous: shells call it through the one thread helper."""

    def __init__(self, begin: Begin, follow_up: FollowUp, clock: Clock, *, group: str) -> None:
        self._begin = begin
        self._follow_up = follow_up
        self._clock = clock
        self._group = group

    def positions(self, topic: str) -> dict[int, int]:
        """Return the next offset of each partition that this group has reached."""
        with self._begin() as unit:
            return unit.events.positions(self._group, topic)

    @run_again
    def begin_at(self, topic: str, starts: Mapping[int, int]) -> None:
        """Record where the group begins with partitions that it never consumed; one that it did consume stays."""
        with self._begin() as unit:
            reached = unit.events.lock_positions(self._group, topic, starts.keys())
            begun = {partition: start for partition, start in starts.items() if partition not in reached}
            unit.events.begin(self._group, topic, begun)

    @run_again
    def pass_over(self, topic: str, partition: int, first: int, following: int) -> bool:
        """Count the offsets from `first` to before `following` as lost to retention and go on behind them, once only.

        Returns whether this call did it: False when the position was past them already.
        """
        with self._begin() as unit:
            position = unit.events.lock_positions(self._group, topic, {partition}).get(partition, 0)
            if not first <= position < following:
                return False
            lost = following - position
            unit.events.tally(Tally(outcomes={(NO_EFFECT, LOST): lost}, acks={UNKNOWN_ACK: lost}))
            unit.events.advance(self._group, topic, {partition: following})
        return True

    def handle(self, topic: str, records: Sequence[Record]) -> int:
        """Apply records of one topic that are all there were from the position on; return how many were new.

        They are ascending by offset in each partition, as `Subscriber.read` gives them.

        Raises:
            Transient: nothing was applied; run it again.
            Ambiguous: it may have been applied; run it again, the position tells.
        """
        applied = self.deliver(topic, records, joined={record.partition: 0 for record in records})
        assert isinstance(applied, Applied), "nothing is missing in front of records that are all there were"
        return applied.fresh

    @run_again
    def deliver(self, topic: str, records: Sequence[Record], *, joined: Mapping[int, int]) -> Applied | Gap:
        """Apply records of one topic, ascending by offset in each partition, unless some before them are missing.

        `joined` says of a partition from which offset on nothing was left out in front of its first record, because
        it was read from there; offsets that no record has (Kafka's need not be dense) are no gap then.

        Raises:
            Transient: nothing was applied; run it again.
            Ambiguous: it may have been applied; run it again, the position tells.
        """
        now = self._clock.now()
        with self._begin() as unit:
            partitions = {record.partition for record in records}
            positions = unit.events.lock_positions(self._group, topic, partitions)
            if behind := _missing(positions, records, joined):
                return Gap(positions=behind)
            fresh = [record for record in records if record.offset >= positions.get(record.partition, 0)]
            if not fresh:
                return Applied()
            decoded = [(record, decode(record)) for record in fresh]
            known = unit.events.known({event.event_id for _, event in decoded if isinstance(event, AdtEvent)})
            rows, outcomes = self._write(unit, sort_records(decoded, known, now), now, known)
            unit.events.advance(self._group, topic, {record.partition: record.offset + 1 for record in fresh})
        effects = tuple((row.feed, row.received_at) for row in rows if row.outcome == EFFECT)
        events = (event for _, event in decoded if isinstance(event, AdtEvent) and event.event_id not in known)
        return Applied(fresh=len(fresh), outcomes=outcomes, effects=effects, source_delays=source_delays(events))

    @run_again
    def replay(self, replacements: Sequence[tuple[DeadLetter, AdtEvent, str]]) -> int:
        """Apply events read anew from dead letters; return how many are no longer dead. Harmless to repeat.

        Each is (the dead letter, the event as it reads now, its acknowledgement code). A letter whose event has
        taken effect meanwhile, because its sender sent it again, is closed. One that was discarded takes effect too:
        nobody replays it but by its name.
        """
        now = self._clock.now()
        readable = [
            (letter, storable(event), ack) for letter, event, ack in replacements if event.intake.outcome not in PARKED
        ]
        with self._begin() as unit:
            places = {letter.place for letter, _, _ in readable}
            resolved = unit.letters.resolve_places(places, REPLAYED, now)
            discarded = unit.letters.revive(places - resolved.keys(), DISCARDED, REPLAYED, now)
            known = dict(unit.events.known({event.event_id for _, event, _ in readable}))
            books = Books()
            for letter, event, ack in readable:
                row = msgspec.structs.replace(
                    event_row(event, letter.place, ack=ack, now=now), reading=digest_of(event)
                )
                if letter.place in resolved:
                    replay_event(books, known, (DEAD_LETTER, resolved[letter.place]), row, event)
                elif letter.place in discarded:
                    replay_event(books, known, (NO_EFFECT, DISCARDED), row, event)
            self._write(unit, books, now, known)
        return len(resolved) + len(discarded)

    @run_again
    def bury(self, record: Record, why: Unusable) -> None:
        """Make a record that cannot be applied a dead letter and pass it.

        Raises:
            Transient: nothing was written; run it again.
            Ambiguous: it may have been written; run it again, the position tells.
        """
        now = self._clock.now()
        with self._begin() as unit:
            positions = unit.events.lock_positions(self._group, record.topic, {record.partition})
            if record.offset >= positions.get(record.partition, 0):
                self._write(unit, sort_records([(record, why)], {}, now), now, ())
                unit.events.advance(self._group, record.topic, {record.partition: record.offset + 1})

    def wake(self, *, limit: int = 500) -> int:
        """Look again at stays whose timer has run out or that a panel load may concern; return how many.

        Any number of processes may do so. A stay that another unit is at work on keeps its timer for the next time:
        to wait for that unit, which may want the timer, would be to wait for each other.
        """
        self._spread()
        return self._wake(limit)

    def _spread(self) -> None:
        """Go a step of the way from the latest panel load to the stays that it may concern; the first is short."""
        try:
            for _ in range(2):
                with self._begin() as unit:
                    if not unit.dues.spread(SPREAD_STAYS):
                        return
        except Transient as error:
            if error.code != CONFLICT:
                raise  # else it is tried again the next time; timers need not wait for it

    @run_again
    def _wake(self, limit: int) -> int:
        now = self._clock.now()
        with self._begin() as unit:
            due = unit.dues.claim(now, limit)
            idle = unit.stays.lock_idle(set(due.values())) if due else set()
            stay_ids = sorted(stay_id for stay_id, source_key in due.items() if source_key in idle)
            if stay_ids:
                unit.dues.drop(stay_ids, now)
                settled = self._follow_up.settle(unit, dict.fromkeys(sorted(idle), ()), now)
                unit.events.tally(Tally(outcomes=settled.restated, acks={}))
        return len(stay_ids)

    def _write(
        self, unit: UnitOfWork, books: Books, now: datetime, known: Collection[str]
    ) -> tuple[list[EventRow], Counter[tuple[str, str]]]:
        """Write everything that a batch comes to; return its rows as kept and how the books moved."""
        unit.letters.bury(books.letters)
        if books.revived:
            unit.letters.resolve_events(books.revived, SUPERSEDED, now)
        rows, outcomes = list(books.rows), books.outcomes
        if books.joined:
            settled = self._follow_up.settle(unit, books.joined, now)
            outcomes.update(settled.restated)
            for row in books.joined_rows:
                outcome, reason = settled.outcomes[row.fragment_key or ""]
                rows.append(msgspec.structs.replace(row, outcome=outcome, reason=reason))
                outcomes[outcome, reason] += 1
        unit.events.record(rows, replacing=known)
        unit.events.note_again(books.earlier, books.newer)
        unit.events.tally(Tally(outcomes={key: moved for key, moved in outcomes.items() if moved}, acks=books.acks))
        return rows, outcomes


def _missing(reached: Mapping[int, int], records: Sequence[Record], joined: Mapping[int, int]) -> dict[int, int]:
    """Return the positions of partitions whose first record does not follow on what was applied."""
    firsts: dict[int, int] = {}
    for record in records:
        firsts.setdefault(record.partition, record.offset)
    return {
        partition: reached.get(partition, 0)
        for partition, first in sorted(firsts.items())
        if first > reached.get(partition, 0) and joined.get(partition, first) > reached.get(partition, 0)
    }
