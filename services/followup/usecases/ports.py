"""What the use cases need of a store. One unit of work is one database transaction.

Every method takes and gives domain values; rows never leave the store. All are set-based: a batch of up to 500
events costs a fixed handful of statements, never one per event (DESIGN §7). Inside a unit of work everything is
seen as written; a unit that ends by an exception leaves nothing behind.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import msgspec

from services.followup.domain.fragments import Fragment
from services.followup.domain.reconcile import Change
from services.followup.domain.tasks import Task
from services.followup.usecases.panel_ports import CandidateFinder

Place = tuple[str, int, int]
"""Where a record is: topic, partition, its own offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEvent:
    """An event that was applied before."""

    event_id: str
    received_at: datetime
    normalizer: int
    reading: str | None
    outcome: str
    reason: str


class EventRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is kept of one event. `fragment_key` is set where it was joined into a stay's state.

    `reading` is the digest of the reading in force where that is not the one in its record; `awaiting` counts the
    positions at which it came again with a reading of newer rules (`usecases.readings`).
    """

    event_id: str
    topic: str
    partition: int
    offset: int
    normalizer: int
    feed: str | None
    trigger: str | None
    kind: str
    control_id: str | None
    ack: str
    sent_at: datetime | None
    received_at: datetime
    applied_at: datetime
    outcome: str
    reason: str
    fragment_key: str | None
    reading: str | None = None
    awaiting: int = 0

    @property
    def place(self) -> Place:
        """Where its record is."""
        return self.topic, self.partition, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not take effect: where it is, why, and what to do. Never patient data."""

    topic: str
    partition: int
    offset: int
    event_id: str | None
    reason: str
    text: str
    at: datetime

    @property
    def place(self) -> Place:
        """Where its record is."""
        return self.topic, self.partition, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """That somebody did something: to what (`entity`), and what else must be known of it. Never patient data."""

    actor: str
    at: datetime
    action: str
    entity: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Changes of the books: how many log positions moved to (or, negative, from) an outcome; acks by code."""

    outcomes: Mapping[tuple[str, str], int]
    acks: Mapping[str, int]


class EventStore(Protocol):
    """Events, positions and the books."""

    def positions(self, group: str, topic: str) -> dict[int, int]:
        """Return the next offset of each partition seen so far, as it is now; others may move it."""

    def lock_positions(self, group: str, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Lock partitions until the unit ends; return the next offset of those that were reached before.

        Only these wait for each other. Whoever moved a partition first is seen here, so that a consumer which lost
        its partition without knowing it finds its records applied (DESIGN §5).
        """

    def advance(self, group: str, topic: str, positions: Mapping[int, int]) -> None:
        """Set the next offset of partitions."""

    def begin(self, group: str, topic: str, starts: Mapping[int, int]) -> None:
        """Set where partitions that are locked and were never reached are begun; what was before is not counted."""

    def known(self, event_ids: Collection[str]) -> dict[str, KnownEvent]:
        """Return those of the events that were applied before; dead letters among them stay so until the unit ends."""

    def record(self, rows: Sequence[EventRow], *, replacing: Collection[str]) -> None:
        """Keep events: those of `replacing` in the place of what is there, the others anew.

        Raises:
            Transient: `database-conflict`: another unit has recorded one of the others meanwhile.
        """

    def note_again(self, earlier: Mapping[str, datetime], newer: Mapping[str, int]) -> None:
        """Keep of events that came again: the earlier receipt, and how often with a reading of newer rules."""

    def tally(self, change: Tally) -> None:
        """Move the books."""


class DeadLetterStore(Protocol):
    """Dead letters, each at its place in the log: (topic, partition, offset)."""

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters; one that is there already, perhaps closed, is replaced."""

    def resolve_events(self, event_ids: Collection[str], resolution: str, at: datetime) -> None:
        """Close the open dead letters of events."""

    def resolve_places(self, places: Collection[Place], resolution: str, at: datetime) -> dict[Place, str]:
        """Close the open dead letters at places; return the reasons of those that were open."""

    def discard(self, places: Collection[Place], resolution: str, at: datetime) -> dict[Place, str]:
        """Close the open dead letters at places for good, and say so on their events; as `resolve_places`."""

    def revive(self, places: Collection[Place], was: str, resolution: str, at: datetime) -> set[Place]:
        """Close otherwise the letters at places that were closed as `was`; return those."""


class AuditTrail(Protocol):
    """What people and tools did, kept in the transaction of what they did."""

    def keep(self, rows: Sequence[AuditRow]) -> None:
        """Keep audit rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFragment:
    """A fragment and the stay that it is attached to, if any."""

    fragment: Fragment
    stay_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StayRow:
    """A stay as kept: its view (JSON of `StayView`), its link and what follows from it."""

    id: str
    source_key: str
    visit_authority: str | None
    visit_number: str | None
    status: str
    discharged_on: date | None
    view: str
    patient_id: str | None
    match_state: str
    match: str
    follow_up: str
    follow_up_reason: str | None
    outcome: str
    outcome_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewItem:
    """Something a person must decide about a stay."""

    stay_id: str
    kind: str
    reason: str
    evidence: str


