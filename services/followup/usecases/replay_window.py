"""A window of a replay: which of its messages read otherwise now, and whom that touches.

Whoever a message belonged to as it was read before, or belongs to as it reads now, is touched, and with them everybody
who is known under the same visit number: they are settled together, so they are rebuilt together (a *circle*), and no
task of theirs is withdrawn in one unit and reopened in the next.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.followup.usecases.follow_up import SHARING_ROUNDS_MAX
from services.followup.usecases.ports import HeldEvent, HeldLetter, UnitOfWork
from services.followup.usecases.readings import Reading, is_in_force
from services.followup.usecases.rebuild import Circle
from services.followup.usecases.sorting import PARKED, is_discarded, is_joined
from services.followup.usecases.statements import source_key
from services.followup.usecases.status import ack_of
from services.runtime.errors import Permanent
from services.runtime.eventlog.port import Record

CIRCLE_MESSAGES: Final = 500
"""Circles are put together up to this many messages, so that a unit stays short."""
MESSAGES_MAX: Final = 20_000
"""People with more messages than this are left as they are: nobody is in hospital that often; it is a test patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A circle with its messages as they are held; `too_many` of them: it is left as it is."""

    circle: Circle
    told: tuple[HeldEvent, ...]
    too_many: bool


@dataclass(slots=True)
class Survey:
    """What a window holds: who is touched, whose stays are only looked at again, what only was read by newer rules."""

    held: Mapping[str, HeldEvent] = field(default_factory=dict)
    read: int = 0
    revised: set[str] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    touched: tuple[Touched, ...] = ()


@dataclass(slots=True)
class _Draft:
    """Circles in the making: who is linked with whom, and what comes with whom (`None`: with nobody)."""

    links: list[tuple[str, ...]] = field(default_factory=list)
    loose: dict[str, str | None] = field(default_factory=dict)
    letters: list[tuple[HeldLetter, Reading, str]] = field(default_factory=list)


def survey(
    unit: UnitOfWork, window: Sequence[tuple[Record, Reading]], revision: int, *, feed: str | None = None
) -> Survey:
    """Look at a window's messages, with the rules of a revision; only those that are or were of `feed`, if given.

    Raises:
        Permanent: `normalizer-outdated`.
    """
    found = Survey(held=unit.rebuilds.held({reading.event.event_id for _, reading in window}))
    letters = _letters_of(unit, window)
    draft = _Draft()
    for record, reading in window:
        one = found.held.get(reading.event.event_id)
        if feed is not None and feed not in (reading.event.feed, one.row.feed if one else None):
            continue
        found.read += 1
        if one is not None:
            _sort(found, draft, one, reading, revision)
        elif record.offset in letters and reading.event.intake.outcome not in PARKED:
            draft.letters.append((letters[record.offset], reading, ack_of(record)))
            draft.links.append(_who(reading))
    found.touched = tuple(_circles(unit, draft))
    found.people -= {key for one in found.touched for key in one.circle.people}
    return found


def _letters_of(unit: UnitOfWork, window: Sequence[tuple[Record, Reading]]) -> dict[int, HeldLetter]:
    """Return the open letters between the window's records, where it lies in one partition."""
    if len({record.partition for record, _ in window}) != 1:
        return {}
    first, last = window[0][0], window[-1][0]
    found = unit.rebuilds.letters(first.topic, first.partition, first.offset, last.offset)
    return {offset: held for offset, held in found.items() if held.resolution is None}


def _sort(found: Survey, draft: _Draft, one: HeldEvent, reading: Reading, revision: int) -> None:
    """Put a message with those that read otherwise or with those that do not."""
    row = one.row
    if row.normalizer > revision:
        raise Permanent(
            "normalizer-outdated",
            f"messages were read by rules of revision {row.normalizer} and this release has {revision}: replay with "
            "the release that read them",
        )
    in_place = reading.place == row.place
    if is_discarded(row) or (not in_place and not row.awaiting):
        return  # of a message that came several times the record at its row's place counts
    if in_place and not row.awaiting and is_in_force(reading, row):
        if one.source_key is not None:
            found.people.add(one.source_key)
        if row.normalizer < revision:
            found.revised.add(row.event_id)
        return
    keys = (*_who(reading), *((one.source_key,) if one.source_key is not None else ()))
    draft.links.append(keys)
    if one.source_key is None:
        draft.loose[row.event_id] = keys[0] if keys else None


def _who(reading: Reading) -> tuple[str, ...]:
    """Return whom a message speaks of as it reads now, if it is joined into a stay."""
    return (source_key(reading.event),) if is_joined(reading.event) else ()


def _circles(unit: UnitOfWork, draft: _Draft) -> Iterator[Touched]:
    """Put together who must be rebuilt together, and small circles up to a unit's worth."""
    leaders = _leaders(unit, draft.links)
    told: dict[str, list[HeldEvent]] = {}
    for one in unit.rebuilds.told_of(leaders.keys()) if leaders else ():
        told.setdefault(leaders[one.source_key or ""], []).append(one)
    members: dict[str | None, set[str]] = {None: set()}
    for key, leader in leaders.items():
        members.setdefault(leader, set()).add(key)
    batch: list[str | None] = []
    size = 0
    for who in members:
        n = len(told.get(who or "", ()))
        if batch and size + n > CIRCLE_MESSAGES:
            yield _touched(batch, members, told, draft, leaders)
            batch, size = [], 0
        batch.append(who)
        size += n
    if batch != [None] or any(leader is None for leader in draft.loose.values()) or draft.letters:
        yield _touched(batch, members, told, draft, leaders)


def _touched(
    batch: Sequence[str | None],
    members: Mapping[str | None, set[str]],
    told: Mapping[str, list[HeldEvent]],
    draft: _Draft,
    leaders: Mapping[str, str],
) -> Touched:
    def belongs(key: str | None) -> bool:
        return (None if key is None else leaders[key]) in batch

    circle = Circle(
        people=frozenset(key for leader in batch for key in members[leader]),
        loose=frozenset(event_id for event_id, key in draft.loose.items() if belongs(key)),
        letters=tuple(one for one in draft.letters if belongs(next(iter(_who(one[1])), None))),
    )
    messages = tuple(one for leader in batch if leader is not None for one in told.get(leader, ()))
    return Touched(circle=circle, told=messages, too_many=len(messages) > MESSAGES_MAX)


def _leaders(unit: UnitOfWork, links: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """Return for everybody touched, or known under the same visit number, the leader of their circle."""
    parents: dict[str, str] = {}
    for keys in links:
        _unite(parents, keys)
    seen: set[str] = set()
    by_number: dict[tuple[str | None, str], str] = {}
    for _ in range(SHARING_ROUNDS_MAX):
        fresh = parents.keys() - seen
        if not fresh:
            break
        seen |= fresh
        numbers = unit.rebuilds.visit_numbers(fresh)
        others = unit.stays.sharers({number for _, number in numbers}) - parents.keys() if numbers else set()
        parents |= {key: key for key in others}
        for key, number in numbers | (unit.rebuilds.visit_numbers(others) if others else set()):
            _unite(parents, (key, by_number.setdefault(number, key)))
    return {key: _leader(parents, key) for key in parents}


def _unite(parents: dict[str, str], keys: Iterable[str]) -> None:
    found = [_leader(parents, key) for key in keys]
    for leader in found[1:]:
        parents[leader] = found[0]


def _leader(parents: dict[str, str], key: str) -> str:
    parents.setdefault(key, key)
    while parents[key] != key:
        key = parents[key]
    return key
