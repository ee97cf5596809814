"""Joined state taken apart, for a replay to put together again (port: `usecases.ports.RebuildStore`)."""

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from services.followup.store.statements import among
from services.followup.store.tables import dead_letter, event, fragment, source_patient, stay
from services.followup.usecases.ports import DeadLetter, EventRow, HeldEvent, HeldLetter

_EVENT = tuple(name for name in EventRow.__struct_fields__ if name != "fragment_key")
_LETTER = tuple(DeadLetter.__dataclass_fields__)

_EVENTS = (
    sa.select(
        *(event.c[name] for name in _EVENT),
        fragment.c.key.label("fragment_key"),
        source_patient.c.key.label("source_key"),
    )
    .join_from(event, fragment, event.c.fragment_id == fragment.c.id, isouter=True)
    .join(source_patient, fragment.c.source_patient_id == source_patient.c.id, isouter=True)
)  # fmt: skip


class SqlRebuildStore:
    """What a replay reads and drops, within one transaction; `writes` says whether it may lock."""

    def __init__(self, connection: sa.Connection, *, writes: bool = True) -> None:
        self._connection = connection
        self._writes = writes

    def held(self, event_ids: Collection[str]) -> dict[str, HeldEvent]:
        """Return events by id, those that are there; in a unit that writes, locked until it ends."""
        statement = _EVENTS.where(among(self._connection, event.c.event_id, event_ids)).order_by(event.c.event_id)
        return {one.row.event_id: one for one in self._held(statement)}

    def told_of(self, source_keys: Collection[str]) -> list[HeldEvent]:
        """Return all events that are part of the stays of source patients, by place; locked as `held` does."""
        theirs = _EVENTS.where(among(self._connection, source_patient.c.key, source_keys))
        return list(self._held(theirs.order_by(event.c.topic, event.c.partition, event.c.offset)))

    def visit_numbers(self, source_keys: Collection[str]) -> set[tuple[str, tuple[str | None, str]]]:
        """Return the visit numbers of source patients' stays: (source key, (authority, number))."""
        statement = (
            sa.select(source_patient.c.key, stay.c.visit_authority, stay.c.visit_number)
            .distinct()
            .join_from(source_patient, fragment, fragment.c.source_patient_id == source_patient.c.id)
            .join(stay, fragment.c.stay_id == stay.c.id)
            .where(among(self._connection, source_patient.c.key, source_keys), stay.c.visit_number.is_not(None))
        )
        return {(key, (authority, number)) for key, authority, number in self._connection.execute(statement)}

    def letters(self, topic: str, partition: int, first: int, last: int) -> dict[int, HeldLetter]:
        """Return the dead letters of a partition from one offset to another, both included, by offset."""
        columns = [dead_letter.c[name] for name in (*_LETTER, "resolution")]
        statement = sa.select(*columns).where(
            dead_letter.c.topic == topic,
            dead_letter.c.partition == partition,
            dead_letter.c.offset.between(first, last),
        )
        found = {}
        for row in self._connection.execute(statement).mappings():
            letter = DeadLetter(**{name: row[name] for name in _LETTER})
            found[letter.offset] = HeldLetter(letter=letter, resolution=row["resolution"])
        return found

    def awaiting(self, after: str, limit: int) -> list[HeldEvent]:
        """Return events whose reading of newer rules waits, by id, behind an id."""
        waits = _EVENTS.where(event.c.awaiting > 0, event.c.event_id > after)
        return list(self._held(waits.order_by(event.c.event_id).limit(limit)))

    def revise(self, event_ids: Collection[str], normalizer: int) -> None:
        """Say of events that rules of this revision read them as they stand."""
        if event_ids:
            theirs = sa.update(event).where(among(self._connection, event.c.event_id, event_ids))
            self._connection.execute(theirs.values(normalizer=normalizer))

    def drop_fragments(self, keys: Collection[str]) -> None:
        """Remove fragments, which no event is part of any more."""
        if keys:
            self._connection.execute(sa.delete(fragment).where(among(self._connection, fragment.c.key, keys)))

    def _held(self, statement: sa.Select[tuple[object, ...]]) -> Iterable[HeldEvent]:
        if self._writes:  # a duplicate of one may come meanwhile, and is noted on its row
            statement = statement.with_for_update(of=event, key_share=True)
        for row in self._connection.execute(statement).mappings():
            values = dict(row)
            source_key = values.pop("source_key")
            yield HeldEvent(row=EventRow(**values), source_key=source_key)
