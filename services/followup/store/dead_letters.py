"""Dead letters with what is known of their messages (port: `usecases.dead_letters.DeadLetterStore`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa

from services.followup.store.tables import audit_event, dead_letter, event
from services.followup.usecases.dead_letters import Action, KeptLetter, LetterId
from services.followup.usecases.ports import DeadLetter
from services.runtime.database import read_transaction, write_transaction

_LETTER: Final = ("topic", "partition", "offset", "event_id", "reason", "text", "at")
_EVENT: Final = ("feed", "control_id", "trigger", "received_at")
_IS_OPEN: Final = dead_letter.c.resolved_at.is_(None)

_LETTERS: Final = (
    sa.select(
        *(dead_letter.c[name] for name in (*_LETTER, "resolved_at", "resolution")),
        *(event.c[name] for name in _EVENT),
        event.c.ack.label("acknowledged"),
    )
    .join_from(dead_letter, event, dead_letter.c.event_id == event.c.event_id, isouter=True)
)  # fmt: skip


class SqlDeadLetters:
    """The dead letters of a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def listed(self, *, include_resolved: bool, limit: int) -> Sequence[KeptLetter]:
        """Return dead letters, oldest first."""
        place = (dead_letter.c.topic, dead_letter.c.partition, dead_letter.c.offset)
        statement = _LETTERS.order_by(dead_letter.c.at, *place).limit(limit)
        if not include_resolved:
            statement = statement.where(_IS_OPEN)
        with read_transaction(self._engine) as connection:
            return [_kept(row) for row in connection.execute(statement).mappings()]

    def open_after(self, place: tuple[int, int], limit: int) -> Sequence[KeptLetter]:
        """Return open dead letters behind a place (partition, offset), in that order."""
        partition, offset = place
        where = dead_letter.c
        behind = sa.or_(where.partition > partition, sa.and_(where.partition == partition, where.offset > offset))
        statement = _LETTERS.where(_IS_OPEN, behind).order_by(where.partition, where.offset).limit(limit)
        with read_transaction(self._engine) as connection:
            return [_kept(row) for row in connection.execute(statement).mappings()]

    def find(self, which: LetterId) -> KeptLetter | None:
        """Return one dead letter, resolved or not; of an event's several the latest."""
        place = sa.and_(dead_letter.c.partition == which.partition, dead_letter.c.offset == which.offset)
        named = place if which.event_id is None else dead_letter.c.event_id == which.event_id
        statement = _LETTERS.where(named).order_by(dead_letter.c.at.desc()).limit(1)
        with read_transaction(self._engine) as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else _kept(row)

    def open_count(self) -> int:
        """Return how many dead letters are open."""
        statement = sa.select(sa.func.count()).select_from(dead_letter).where(_IS_OPEN)
        with read_transaction(self._engine) as connection:
            return connection.execute(statement).scalar_one()

    def audit(self, action: Action, letters: Sequence[DeadLetter], *, actor: str, at: datetime) -> None:
        """Keep that somebody looked at the messages of dead letters, or replayed them: one row each."""
        rows = [
            {
                "at": at,
                "actor": actor,
                "action": action,
                "entity": f"{letter.topic}/{letter.partition}/{letter.offset}",
                "detail": msgspec.json.encode({"event_id": letter.event_id, "reason": letter.reason}).decode(),
            }
            for letter in letters
        ]
        with write_transaction(self._engine) as connection:
            connection.execute(sa.insert(audit_event), rows)


def _kept(row: sa.RowMapping) -> KeptLetter:
    return KeptLetter(
        letter=DeadLetter(**{name: row[name] for name in _LETTER}),
        resolved_at=row["resolved_at"],
        resolution=row["resolution"],
        **{name: row[name] for name in _EVENT},
        acknowledged=row["acknowledged"],
    )
