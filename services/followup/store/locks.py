"""Locks that are on no row: PostgreSQL's advisory locks, which end with their transaction or session.

SQLite has one writer at a time, or a lock file where that is not enough, and needs none of these. Source: PostgreSQL
15, 13.3.5 "Advisory Locks"; they are one database's own, and the first of their two numbers is ours.
"""

from contextlib import suppress
from enum import IntEnum
from typing import Final

import sqlalchemy as sa

from services.runtime.database import begin, is_postgresql

NAMESPACE: Final = 0x41465459
"""The letters AFTY."""

_SHARE: Final = sa.text(f"SELECT pg_advisory_xact_lock_shared({NAMESPACE}, :lock)")
_EXCLUDE: Final = sa.text(f"SELECT pg_advisory_xact_lock({NAMESPACE}, :lock)")
_UNLOCK: Final = sa.text(f"SELECT pg_advisory_unlock({NAMESPACE}, :lock)")
_TRY: Final = sa.text(f"SELECT pg_try_advisory_lock({NAMESPACE}, :lock)")


class Lock(IntEnum):
    """What is locked."""

    SCHEMA = 1
    """Migrating."""
    PANEL_IMPORT = 2
    """Importing a panel file, for the session."""
    PANEL_USE = 3
    """Matching: shared by every unit from before it looks at the panel to its end."""


def share(connection: sa.Connection, lock: Lock) -> None:
    """Hold a lock together with others until the transaction ends."""
    if is_postgresql(connection):
        connection.execute(_SHARE, {"lock": lock})


def lock_exclusively(connection: sa.Connection, lock: Lock, *, within_s: float) -> None:
    """Hold a lock alone until the transaction ends; waits so long for everybody who holds it."""
    if is_postgresql(connection):
        connection.execute(sa.text(f"SET LOCAL lock_timeout = {within_s * 1000:.0f}"))
        connection.execute(_EXCLUDE, {"lock": lock})


def try_for_session(connection: sa.Connection, lock: Lock) -> bool:
    """Take a lock alone until it is given back or the connection ends; say whether it was free."""
    with begin(connection, "read"):
        return bool(connection.execute(_TRY, {"lock": lock}).scalar_one())


def give_back(connection: sa.Connection, lock: Lock) -> None:
    """Give back what `try_for_session` took: a server notices a closed connection only after a while.

    Ends what was under way on the connection. One that is lost has given back everything.
    """
    with suppress(sa.exc.DBAPIError):
        connection.rollback()
        with begin(connection, "read"):
            connection.execute(_UNLOCK, {"lock": lock})
