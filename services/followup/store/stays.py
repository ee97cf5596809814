"""Fragments, stays and the reviews that stand on them (port: `usecases.ports.StayStore`).

On PostgreSQL units run beside each other, and what one reads must not be changed by another before it writes. So a
unit locks, in this order and each in one order of its own: its source patients, with those they share a stay with;
the visit numbers that it is the first to bring to a source patient; the source patients known under them. Only the
last may find one that another unit holds which waits for us; the database then ends one of the two, and it is run
again. SQLite has one writer at a time and locks nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa

from services.followup.domain.fragments import Fragment
from services.followup.store.locks import Lock, share
from services.followup.store.statements import among, as_json, insert, upsert, values_of
from services.followup.store.tables import event, fragment, review, source_patient, stay
from services.followup.usecases.ports import ReviewItem, StayRow, StoredFragment
from services.runtime.database import is_postgresql

_decode_fragment = msgspec.json.Decoder(Fragment).decode
_encode = msgspec.json.Encoder().encode

_STAY_COLUMNS: Final = (
    "visit_authority", "visit_number", "status", "discharged_on", "view", "patient_id", "match_state", "match",
    "follow_up", "follow_up_reason", "outcome", "outcome_reason",
)  # fmt: skip


_MAKE_SOURCES: Final = sa.text("""
    INSERT INTO source_patient (key)
    SELECT wanted.key FROM unnest(CAST(:keys AS text[])) AS wanted (key)
    WHERE NOT EXISTS (SELECT 1 FROM source_patient AS s WHERE s.key = wanted.key)
    ON CONFLICT DO NOTHING
""")
_LOCK_SOURCES: Final = sa.text("""
    WITH own AS MATERIALIZED (SELECT id FROM source_patient WHERE key = ANY(CAST(:keys AS text[]))),
    near AS MATERIALIZED (
        SELECT other.source_patient_id AS id
        FROM own
        JOIN fragment AS mine ON mine.source_patient_id = own.id
        JOIN fragment AS other ON other.stay_id = mine.stay_id AND other.source_patient_id <> own.id)
    SELECT s.id, s.key FROM source_patient AS s
    WHERE s.id = ANY(ARRAY(SELECT id FROM own UNION SELECT id FROM near))
    ORDER BY s.id FOR NO KEY UPDATE
""")
_LOCK_IDLE_SOURCES: Final = sa.text("""
    SELECT id, key FROM source_patient WHERE key = ANY(CAST(:keys AS text[]))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
""")
_LOCK_VISITS: Final = sa.text("""
    INSERT INTO visit_lock (key) SELECT unnest(CAST(:keys AS bigint[]))
    ON CONFLICT (key) DO UPDATE SET key = excluded.key