class StayStore(Protocol):
    """Fragments, stays and the reviews that stand on them.

    What it reads of source patients stays as it is until the unit ends only if they are locked.
    """

    def lock(self, source_keys: Collection[str]) -> None:
        """Hold source patients until the unit ends, and the panel as it is for them; waits for who holds one."""

    def lock_idle(self, source_keys: Collection[str]) -> set[str]:
        """Hold those of the source patients until the unit ends that nobody else holds; return them."""

    def lock_visits(self, numbers: Collection[tuple[str | None, str]]) -> None:
        """Hold (authority, visit number) pairs until the unit ends, so that whoever else brings one is seen or waits.

        Lock what is brought to a source patient for the first time, before `sharers` is asked.
        """

    def fragments_of(self, source_keys: Collection[str]) -> dict[str, list[StoredFragment]]:
        """Return all fragments of source patients, by source key."""

    def put_fragments(self, fragments: Sequence[Fragment]) -> None:
        """Write joined states, new or changed."""

    def stays_of(self, source_keys: Collection[str]) -> dict[str, list[StayRow]]:
        """Return all stays of source patients, by source key."""

    def sharers(self, numbers: Collection[tuple[str | None, str]]) -> set[str]:
        """Return the source patients with a stay under one of these (authority, visit number) pairs."""

    def put_stays(self, rows: Sequence[StayRow], attached: Mapping[str, str | None], at: datetime) -> None:
        """Write stays and attach fragments (key to stay id, `None` to let it wait)."""

    def restate_events(self, outcomes: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Set the outcome of all events joined into fragments (by fragment key); return how the books moved."""

    def put_reviews(self, stay_ids: Collection[str], items: Sequence[ReviewItem], at: datetime) -> None:
        """Make `items` the open reviews of these stays: opens what is new, closes what has gone."""


class TaskStore(Protocol):
    """Tasks and their history."""

    def tasks_of(self, stay_ids: Collection[str]) -> list[Task]:
        """Return all tasks, open or not, made for stays; until the unit ends nobody else changes them."""

    def apply(self, changes: Sequence[Change], actor: str) -> None:
        """Write changes in the order given, each with its history row."""


class DueStore(Protocol):
    """Timers as rows (promise P4)."""

    def set(self, kind: str, dues: Mapping[str, datetime | None]) -> None:
        """Set (or with `None` drop) the timer of stays, by stay id."""

    def claim(self, now: datetime, limit: int) -> dict[str, str]:
        """Hold timers that are due and that nobody else holds; return their stays with the source patients."""

    def drop(self, stay_ids: Collection[str], now: datetime) -> None:
        """Drop the timers of stays that are due: this unit of work acts on them."""

    def spread(self, limit: int) -> bool:
        """Set a timer for up to `limit` stays that the latest panel load may concern; say whether there is more to do.

        The first step of a load sets none: it waits for the units that looked at the panel before.

        Raises:
            Transient: `database-conflict`: they take too long; try again later.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEvent:
    """An event with the source patient whose stays it is part of, if any."""

    row: EventRow
    source_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLetter:
    """A dead letter, open (`resolution` is `None`) or closed."""

    letter: DeadLetter
    resolution: str | None


class RebuildStore(Protocol):
    """What a replay needs to take joined state apart and put it together again (`usecases.rebuild`)."""

    def held(self, event_ids: Collection[str]) -> dict[str, HeldEvent]:
        """Return events by id, those that are there; in a unit that writes, locked until it ends."""

    def told_of(self, source_keys: Collection[str]) -> list[HeldEvent]:
        """Return all events that are part of the stays of source patients, by place; locked as `held` does."""

    def visit_numbers(self, source_keys: Collection[str]) -> set[tuple[str, tuple[str | None, str]]]:
        """Return the visit numbers of source patients' stays: (source key, (authority, number))."""

    def letters(self, topic: str, partition: int, first: int, last: int) -> dict[int, HeldLetter]:
        """Return the dead letters of a partition from one offset to another, both included, by offset."""

    def awaiting(self, after: str, limit: int) -> list[HeldEvent]:
        """Return events whose reading of newer rules waits, by id, behind an id."""

    def revise(self, event_ids: Collection[str], normalizer: int) -> None:
        """Say of events that rules of this revision read them as they stand."""

    def drop_fragments(self, keys: Collection[str]) -> None:
        """Remove fragments, which no event is part of any more."""


class PurgeStore(Protocol):
    """Stays that nobody has claimed, and their end."""

    def expired(self, before: datetime, limit: int) -> dict[str, set[str]]:
        """Return stays that may go, silent since `before`, by id with the source patients to hold for it."""

    def purge(self, stay_ids: Collection[str], before: datetime) -> int:
        """Take those of the stays away that may still go; return how many. Hold their source patients first."""


class UnitOfWork(Protocol):
    """The stores of one transaction."""

    @property
    def events(self) -> EventStore:
        """Events, positions, books."""

    @property
    def letters(self) -> DeadLetterStore:
        """Dead letters."""

    @property
    def stays(self) -> StayStore:
        """Fragments, stays, reviews."""

    @property
    def tasks(self) -> TaskStore:
        """Tasks."""

    @property
    def dues(self) -> DueStore:
        """Timers."""

    @property
    def rebuilds(self) -> RebuildStore:
        """Joined state, taken apart."""

    @property
    def purges(self) -> PurgeStore:
        """What may be purged."""

    @property
    def audit(self) -> AuditTrail:
        """The audit trail."""

    @property
    def panel(self) -> CandidateFinder:
        """The panel, for matching."""


class Begin(Protocol):
    """Begins a unit of work: commits at the end of the block, rolls back if an exception leaves it."""

    def __call__(self) -> AbstractContextManager[UnitOfWork]:
        """Begin.

        Raises:
            Transient: nothing was written; the whole unit may be run again. `database-conflict`: it met another one
                and is run again at once (`usecases.again`); else the database is away or busy.
            Ambiguous: `database-write-unknown`: the connection was lost or the disk failed at the commit.
        """
