"""Fragments, stays and the reviews that stand on them (port: `usecases.ports.StayStore`)."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa

from services.followup.domain.fragments import Fragment
from services.followup.store.statements import upsert, values_of
from services.followup.store.tables import event, fragment, review, source_patient, stay
from services.followup.usecases.ports import ReviewItem, StayRow, StoredFragment

_decode_fragment = msgspec.json.Decoder(Fragment).decode
_encode = msgspec.json.Encoder().encode

_STAY_COLUMNS: Final = (
    "visit_authority", "visit_number", "status", "discharged_on", "view", "patient_id", "match_state", "match",
    "follow_up", "follow_up_reason", "outcome", "outcome_reason",
)  # fmt: skip


class SqlStayStore:
    """The stay tables within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def fragments_of(self, source_keys: Collection[str]) -> dict[str, list[StoredFragment]]:
        """Return all fragments of source patients, by source key."""
        statement = (
            sa.select(source_patient.c.key, fragment.c.state, fragment.c.stay_id)
            .join_from(source_patient, fragment, fragment.c.source_patient_id == source_patient.c.id)
            .where(source_patient.c.key.in_(source_keys))
            .order_by(fragment.c.key)
        )
        found: dict[str, list[StoredFragment]] = {key: [] for key in source_keys}
        for key, state, stay_id in self._connection.execute(statement):
            found[key].append(StoredFragment(fragment=_decode_fragment(state), stay_id=stay_id))
        return found

    def put_fragments(self, fragments: Sequence[Fragment]) -> None:
        """Write joined states, new or changed."""
        source_ids = self._source_ids({one.source_key for one in fragments})
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

    def _source_ids(self, keys: Collection[str]) -> dict[str, int]:
        upsert(self._connection, source_patient, [{"key": key} for key in sorted(keys)], keys=("key",))
        columns = (source_patient.c.key, source_patient.c.id)
        rows = self._connection.execute(sa.select(*columns).where(source_patient.c.key.in_(keys)))
        return {row.key: row.id for row in rows}

    def stays_of(self, source_keys: Collection[str]) -> dict[str, list[StayRow]]:
        """Return all stays of source patients, by source key."""
        found: dict[str, list[StayRow]] = {key: [] for key in source_keys}
        for row in self._stays(source_patient.c.key.in_(source_keys)):
            found[row.source_key].append(row)
        return found

    def sharers(self, numbers: Collection[tuple[str | None, str]]) -> set[str]:
        """Return the source patients with a stay under one of these (authority, visit number) pairs."""
        statement = (
            sa.select(stay.c.visit_authority, stay.c.visit_number, source_patient.c.key)
            .distinct()
            .join_from(stay, fragment, fragment.c.stay_id == stay.c.id)
            .join(source_patient, fragment.c.source_patient_id == source_patient.c.id)
            .where(stay.c.visit_number.in_({number for _, number in numbers}))
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
        source_ids = self._source_ids({row.source_key for row in rows})
        values = []
        for row in sorted(rows, key=lambda one: one.id):
            value = values_of(row)
            source_key = value.pop("source_key")
            values.append({**value, "source_patient_id": source_ids[source_key], "updated_at": at})
        columns = (*_STAY_COLUMNS, "source_patient_id", "updated_at")
        upsert(self._connection, stay, values, keys=("id",), update=columns)
        attach = sa.update(fragment).where(fragment.c.key == sa.bindparam("k")).values(stay_id=sa.bindparam("s"))
        if attached:
            self._connection.execute(attach, [{"k": key, "s": stay_id} for key, stay_id in sorted(attached.items())])

    def restate_events(self, outcomes: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Set the outcome of all events joined into fragments (by fragment key); return how the books moved."""
        keys_of: dict[tuple[str, str], list[str]] = {}
        for key, outcome in outcomes.items():
            keys_of.setdefault(outcome, []).append(key)
        moved: Counter[tuple[str, str]] = Counter()
        for now, keys in sorted(keys_of.items()):
            ids = sa.select(fragment.c.id).where(fragment.c.key.in_(keys))
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
        is_open = sa.and_(review.c.stay_id.in_(stay_ids), review.c.status == "open")
        there = {(row.stay_id, row.kind): row for row in self._connection.execute(sa.select(*columns).where(is_open))}
        wanted = {(item.stay_id, item.kind): item for item in items}
        gone = [row.id for key, row in there.items() if key not in wanted]
        if gone:
            statement = sa.update(review).where(review.c.id.in_(gone)).values(status="withdrawn", closed_at=at)
            self._connection.execute(statement)
        new = [
            {**values_of(item), "status": "open", "created_at": at} for key, item in wanted.items() if key not in there
        ]
        if new:
            self._connection.execute(sa.insert(review), new)
        for key in wanted.keys() & there.keys():
            if (there[key].reason, there[key].evidence) != (wanted[key].reason, wanted[key].evidence):
                change = {"reason": wanted[key].reason, "evidence": wanted[key].evidence}
                self._connection.execute(sa.update(review).where(review.c.id == there[key].id).values(change))

    def source_keys_of(self, stay_ids: Collection[str]) -> set[str]:
        """Return the source patients of stays."""
        statement = (
            sa.select(source_patient.c.key)
            .join_from(stay, source_patient, stay.c.source_patient_id == source_patient.c.id)
            .where(stay.c.id.in_(stay_ids))
        )
        return set(self._connection.execute(statement).scalars())
