"""Rebuild source patients whose messages read otherwise now: forget what was joined, join all of it again.

Joined state cannot be subtracted from: what one reading said stays in it. So everything that was ever said of a person
is joined again from the log, not only what reads otherwise, in one unit of work, through the same use case that joined
it first (`FollowUp.settle`). Promises:

- The state is that of a database that was told the readings of now from the start; what people did stays with the
  stay that its messages tell of now.
- No stay is lost: a fragment with a message whose record the log has no more is kept as it is, with all its messages.
- Twice changes nothing: an event's row marks the reading in force.
- Letters that a person discarded stay closed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec

from services.followup.domain.fragments import Fragment
from services.followup.domain.reconcile import Change
from services.followup.usecases.follow_up import FollowUp, Retold, Settled
from services.followup.usecases.ports import DeadLetter, EventRow, HeldEvent, HeldLetter, Tally, UnitOfWork
from services.followup.usecases.readings import Reading
from services.followup.usecases.sorting import (
    AWAITS_REPLAY,
    DEAD_LETTER,
    DUPLICATE,
    NO_EFFECT,
    REPLAYED,
    Books,
    event_row,
    is_discarded,
    is_joined,
    place,
    replay_event,
)
from services.followup.usecases.statements import source_key

_TAKES_EFFECT: Final = "effect"


class Stale(Exception):  # noqa: N818 - not an error: more has come meanwhile, read that too and run the unit again
    """Messages of these people have come that were not read anew yet."""

    def __init__(self, missing: Sequence[HeldEvent]) -> None:
        super().__init__(f"{len(missing)} messages were not read anew yet")
        self.missing = missing


ReadLate = Callable[[Sequence[HeldEvent]], Mapping[str, Reading | None]]
"""Reads messages anew, by event id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """What is rebuilt in one unit: people, messages that are part of no stay, and letters without an event."""

    people: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    letters: tuple[tuple[HeldLetter, Reading, str], ...] = ()
    """Each with its reading now and the acknowledgement code of its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a unit changed."""

    stays: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()
    revived: int = 0
    buried: int = 0
    kept: int = 0
    """Messages that stand as they were read before, because they share a fragment with one whose record is gone."""


@dataclass(slots=True)
class _Retelling:
    """The messages of some people read anew: where each belongs, and what must be forgotten for it."""

    books: Books = field(default_factory=Books)
    before: dict[str, EventRow] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    moved: dict[str, set[str]] = field(default_factory=dict)
    kept: int = 0


class Rebuild:
    """The use case; runs inside a unit of work of its caller."""

    def __init__(self, follow_up: FollowUp) -> None:
        self._follow_up = follow_up

    def settle(self, unit: UnitOfWork, people: Iterable[str], now: datetime) -> Rebuilt:
        """Bring up to date what follows for people whose messages read as before: the protocol may have changed."""
        settled = self._follow_up.settle(unit, dict.fromkeys(people, ()), now)
        _tally(unit, Counter(settled.restated))
        return Rebuilt(stays=settled.stays, changes=settled.changes)

    def run(
        self,
        unit: UnitOfWork,
        circle: Circle,
        readings: Mapping[str, Reading | None],
        now: datetime,
        *,
        read_late: ReadLate | None = None,
    ) -> Rebuilt:
        """Rebuild a circle; `readings` holds its messages read anew, `None` where the record is gone.

        `read_late` reads what has come since, while everybody who has more of these people waits.

        Raises:
            Stale: more has come, and nothing reads it; nothing may be written in this unit.
        """
        unit.stays.lock(circle.people | _told_now(circle, readings))
        held = {one.row.event_id: one for one in unit.rebuilds.told_of(circle.people)}
        held |= unit.rebuilds.held(circle.loose)
        missing = [one for key, one in held.items() if not _is_read(one.row, readings)]
        if missing:
            if read_late is None:
                raise Stale(missing)
            readings = {**readings, **read_late(missing)}
        retelling = _retell(held.values(), readings)
        letters = _replay_letters(unit, circle, retelling, now)
        pieces: dict[str, list[Fragment]] = {key: [] for key in circle.people}
        for joined in (retelling.books.joined, letters.joined):
            for key, fragments in joined.items():
                pieces.setdefault(key, []).extend(fragments)
        retold = Retold(dropped=frozenset(retelling.dropped), moved=retelling.moved)
        settled = self._follow_up.settle(unit, pieces, now, retold)
        return _keep(unit, retelling, letters, settled, now)


def _told_now(circle: Circle, readings: Mapping[str, Reading | None]) -> set[str]:
    """Return the source patients that messages speak of as they read now."""
    now = [one.event for one in readings.values() if one is not None]
    now += [reading.event for _, reading, _ in circle.letters]
    return {source_key(event) for event in now if is_joined(event)}


def _is_read(row: EventRow, readings: Mapping[str, Reading | None]) -> bool:
    """Say whether the record at an event's place was read, also where it was found to be gone."""
    reading = readings.get(row.event_id)
    return row.event_id in readings and (reading is None or reading.place == row.place)


