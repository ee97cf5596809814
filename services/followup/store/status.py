"""The books, read in one snapshot (port: `usecases.status.BooksStore`)."""

import sqlalchemy as sa

from services.followup.store.tables import ack_count, dead_letter, event, outcome_count, stream_position, task
from services.followup.usecases.status import Books
from services.runtime.database import read_transaction


def _sum(counts: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Add the shards of a count up; the sum of integers is a decimal in PostgreSQL."""
    return sa.cast(sa.func.sum(counts), sa.BigInteger)


class SqlBooks:
    """The books of a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, group: str, topic: str) -> Books:
        """Return the books and the group's positions as of one moment."""
        place = stream_position.c
        count = sa.func.count()
        reached = sa.select(place.partition, place.next_offset, place.first_offset).where(
            place.consumer_group == group, place.topic == topic
        )
        outcomes = sa.select(outcome_count.c.outcome, outcome_count.c.reason, _sum(outcome_count.c.n))
        outcomes = outcomes.group_by(outcome_count.c.outcome, outcome_count.c.reason)
        acks = sa.select(ack_count.c.code, _sum(ack_count.c.n)).group_by(ack_count.c.code)
        letters = sa.select(count).select_from(dead_letter).where(dead_letter.c.resolved_at.is_(None))
        tasks = sa.select(task.c.kind, task.c.status, count).group_by(task.c.kind, task.c.status)
        with read_transaction(self._engine) as connection:
            places = connection.execute(reached).all()
            return Books(
                positions={row.partition: row.next_offset for row in places},
                firsts={row.partition: row.first_offset for row in places},
                outcomes={(outcome, reason): n for outcome, reason, n in connection.execute(outcomes)},
                acks=dict(connection.execute(acks).all()),
                events=connection.execute(sa.select(count).select_from(event)).scalar_one(),
                open_letters=connection.execute(letters).scalar_one(),
                tasks={(kind, status): n for kind, status, n in connection.execute(tasks)},
            )
