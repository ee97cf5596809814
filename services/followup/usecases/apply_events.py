"""Apply a batch of records: at-least-once in, exactly-once effect.

Promise (house style 11): an event is claimed in the transaction of its effects and of its position. Running a batch
twice, or part of it again, changes nothing. The books move in the same transaction, so they always balance.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from schemas.events import AdtEvent
from services.followup.usecases.again import run_again
from services.followup.usecases.follow_up import FollowUp
from services.followup.usecases.ports import Begin, DeadLetter, Tally, UnitOfWork
from services.followup.usecases.sorting import (
    DEAD_LETTER,
    DISCARDED,
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
from services.runtime.clock import Clock
from services.runtime.eventlog.port import Record


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
    def handle(self, topic: str, records: Sequence[Record]) -> int:
        """Apply records of one topic, ascending by offset in each partition; return how many were new to the group.

        Raises:
            Transient: nothing was applied; run it again.
        """
        now = self._clock.now()
        with self._begin() as unit:
            partitions = {record.partition for record in records}
            positions = unit.events.lock_positions(self._group, topic, partitions)
            fresh = [record for record in records if record.offset >= positions.get(record.partition, 0)]
            if fresh:
                decoded = [(record, decode(record)) for record in fresh]
                known = unit.events.known({event.event_id for _, event in decoded if isinstance(event, AdtEvent)})
                self._write(unit, sort_records(decoded, known, now), now)
                unit.events.advance(self._group, topic, {record.partition: record.offset + 1 for record in fresh})
        return len(fresh)

    @run_again
    def replay(self, replacements: Sequence[tuple[DeadLetter, AdtEvent, str]]) -> int:
        """Apply events read anew from dead letters; return how many are no longer dead. Harmless to repeat.

        Each is (the dead letter, the event as it reads now, its acknowledgement code). A letter whose event has
        taken effect meanwhile, because its sender sent it again, is closed. One that was discarded takes effect too:
        nobody replays it but by its name.
        """
        now = self._clock.now()
        readable = [item for item in replacements if item[1].intake.outcome not in PARKED]
        with self._begin() as unit:
            places = {letter.place for letter, _, _ in readable}
            resolved = unit.letters.resolve_places(places, REPLAYED, now)
            discarded = unit.letters.revive(places - resolved.keys(), DISCARDED, REPLAYED, now)
            known = dict(unit.events.known({event.event_id for _, event, _ in readable}))
            books = Books()
            for letter, event, ack in readable:
                row = event_row(event, letter.place, ack=ack, now=now)
                if letter.place in resolved:
                    replay_event(books, known, (DEAD_LETTER, resolved[letter.place]), row, event)
                elif letter.place in discarded:
                    replay_event(books, known, (NO_EFFECT, DISCARDED), row, event)
            self._write(unit, books, now)
        return len(resolved) + len(discarded)

    @run_again
    def bury(self, record: Record, why: Unusable) -> None:
        """Make a record that cannot be applied a dead letter and pass it.

        Raises:
            Transient: nothing was written; run it again.
        """
        now = self._clock.now()
        with self._begin() as unit:
            positions = unit.events.lock_positions(self._group, record.topic, {record.partition})
            if record.offset >= positions.get(record.partition, 0):
                self._write(unit, sort_records([(record, why)], {}, now), now)
                unit.events.advance(self._group, record.topic, {record.partition: record.offset + 1})

    @run_again
    def wake(self, *, limit: int = 500) -> int:
        """Look again at stays whose timer has run out or that a panel load may have touched; return how many."""
        now = self._clock.now()
        with self._begin() as unit:
            stay_ids = unit.dues.take(now, limit)
            if stay_ids:
                settled = self._follow_up.settle(unit, dict.fromkeys(unit.stays.source_keys_of(stay_ids), ()), now)
                unit.events.tally(Tally(outcomes=settled.restated, acks={}))
        return len(stay_ids)

    def _write(self, unit: UnitOfWork, books: Books, now: datetime) -> None:
        unit.letters.bury(books.letters)
        if books.revived:
            unit.letters.resolve_events(books.revived, SUPERSEDED, now)
        rows, outcomes = list(books.rows), books.outcomes
        if books.joined:
            settled = self._follow_up.settle(unit, books.joined, now)
            outcomes.update(settled.restated)
            for row in books.joined_rows:
                outcome, reason = settled.outcomes[row.fragment_key or ""]
                rows.append(replace(row, outcome=outcome, reason=reason))
                outcomes[outcome, reason] += 1
        unit.events.record(rows)
        unit.events.tally(Tally(outcomes={key: moved for key, moved in outcomes.items() if moved}, acks=books.acks))
