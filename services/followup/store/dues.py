"""Timers, and the stays that a panel load may concern (port: `usecases.ports.DueStore`).

A load of the panel leaves one row, whatever there is of stays. From it all stays get a timer to be looked at again,
some at a time. Units that looked at the panel before the load was there may still be at work then, and what they are
about to write is not to be seen yet; so before the first stay everybody is waited for who shares the panel
(`locks.PANEL_USE`). Nobody waits for the load itself.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.followup.store.locks import Lock, lock_exclusively
from services.followup.store.statements import among, upsert
from services.followup.store.tables import Instant, due, panel_rematch, source_patient, stay
from services.runtime.database import is_postgresql

REMATCH: Final = "rematch"
"""Kind of the timer that looks again at whom a stay belongs to."""
PANEL_WAIT_S: Final = 1.0
"""Who begins to match meanwhile waits as well; if somebody takes longer than this it is tried again later."""
_BEFORE_ALL: Final = ""


class SqlDueStore:
    """Timers within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def set(self, kind: str, dues: Mapping[str, datetime | None]) -> None:
        """Set (or with `None` drop) the timer of stays, by stay id."""
        dropped = [stay_id for stay_id, at in dues.items() if at is None]
        if dropped:
            gone = sa.and_(due.c.kind == kind, among(self._connection, due.c.stay_id, dropped))
            self._connection.execute(sa.delete(due).where(gone))
        rows = [{"kind": kind, "stay_id": stay_id, "due_at": at} for stay_id, at in sorted(dues.items()) if at]
        upsert(self._connection, due, rows, keys=("kind", "stay_id"), update=("due_at",))

    def claim(self, now: datetime, limit: int) -> dict[str, str]:
        """Hold timers that are due and that nobody else holds; return their stays with the source patients."""
        statement = (
            sa.select(due.c.stay_id, source_patient.c.key)
            .join_from(due, stay, due.c.stay_id == stay.c.id)
            .join(source_patient, stay.c.source_patient_id == source_patient.c.id)
            .where(due.c.due_at <= now)
            .order_by(due.c.due_at)
            .limit(limit)
            .with_for_update(of=due, skip_locked=True)
        )
        return {row.stay_id: row.key for row in self._connection.execute(statement)}

    def drop(self, stay_ids: Collection[str], now: datetime) -> None:
        """Drop the timers of stays that are due."""
        these = among(self._connection, due.c.stay_id, stay_ids)
        self._connection.execute(sa.delete(due).where(these, due.c.due_at <= now))

    def spread(self, limit: int) -> bool:
        """Set a timer for up to `limit` stays that the latest panel load may concern; say whether there is more to do.

        The first step of a load sets none: it waits for the units that looked at the panel before.
        """
        latest = sa.select(sa.func.max(panel_rematch.c.id)).scalar_subquery()
        load = sa.select(panel_rematch).where(panel_rematch.c.id == latest).with_for_update(skip_locked=True)
        found = self._connection.execute(load).one_or_none()
        if found is None:
            return False
        this = panel_rematch.c.id == found.id
        if found.reached is None:
            lock_exclusively(self._connection, Lock.PANEL_USE, within_s=PANEL_WAIT_S)
            self._connection.execute(sa.update(panel_rematch).where(this).values(reached=_BEFORE_ALL))
            return True
        page = sa.select(stay.c.id).where(stay.c.id > found.reached).order_by(stay.c.id).limit(limit)
        stay_ids = self._connection.execute(page).scalars().all()
        self._look_again(stay_ids, found.at)
        if len(stay_ids) < limit:
            self._connection.execute(sa.delete(panel_rematch).where(panel_rematch.c.id <= found.id))
            return False
        self._connection.execute(sa.update(panel_rematch).where(this).values(reached=stay_ids[-1]))
        return True

    def _look_again(self, stay_ids: Collection[str], at: datetime) -> None:
        insert: Any = postgresql.insert if is_postgresql(self._connection) else sqlite.insert
        columns = [sa.literal(REMATCH), stay.c.id, sa.literal(at, Instant)]
        chosen = sa.select(*columns).where(among(self._connection, stay.c.id, stay_ids)).order_by(stay.c.id)
        statement = insert(due).from_select(["kind", "stay_id", "due_at"], chosen)
        earlier = {"due_at": statement.excluded.due_at}
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["kind", "stay_id"], set_=earlier, where=due.c.due_at > statement.excluded.due_at
            )
        )


def want_rematch(connection: sa.Connection, at: datetime) -> None:
    """Have every stay looked at again, from now on; part of the caller's transaction."""
    connection.execute(sa.insert(panel_rematch).values(at=at))
