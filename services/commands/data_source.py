"""Where the data lies, as verbs find it: a folder, or Kafka and a database; perhaps missing, new, or in use.

Verbs that look create nothing: what is not there yet counts as empty or is refused with what to do. Both databases let
any number of processes read, and write in turn, so all of this works while the services are running.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from services.commands.arguments import Arguments
from services.commands.connections import database_of, kafka_of
from services.followup.protocols.closures import closures_in, read_closures
from services.followup.store.migrate import HEAD, current_revision
from services.runtime.database import DATABASE_FILE, database_url, open_database
from services.runtime.errors import Permanent
from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.port import Subscriber

CLIENT_ID = "afterstay-command"
JUMP_FETCH_BYTES = 64 * 1024
"""A batch of records comes whole anyway; more would be read for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Where the data lies: `folder`, or else `kafka` and `database`, as far as the verb needs them.

    Attributes:
        closures_file: The practice's closed days, where they do not lie in the folder.
    """

    folder: Path | None = None
    kafka: KafkaConnection | None = None
    database: str | None = None
    closures_file: Path | None = None

    @classmethod
    def of(cls, arguments: Arguments) -> Self:
        """Return what the command line names.

        Raises:
            Permanent: `settings-invalid`.
        """
        folder = getattr(arguments, "data", None)
        if folder is not None:
            return cls(folder=folder)
        return cls(
            kafka=kafka_of(arguments) if getattr(arguments, "kafka", None) else None,
            database=database_of(arguments) if getattr(arguments, "database", None) else None,
            closures_file=getattr(arguments, "closures", None),
        )

    def closures(self) -> frozenset[date]:
        """Return the practice's closed days.

        Raises:
            ConfigurationError: `closures-file-invalid`.
        """
        if self.folder is not None:
            return closures_in(self.folder)
        return read_closures(self.closures_file) if self.closures_file else frozenset()

    @property
    def address(self) -> str:
        """The database as an operator knows it, without a password."""
        if self.folder is not None:
            return str(self.folder)
        assert self.database is not None, "the verb needs no database"
        return sa.make_url(self.database).render_as_string(hide_password=True)


def require_data(folder: Path) -> None:
    """Refuse a folder that holds no data of ours.

    Raises:
        Permanent: `data-folder-missing`, `data-folder-empty`.
    """
    if not folder.is_dir():
        raise Permanent(
            "data-folder-missing",
            f"there is no folder {folder}: check --data, or start `afterstay run --data {folder}`",
        )
    if not (folder / DATABASE_FILE).exists() and not (folder / LOG_FILE).exists():
        raise Permanent(
            "data-folder-empty",
            f"the folder {folder} holds no data of Afterstay: check --data, or start `afterstay run --data {folder}`",
        )


@contextmanager
def found_database(source: DataSource) -> Generator[sa.Engine | None]:
    """Give the database, or `None` where it was not made yet.

    Raises:
        Permanent: the folder holds no data of ours, or the database is of another release.
        Transient: the database is out of reach.
    """
    if source.folder is not None:
        require_data(source.folder)
        if not (source.folder / DATABASE_FILE).exists():
            yield None
            return
        engine = open_database(database_url(source.folder))
    else:
        assert source.database is not None, "the verb needs no database"
        engine = open_database(source.database)
    try:
        yield engine if _is_made(engine, source) else None
    finally:
        engine.dispose()


@contextmanager
def required_database(source: DataSource) -> Generator[sa.Engine]:
    """Give the database.

    Raises:
        Permanent: there is none yet, or it is of another release.
        Transient: it is out of reach.
    """
    with found_database(source) as engine:
        if engine is None:
            start = (
                f"start `afterstay run --data {source.folder}`, or import a panel"
                if source.folder is not None
                else "run `afterstay migrate` with the same --database"
            )
            raise Permanent("database-missing", f"there is no database in {source.address} yet: {start}")
        yield engine


@asynccontextmanager
async def found_log(source: DataSource, *, jumps: bool = False) -> AsyncGenerator[Subscriber | None]:
    """Give the event log to read, or `None` where it was not made yet; who `jumps` reads a record here and there."""
    if source.folder is not None:
        if not (source.folder / LOG_FILE).exists():
            yield None
            return
        subscriber: Subscriber = await EmbeddedSubscriber.open(source.folder)
    else:
        from services.runtime.eventlog.kafka.subscriber import FETCH_BYTES, KafkaSubscriber  # noqa: PLC0415

        assert source.kafka is not None, "the verb needs no log"
        fetch_bytes = JUMP_FETCH_BYTES if jumps else FETCH_BYTES
        subscriber = await KafkaSubscriber.open(source.kafka, client_id=CLIENT_ID, fetch_bytes=fetch_bytes)
    try:
        yield subscriber
    finally:
        await subscriber.close()


def _is_made(engine: sa.Engine, source: DataSource) -> bool:
    revision = current_revision(engine)
    if revision not in (None, HEAD):
        bring = (
            f"start `afterstay run --data {source.folder}` once, which brings it there"
            if source.folder is not None
            else "run `afterstay migrate` with the same --database"
        )
        raise Permanent(
            "database-too-old", f"the database is at revision {revision} and this release needs {HEAD}: {bring}"
        )
    return revision is not None
