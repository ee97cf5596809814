"""One database transaction with its stores (port: `usecases.ports.UnitOfWork`)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import sqlalchemy as sa

from services.followup.store.events import SqlEventStore
from services.followup.store.panel import SqlCandidateFinder
from services.followup.store.stays import SqlStayStore
from services.followup.store.tasks import SqlDueStore, SqlTaskStore


class SqlUnitOfWork:
    """The stores of one connection, which is in a transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.events = SqlEventStore(connection)
        self.stays = SqlStayStore(connection)
        self.tasks = SqlTaskStore(connection)
        self.dues = SqlDueStore(connection)
        self.panel = SqlCandidateFinder(connection)