def _retell(held: Iterable[HeldEvent], readings: Mapping[str, Reading | None]) -> _Retelling:
    """Put every message where it belongs as it reads now. Pure."""
    retelling = _Retelling()
    messages = list(held)
    frozen = {one.row.fragment_key for one in messages if readings[one.row.event_id] is None}
    for one in messages:
        row, reading = one.row, readings[one.row.event_id]
        if is_discarded(row):
            continue
        if reading is None or (row.fragment_key is not None and row.fragment_key in frozen):
            retelling.kept += 1
            continue
        retelling.before[row.event_id] = row
        if row.fragment_key is not None:
            retelling.dropped.add(row.fragment_key)
        event = msgspec.structs.replace(reading.event, received_at=row.received_at)
        now_row = event_row(event, reading.place, ack=row.ack, now=row.applied_at)
        place(retelling.books, msgspec.structs.replace(now_row, reading=reading.mark), event)
    for row in retelling.books.joined_rows:
        was = retelling.before[row.event_id].fragment_key
        if was is not None and row.fragment_key is not None:
            retelling.moved.setdefault(was, set()).add(row.fragment_key)
    return retelling


def _replay_letters(unit: UnitOfWork, circle: Circle, retelling: _Retelling, now: datetime) -> Books:
    """Put the messages of open letters that had no event where they belong; empty if they were closed meanwhile."""
    books = Books()
    places = {held.letter.place for held, _, _ in circle.letters}
    resolved = unit.letters.resolve_places(places, REPLAYED, now)
    known = dict(unit.events.known({one.event.event_id for _, one, _ in circle.letters}))
    for event_id in known.keys() & retelling.before.keys():  # takes effect at its own place, in this very unit
        known[event_id] = replace(known[event_id], outcome=_TAKES_EFFECT, reason="")
    for held, reading, ack in circle.letters:
        if held.letter.place in resolved:
            row = event_row(reading.event, held.letter.place, ack=ack, now=now)
            was = (DEAD_LETTER, resolved[held.letter.place])
            replay_event(books, known, was, msgspec.structs.replace(row, reading=reading.mark), reading.event)
    return books


def _keep(unit: UnitOfWork, retelling: _Retelling, letters: Books, settled: Settled, now: datetime) -> Rebuilt:
    """Write the rows of events, the letters and the books; remove the fragments that nothing is part of any more."""
    outcomes = Counter(settled.restated)
    outcomes.update(letters.outcomes)
    alive = [*letters.rows, *(_with_outcome(row, settled) for row in letters.joined_rows)]
    outcomes.update((row.outcome, row.reason) for row in alive[len(letters.rows) :])
    rows, revived = list(alive), set[str]()
    restated = unit.events.known(retelling.before.keys())  # settling has restated some of them already
    retold = [*retelling.books.rows, *(_with_outcome(row, settled) for row in retelling.books.joined_rows)]
    for row in retold:
        known = restated[row.event_id]
        before = msgspec.structs.replace(retelling.before[row.event_id], outcome=known.outcome, reason=known.reason)
        if row != before:
            rows.append(row)
            _move(outcomes, before, row)
        if before.outcome == DEAD_LETTER != row.outcome:
            revived.add(row.event_id)
    died, buried = _new_letters(retelling, now)
    unit.events.record(rows, replacing={row.event_id for row in rows})
    unit.letters.resolve_events(revived, REPLAYED, now)
    unit.letters.bury(buried)
    unit.rebuilds.drop_fragments(retelling.dropped - settled.outcomes.keys())
    _tally(unit, outcomes)
    return Rebuilt(
        stays=settled.stays,
        changes=settled.changes,
        revived=len(revived) + len(alive),
        buried=died,
        kept=retelling.kept,
    )


def _with_outcome(row: EventRow, settled: Settled) -> EventRow:
    outcome, reason = settled.outcomes[row.fragment_key or ""]
    return msgspec.structs.replace(row, outcome=outcome, reason=reason)


def _move(outcomes: Counter[tuple[str, str]], before: EventRow, after: EventRow) -> None:
    """Move the books from one state of an event to another; what waited for it is a duplicate now."""
    outcomes[before.outcome, before.reason] -= 1
    outcomes[after.outcome, after.reason] += 1
    outcomes[NO_EFFECT, AWAITS_REPLAY] -= before.awaiting
    outcomes[NO_EFFECT, DUPLICATE] += before.awaiting


def _new_letters(retelling: _Retelling, now: datetime) -> tuple[int, list[DeadLetter]]:
    """Return the letters that are new or have another reason, and how many of them are of messages that had none."""
    died, buried = 0, []
    for letter in retelling.books.letters:
        before = retelling.before[letter.event_id or ""]
        died += before.outcome != DEAD_LETTER
        if (before.outcome, before.reason) != (DEAD_LETTER, letter.reason):
            buried.append(replace(letter, at=now))
    return died, buried


def _tally(unit: UnitOfWork, outcomes: Counter[tuple[str, str]]) -> None:
    moved = {key: n for key, n in outcomes.items() if n}
    if moved:
        unit.events.tally(Tally(outcomes=moved, acks={}))
