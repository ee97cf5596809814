"""Brings a database to the schema of this release: forward only, in one transaction (DESIGN §5).

Promise: after `migrate` the schema is the declared one (`tables.metadata`; a test holds them equal), whoever else
migrates at the same time: the second waits (for SQLite's write lock, for PostgreSQL's advisory lock) and finds nothing
to do. A database of a later release is refused, never touched.
"""

from importlib.resources import as_file, files
from typing import Final

import sqlalchemy as sa

from services.followup.store.locks import Lock, lock_exclusively
from services.runtime.database import is_postgresql, read_transaction, write_transaction
from services.runtime.errors import Permanent

HEAD: Final = "0006"
"""The newest revision in `migrations/versions`; a test holds it to that."""
KNOWN: Final = ("0001", "0002", "0003", "0004", "0005", "0006")
MIGRATION_WAIT_S: Final = 600.0
"""How long a process waits for another one that migrates, and a migration for who uses a table."""

_VERSION = sa.table("alembic_version", sa.column("version_num", sa.Text))


def migrate(engine: sa.Engine) -> None:
    """Bring the database to this release's schema.

    Raises:
        Permanent: `database-too-new`: a later release has written it.
        Transient: the database is busy or full; nothing was changed.
    """
    if current_revision(engine) == HEAD:
        return
    with write_transaction(engine) as connection:
        if is_postgresql(connection):
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        lock_exclusively(connection, Lock.SCHEMA, within_s=MIGRATION_WAIT_S)
        _upgrade(connection)


def current_revision(engine: sa.Engine) -> str | None:
    """Return the revision of a database, `None` for an empty one.

    Raises:
        Permanent: `database-too-new`.
    """
    with read_transaction(engine) as connection:
        if not sa.inspect(connection).has_table(_VERSION.name):
            return None
        revision = connection.execute(sa.select(_VERSION.c.version_num)).scalar_one_or_none()
    if revision is not None and revision not in KNOWN:
        raise Permanent(
            "database-too-new",
            f"the database is at revision {revision}, which this release does not know: run the release that wrote it",
        )
    return revision


def _upgrade(connection: sa.Connection, revision: str = HEAD) -> None:
    from alembic import command  # noqa: PLC0415 - half a second of imports, for a new database only
    from alembic.config import Config  # noqa: PLC0415

    with as_file(files("services.followup.store") / "migrations") as scripts:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        command.upgrade(config, revision)
