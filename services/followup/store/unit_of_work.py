"""One database transaction with its stores (ports: `usecases.ports.UnitOfWork`, `Begin`)."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from services.followup.store.audit import SqlAuditTrail
from services.followup.store.candidates import SqlCandidateFinder
from services.followup.store.dues import SqlDueStore
from services.followup.store.events import SqlDeadLetterStore, SqlEventStore
from services.followup.store.purge import SqlPurgeStore
from services.followup.store.rebuild import SqlRebuildStore
from services.followup.store.stays import SqlStayStore
from services.followup.store.tasks import SqlTaskStore
from services.followup.usecases.ports import Begin, UnitOfWork
from services.runtime.database import read_transaction, write_transaction


class SqlUnitOfWork:
    """The stores of one connection, which is in a transaction."""

    def __init__(self, connection: sa.Connection, *, writes: bool = True) -> None:
        self.events = SqlEventStore(connection)
        self.letters = SqlDeadLetterStore(connection)
        self.stays = SqlStayStore(connection)
        self.tasks = SqlTaskStore(connection)
        self.dues = SqlDueStore(connection)
        self.rebuilds = SqlRebuildStore(connection, writes=writes)
        self.purges = SqlPurgeStore(connection)
        self.audit = SqlAuditTrail(connection)
        self.panel = SqlCandidateFinder(connection)


def units_of(engine: sa.Engine) -> Begin:
    """Return what begins a unit of work on a database."""

    @contextmanager
    def begin() -> Iterator[UnitOfWork]:
        with write_transaction(engine) as connection:
            yield SqlUnitOfWork(connection)

    return begin


def views_of(engine: sa.Engine) -> Begin:
    """Return what begins a unit that only looks: one snapshot of a database, which cannot write."""

    @contextmanager
    def begin() -> Iterator[UnitOfWork]:
        with read_transaction(engine) as connection:
            yield SqlUnitOfWork(connection, writes=False)

    return begin
