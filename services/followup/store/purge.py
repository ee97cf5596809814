"""Stays that nobody on the panel has claimed, taken away once they are old (port: `usecases.ports.PurgeStore`).

A stay goes as a whole, with its fragments, closed reviews and timers. What stays behind is its events without what they
said: event id, control id, feed, times and outcome, so that a resend is a duplicate and the books balance.
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from services.followup.store.statements import among
from services.followup.store.tables import due, event, fragment, review, source_patient, stay, task


class SqlPurgeStore:
    """What may be purged, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def expired(self, before: datetime, limit: int) -> dict[str, set[str]]:
        """Return up to `limit` stays that may go, with the source patients to hold, by their ids."""
        chosen = sa.select(stay.c.id).where(_is_expired(before)).order_by(stay.c.updated_at, stay.c.id).limit(limit)
        stay_ids = self._connection.execute(chosen).scalars().all()
        held: dict[str, set[str]] = {stay_id: set() for stay_id in stay_ids}
        own = (
            sa.select(stay.c.id, source_patient.c.key)
            .join_from(stay, source_patient, stay.c.source_patient_id == source_patient.c.id)
            .where(among(self._connection, stay.c.id, stay_ids))
        )
        joined = (
            sa.select(fragment.c.stay_id, source_patient.c.key)
            .join_from(fragment, source_patient, fragment.c.source_patient_id == source_patient.c.id)
            .where(among(self._connection, fragment.c.stay_id, stay_ids))
        )
        for statement in (own, joined):
            for stay_id, key in self._connection.execute(statement):
                held[stay_id].add(key)
        return held

    def purge(self, stay_ids: Collection[str], before: datetime) -> int:
        """Take those of the stays away that may still go; return how many. Their source patients are held."""
        these = sa.and_(among(self._connection, stay.c.id, stay_ids), _is_expired(before))
        going = self._connection.execute(sa.select(stay.c.id).where(these).order_by(stay.c.id)).scalars().all()
        if not going:
            return 0
        fragments = sa.select(fragment.c.id).where(among(self._connection, fragment.c.stay_id, going))
        self._connection.execute(sa.update(event).where(event.c.fragment_id.in_(fragments)).values(fragment_id=None))
        self._connection.execute(sa.delete(fragment).where(among(self._connection, fragment.c.stay_id, going)))
        self._connection.execute(sa.delete(due).where(among(self._connection, due.c.stay_id, going)))
        self._connection.execute(sa.delete(review).where(among(self._connection, review.c.stay_id, going)))
        self._connection.execute(sa.delete(stay).where(among(self._connection, stay.c.id, going)))
        return len(going)


def _is_expired(before: datetime) -> sa.ColumnElement[bool]:
    """Say which stays may go: unlinked, without a task or an open review, and silent since `before`."""
    heard = (
        sa.select(event.c.event_id)
        .join_from(fragment, event, event.c.fragment_id == fragment.c.id)
        .where(fragment.c.stay_id == stay.c.id, event.c.received_at >= before)
    )
    asked = sa.select(review.c.id).where(review.c.stay_id == stay.c.id, review.c.status == "open")
    worked = sa.select(task.c.id).where(task.c.stay_id == stay.c.id)
    return sa.and_(
        stay.c.patient_id.is_(None), stay.c.updated_at < before, ~heard.exists(), ~asked.exists(), ~worked.exists()
    )