""")
_ATTACH: Final = sa.text(
    "UPDATE fragment SET stay_id = r.stay_id FROM json_to_recordset(CAST(:rows AS json)) AS r (key text, stay_id text) "
    "WHERE fragment.key = r.key"
)


class SqlStayStore:
    """The stay tables within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._source_ids: dict[str, int] = {}

    def lock(self, source_keys: Collection[str]) -> None:
        """Make source patients known and hold them until the unit ends; waits for who holds one."""
        share(self._connection, Lock.PANEL_USE)
        if is_postgresql(self._connection):
            keys = {"keys": sorted(source_keys)}
            self._connection.execute(_MAKE_SOURCES, keys)
            self._source_ids |= {key: found for found, key in self._connection.execute(_LOCK_SOURCES, keys)}
        else:
            self._make_sources(source_keys)

    def lock_idle(self, source_keys: Collection[str]) -> set[str]:
        """Hold those of the source patients until the unit ends that nobody else holds; return them."""
        share(self._connection, Lock.PANEL_USE)
        if not is_postgresql(self._connection):
            return set(source_keys)
        rows = self._connection.execute(_LOCK_IDLE_SOURCES, {"keys": sorted(source_keys)})
        return {row.key for row in rows}

    def lock_visits(self, numbers: Collection[tuple[str | None, str]]) -> None:
        """Hold visit numbers until the unit ends, so that whoever else brings one is seen or waits."""
        if numbers and is_postgresql(self._connection):
            self._connection.execute(_LOCK_VISITS, {"keys": sorted(map(_visit_key, numbers))})

    def fragments_of(self, source_keys: Collection[str]) -> dict[str, list[StoredFragment]]:
        """Return all fragments of source patients, by source key."""
        statement = (
            sa.select(source_patient.c.key, fragment.c.state, fragment.c.stay_id)
            .join_from(source_patient, fragment, fragment.c.source_patient_id == source_patient.c.id)
            .where(among(self._connection, source_patient.c.key, source_keys))
            .order_by(fragment.c.key)
        )
        found: dict[str, list[StoredFragment]] = {key: [] for key in source_keys}
        for key, state, stay_id in self._connection.execute(statement):
            found[key].append(StoredFragment(fragment=_decode_fragment(state), stay_id=stay_id))
        return found

    def put_fragments(self, fragments: Sequence[Fragment]) -> None:
        """Write joined states, new or changed."""
        source_ids = self._ids_of({one.source_key for one in fragments})
        rows = [
            {
                "key": one.key,
                "source_patient_id": source_ids[one.source_key],
                "state": _encode(one).decode(),
                "stay_id": None,
            }
            for one in sorted(fragments, key=lambda one: one.key)
        ]
        upsert(self._connection, fragment, rows, keys=("key",), update=("state",))

    def _ids_of(self, keys: set[str]) -> Mapping[str, int]:
        if not keys <= self._source_ids.keys():
            self._make_sources(keys)
        return self._source_ids

    def _make_sources(self, keys: Collection[str]) -> None:
        upsert(self._connection, source_patient, [{"key": key} for key in sorted(keys)], keys=("key",))
        columns = (source_patient.c.key, source_patient.c.id)
        rows = self._connection.execute(sa.select(*columns).where(among(self._connection, columns[0], keys)))
        self._source_ids |= {row.key: row.id for row in rows}

    def stays_of(self, source_keys: Collection[str]) -> dict[str, list[StayRow]]:
        """Return all stays of source patients, by source key."""
        found: dict[str, list[StayRow]] = {key: [] for key in source_keys}
        for row in self._stays(among(self._connection, source_patient.c.key, source_keys)):
            found[row.source_key].append(row)
        return found

    def sharers(self, numbers: Collection[tuple[str | None, str]]) -> set[str]:
        """Return the source patients with a stay under one of these (authority, visit number) pairs."""
        statement = (
            sa.select(stay.c.visit_authority, stay.c.visit_number, source_patient.c.key)
            .distinct()
            .join_from(stay, fragment, fragment.c.stay_id == stay.c.id)
            .join(source_patient, fragment.c.source_patient_id == source_patient.c.id)
            .where(among(self._connection, stay.c.visit_number, {number for _, number in numbers}))
        )
        rows = self._connection.execute(statement)
        return {key for authority, number, key in rows if (authority, number) in numbers}

    def _stays(self, condition: sa.ColumnElement[bool]) -> Iterable[StayRow]:
        columns = (stay.c.id, *(stay.c[name] for name in _STAY_COLUMNS), source_patient.c.key.label("source_key"))
        statement = (
            sa.select(*columns)
            .join_from(stay, source_patient, stay.c.source_patient_id == source_patient.c.id)
            .where(condition)
            .order_by(stay.c.id)
        )
        return [StayRow(**row) for row in self._connection.execute(statement).mappings()]

    def put_stays(
        self,
        rows: Sequence[StayRow],
        attached: Mapping[str, str | None],
        at: datetime,
    ) -> None:
        """Write stays and attach fragments (key to stay id, `None` to let it wait)."""
        source_ids = self._ids_of({row.source_key for row in rows})
        values = []
        for row in sorted(rows, key=lambda one: one.id):
            value = values_of(row)
            source_key = value.pop("source_key")
            values.append({**value, "source_patient_id": source_ids[source_key], "updated_at": at})
        columns = (*_STAY_COLUMNS, "source_patient_id", "updated_at")
        upsert(self._connection, stay, values, keys=("id",), update=columns)
        self._attach([{"key": key, "stay_id": stay_id} for key, stay_id in sorted(attached.items())])

    def _attach(self, rows: Sequence[Mapping[str, str | None]]) -> None:
        if rows and is_postgresql(self._connection):
            self._connection.execute(_ATTACH, {"rows": as_json(rows)})
        elif rows:
            attach = sa.update(fragment).where(fragment.c.key == sa.bindparam("k")).values(stay_id=sa.bindparam("s"))
            self._connection.execute(attach, [{"k": row["key"], "s": row["stay_id"]} for row in rows])

    def restate_events(self, outcomes: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Set the outcome of all events joined into fragments (by fragment key); return how the books moved."""
        keys_of: dict[tuple[str, str], list[str]] = {}
        for key, outcome in outcomes.items():
            keys_of.setdefault(outcome, []).append(key)
        moved: Counter[tuple[str, str]] = Counter()
        for now, keys in sorted(keys_of.items()):
            ids = sa.select(fragment.c.id).where(among(self._connection, fragment.c.key, keys))
            differs = sa.or_(event.c.outcome != now[0], event.c.reason != now[1])
            stale = sa.and_(event.c.fragment_id.in_(ids), differs)
            for was, n in self._count_by_outcome(stale).items():
                moved[was] -= n
                moved[now] += n
            self._connection.execute(sa.update(event).where(stale).values(outcome=now[0], reason=now[1]))
        return moved

    def _count_by_outcome(self, condition: sa.ColumnElement[bool]) -> dict[tuple[str, str], int]:
        statement = sa.select(event.c.outcome, event.c.reason, sa.func.count().label("n")).where(condition)
        rows = self._connection.execute(statement.group_by(event.c.outcome, event.c.reason))
        return {(row.outcome, row.reason): row.n for row in rows}

    def put_reviews(self, stay_ids: Collection[str], items: Sequence[ReviewItem], at: datetime) -> None:
        """Make `items` the open reviews of these stays: opens what is new, closes what has gone."""
        columns = (review.c.id, review.c.stay_id, review.c.kind, review.c.reason, review.c.evidence)
        is_open = sa.and_(among(self._connection, review.c.stay_id, stay_ids), review.c.status == "open")
        there = {(row.stay_id, row.kind): row for row in self._connection.execute(sa.select(*columns).where(is_open))}
        wanted = {(item.stay_id, item.kind): item for item in items}
        gone = [row.id for key, row in there.items() if key not in wanted]
        if gone:
            withdrawn = sa.update(review).where(among(self._connection, review.c.id, gone))
            self._connection.execute(withdrawn.values(status="withdrawn", closed_at=at))
        new = [
            {**values_of(item), "status": "open", "created_at": at} for key, item in wanted.items() if key not in there
        ]
        insert(self._connection, review, new)
        for key in wanted.keys() & there.keys():
            if (there[key].reason, there[key].evidence) != (wanted[key].reason, wanted[key].evidence):
                change = {"reason": wanted[key].reason, "evidence": wanted[key].evidence}
                self._connection.execute(sa.update(review).where(review.c.id == there[key].id).values(change))


def _visit_key(number: tuple[str | None, str]) -> int:
    """Return 64 bits that stand for a visit number: two that share them wait for each other, no more."""
    name = "\x1f".join((number[0] or "", number[1])).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big", signed=True)
