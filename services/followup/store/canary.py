"""Canaries on SQLAlchemy Core (port: `usecases.canary.CanaryBook`)."""

from datetime import datetime

import sqlalchemy as sa

from services.followup.store.statements import upsert
from services.followup.store.tables import canary, event
from services.followup.usecases.sorting import CANARY
from services.runtime.database import read_transaction, write_transaction


class SqlCanaryBook:
    """The canaries of a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def claim(self, turn: int, control_id: str, now: datetime) -> bool:
        """Take a turn, by its number; False when somebody has taken it."""
        row = {"turn": turn, "control_id": control_id, "sent_at": now}
        with write_transaction(self._engine) as connection:
            return upsert(connection, canary, [row], keys=("turn",)) == 1

    def has_arrived(self, control_id: str) -> bool:
        """Tell whether the canary's event was consumed."""
        arrived = sa.select(sa.exists().where(event.c.control_id == control_id, event.c.reason == CANARY))
        with read_transaction(self._engine) as connection:
            return bool(connection.execute(arrived).scalar_one())

    def purge(self, sent_before: datetime, forgotten_before: datetime) -> int:
        """Drop canaries that arrived, with their events, and those that nobody waits for any more; return how many."""
        old = sa.select(canary.c.control_id).where(canary.c.sent_at < sent_before)
        consumed = sa.delete(event).where(event.c.control_id.in_(old), event.c.reason == CANARY)
        with write_transaction(self._engine) as connection:
            arrived = connection.execute(consumed.returning(event.c.control_id)).scalars().all()
            gone = sa.or_(canary.c.control_id.in_(arrived), canary.c.sent_at < forgotten_before)
            return connection.execute(sa.delete(canary).where(gone)).rowcount
