"""Events, positions and the books, on SQLAlchemy Core (ports: `usecases.ports.EventStore`, `DeadLetterStore`)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.followup.store.statements import add_counts, among, upsert, values_of
from services.followup.store.tables import (
    Instant,
    ack_count,
    dead_letter,
    event,
    fragment,
    outcome_count,
    stream_position,
)
from services.followup.usecases.again import CONFLICT
from services.followup.usecases.ports import DeadLetter, EventRow, KnownEvent, Place, Tally
from services.followup.usecases.sorting import DEAD_LETTER, NO_EFFECT
from services.runtime.database import is_postgresql
from services.runtime.errors import Transient

_EVENT_COLUMNS = tuple(column.name for column in event.columns if column.name != "event_id")
_PLACE = ("topic", "partition", "offset")
_LETTER_COLUMNS = tuple(column.name for column in dead_letter.columns if column.name not in _PLACE)


class SqlEventStore:
    """The event tables within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def positions(self, group: str, topic: str) -> dict[int, int]:
        """Return the next offset of each partition seen so far, as it is now; others may move it."""
        return {row.partition: row.next_offset for row in self._connection.execute(_positions(group, topic))}

    def lock_positions(self, group: str, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Lock partitions until the unit ends; return the next offset of those that were reached before."""
        found = self._locked_positions(group, topic, partitions)
        made = self._make_positions(group, topic, sorted(set(partitions) - found.keys()))
        if len(found) + len(made) < len(set(partitions)):  # others made theirs meanwhile
            found = self._locked_positions(group, topic, partitions)
        return {partition: offset for partition, offset in found.items() if partition not in made}

    def _locked_positions(self, group: str, topic: str, partitions: Collection[int]) -> dict[int, int]:
        place = stream_position.c.partition
        statement = (
            _positions(group, topic).where(among(self._connection, place, sorted(set(partitions)))).order_by(place)
        )
        return {row.partition: row.next_offset for row in self._connection.execute(statement.with_for_update())}

    def _make_positions(self, group: str, topic: str, partitions: Sequence[int]) -> set[int]:
        """Make the rows of partitions that were never reached, which locks them; return those that were not there."""
        keys = ("consumer_group", "topic", "partition")
        return {
            partition
            for partition in partitions
            if upsert(
                self._connection,
                stream_position,
                [{**dict(zip(keys, (group, topic, partition), strict=True)), "next_offset": 0}],
                keys=keys,
            )
        }

    def advance(self, group: str, topic: str, positions: Mapping[int, int]) -> None:
        """Set the next offset of partitions."""
        rows = [
            {"consumer_group": group, "topic": topic, "partition": partition, "next_offset": offset}
            for partition, offset in sorted(positions.items())
        ]
        keys = ("consumer_group", "topic", "partition")
        upsert(self._connection, stream_position, rows, keys=keys, update=("next_offset",))

    def begin(self, group: str, topic: str, starts: Mapping[int, int]) -> None:
        """Set where partitions that are locked and were never reached are begun."""
        place = stream_position.c
        for partition, start in sorted(starts.items()):
            self._connection.execute(
                sa.update(stream_position)
                .where(place.consumer_group == group, place.topic == topic, place.partition == partition)
                .values(next_offset=start, first_offset=start)
            )

    def known(self, event_ids: Collection[str]) -> dict[str, KnownEvent]:
        """Return those of the events that were applied before; dead letters among them stay so until the unit ends."""
        columns = [event.c[name] for name in KnownEvent.__dataclass_fields__]
        statement = sa.select(*columns).order_by(event.c.event_id)
        found = self._known(statement.where(among(self._connection, event.c.event_id, event_ids)))
        dead = [one.event_id for one in found.values() if one.outcome == DEAD_LETTER]
        if dead and is_postgresql(self._connection):
            locked = statement.where(among(self._connection, event.c.event_id, dead)).with_for_update(key_share=True)
            found |= self._known(locked)
        return found

    def _known(self, statement: sa.Select[tuple[Any, ...]]) -> dict[str, KnownEvent]:
        rows = self._connection.execute(statement)
        return {row.event_id: KnownEvent(**row._mapping) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name

    def record(self, rows: Sequence[EventRow], *, replacing: Collection[str]) -> None:
        """Keep events: those of `replacing` in the place of what is there, the others anew."""
        fragment_ids = self._fragment_ids({row.fragment_key for row in rows if row.fragment_key})
        values = []
        latest = {row.event_id: row for row in rows}  # a dead letter may have come alive within the batch
        for _, row in sorted(latest.items()):
            value = values_of(row)
            key = value.pop("fragment_key")
            values.append({**value, "fragment_id": fragment_ids[key] if key else None})
        new = [value for value in values if value["event_id"] not in replacing]
        if upsert(self._connection, event, new, keys=("event_id",)) < len(new):
            raise Transient(CONFLICT, "another unit of work has recorded the same message meanwhile")
        replaced = [value for value in values if value["event_id"] in replacing]
        upsert(self._connection, event, replaced, keys=("event_id",), update=_EVENT_COLUMNS)

    def note_again(self, earlier: Mapping[str, datetime], newer: Mapping[str, int]) -> None:
        """Keep of events that came again: the earlier receipt, and how often with a reading of newer rules."""
        this = event.c.event_id == sa.bindparam("id")
        if earlier:
            received = sa.update(event).where(this, event.c.received_at > sa.bindparam("at", type_=Instant))
            received = received.values(received_at=sa.bindparam("at", type_=Instant))
            self._connection.execute(received, [{"id": key, "at": at} for key, at in sorted(earlier.items())])
        if newer:
            waits = sa.update(event).where(this).values(awaiting=event.c.awaiting + sa.bindparam("n"))
            self._connection.execute(waits, [{"id": key, "n": n} for key, n in sorted(newer.items())])

    def _fragment_ids(self, keys: Collection[str]) -> dict[str, int]:
        if not keys:
            return {}
        of_keys = among(self._connection, fragment.c.key, keys)
        rows = self._connection.execute(sa.select(fragment.c.key, fragment.c.id).where(of_keys))
        return {row.key: row.id for row in rows}

    def tally(self, change: Tally) -> None:
        """Move the books."""
        outcomes = [(*key, moved) for key, moved in sorted(change.outcomes.items())]
        add_counts(self._connection, outcome_count, ("outcome", "reason"), outcomes)
        add_counts(self._connection, ack_count, ("code",), sorted(change.acks.items()))


def _positions(group: str, topic: str) -> sa.Select[tuple[int, int]]:
    place = stream_position.c
    return sa.select(place.partition, place.next_offset).where(place.consumer_group == group, place.topic == topic)


class SqlDeadLetterStore:
    """The dead letters within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters; one that is there already, perhaps closed, is replaced."""
        rows = [{**values_of(letter), "resolved_at": None, "resolution": None} for letter in letters]
        upsert(self._connection, dead_letter, rows, keys=_PLACE, update=_LETTER_COLUMNS)

    def resolve_events(self, event_ids: Collection[str], resolution: str, at: datetime) -> None:
        """Close the open dead letters of events."""
        theirs = sa.and_(
            among(self._connection, dead_letter.c.event_id, event_ids), dead_letter.c.resolved_at.is_(None)
        )
        self._connection.execute(sa.update(dead_letter).where(theirs).values(resolved_at=at, resolution=resolution))

    def resolve_places(self, places: Collection[Place], resolution: str, at: datetime) -> dict[Place, str]:
        """Close the open dead letters at places; return the reasons of those that were open.

        A person's few: one statement each.
        """
        reasons = {place: self._close(_at(dead_letter, place), resolution, at) for place in sorted(places)}
        return {place: reason for place, reason in reasons.items() if reason is not None}

    def discard(self, places: Collection[Place], resolution: str, at: datetime) -> dict[Place, str]:
        """Close the open dead letters at places for good, and say so on their events; as `resolve_places`."""
        reasons = self.resolve_places(places, resolution, at)
        for place in reasons:
            dead = sa.and_(_at(event, place), event.c.outcome == DEAD_LETTER)
            self._connection.execute(sa.update(event).where(dead).values(outcome=NO_EFFECT, reason=resolution))
        return reasons

    def revive(self, places: Collection[Place], was: str, resolution: str, at: datetime) -> set[Place]:
        """Close otherwise the letters at places that were closed as `was`; return those."""
        revived = set()
        for place in sorted(places):
            closed = sa.and_(_at(dead_letter, place), dead_letter.c.resolution == was)
            statement = sa.update(dead_letter).where(closed).values(resolved_at=at, resolution=resolution)
            if self._connection.execute(statement).rowcount:
                revived.add(place)
        return revived

    def _close(self, condition: sa.ColumnElement[bool], resolution: str, at: datetime) -> str | None:
        statement = sa.update(dead_letter).where(condition, dead_letter.c.resolved_at.is_(None))
        closed = statement.values(resolved_at=at, resolution=resolution).returning(dead_letter.c.reason)
        return self._connection.execute(closed).scalar_one_or_none()


def _at(table: sa.Table, place: Place) -> sa.ColumnElement[bool]:
    """Return the condition that a row is of the record at a place."""
    topic, partition, offset = place
    return sa.and_(table.c.topic == topic, table.c.partition == partition, table.c.offset == offset)
