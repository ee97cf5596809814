"""The database of a process: one engine, short explicit transactions, what people entered survives power loss.

Promises:
- Every transaction says whether it writes. `read_transaction` is one snapshot and cannot write.
- An error is named by what to do (`runtime.errors`) and carries no value of any row: parameters are hidden.
- SQLite: `write_transaction` takes the write lock at once (`BEGIN IMMEDIATE`), so it never fails half way because
  somebody else wrote first. What was committed is on the disk (`synchronous=FULL`, and F_FULLFSYNC where macOS needs
  it): claims, attempts and positions exist nowhere else. The file is readable by its owner only.
- PostgreSQL (`runtime.postgresql`): any number of writers; a unit of work takes row locks, and is run again where two
  meet (`database-conflict`).

Source: DESIGN §2 and §5; https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html; SQLAlchemy 2.1, "Using
SQLAlchemy to emit BEGIN in lieu of SQLite's transaction control".
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from services.runtime import postgresql
from services.runtime.errors import AfterstayError, Ambiguous, Permanent, Transient

DATABASE_FILE: Final = "afterstay.db"
BUSY_TIMEOUT_S: Final = 10.0
"""How long a writer waits for another one; every transaction of ours is much shorter (fault F31)."""
POOL_CONNECTIONS_MAX: Final = 10
"""Connections of one process; each may hold a page cache."""
PAGE_CACHE_KIB: Final = 16 * 1024
WAL_KEPT_BYTES_MAX: Final = 64 * 1024 * 1024
"""What a large transaction leaves of its write-ahead log on the disk."""

Mode = Literal["write", "read", "private"]
_POLL_S: Final = 0.01
_ADDRESSES: Final = (
    "the database must be a SQLite file, sqlite:///PATH, or a PostgreSQL database, "
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
)
_MODE: Final = "afterstay_transaction"
_BEGIN: Final[dict[str, tuple[str, str]]] = {
    "write": ("PRAGMA query_only = OFF", "BEGIN IMMEDIATE"),
    "read": ("PRAGMA query_only = ON", "BEGIN"),
    "private": ("PRAGMA query_only = OFF", "BEGIN"),
}


def database_url(data_dir: Path) -> str:
    """Return the address of the database in a data folder."""
    return sa.URL.create("sqlite", database=str(data_dir / DATABASE_FILE)).render_as_string(hide_password=False)


def database_file(engine: sa.Engine) -> Path:
    """Return the file that an embedded database lies in."""
    assert engine.url.database, "the database is not a file"
    return Path(engine.url.database)


def is_postgresql(database: sa.Engine | sa.Connection) -> bool:
    """Say whether a database is PostgreSQL rather than SQLite."""
    return database.dialect.name == "postgresql"


def open_database(url: str) -> sa.Engine:
    """Return an engine for the database at `url`; threads may share it.

    ``sqlite:///PATH`` is a file, made empty if there is none. ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE`` is a
    server, which is not asked yet; what follows a ``?`` are parameters of libpq, such as ``sslmode``.

    Use `write_transaction` and `read_transaction` rather than the engine's own `begin` and `connect`; a transaction
    begun by those writes.

    Raises:
        Permanent: `database-unsupported`; `data-folder-unusable`, where the file cannot be made.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:  # its text may quote a password
        raise Permanent("database-unsupported", _ADDRESSES) from error.with_traceback(None)
    scheme = parsed.drivername.partition("+")[0]
    if scheme in postgresql.BACKENDS:
        engine = postgresql.engine_for(parsed, pool_size=POOL_CONNECTIONS_MAX, pool_timeout_s=BUSY_TIMEOUT_S)
        sa.event.listen(engine, "begin", _begin_postgresql)
        return engine
    if scheme != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise Permanent("database-unsupported", _ADDRESSES)
    _make_private(Path(parsed.database))
    engine = sa.create_engine(
        parsed,
        hide_parameters=True,
        pool_size=POOL_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    sa.event.listen(engine, "connect", _set_up)
    sa.event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def write_transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Write for the block: commits at its end, rolls back if an exception leaves it.

    On SQLite it holds the one write lock; on PostgreSQL it holds what it locks.

    Raises:
        Transient: `database-conflict`, `database-busy`, `database-full`, `database-unavailable`: nothing was written;
            run it again.
        Ambiguous: `database-write-unknown`: the disk failed at the commit, or the connection was lost in it.
        Permanent: `database-damaged`, `data-folder-unusable`, or what keeps a server from letting us in.
    """
    with named_errors(), engine.connect() as connection:
        transaction = begin(connection, "write")
        try:
            yield connection
        except BaseException:
            transaction.rollback()
            raise
        commit(transaction)


@contextmanager
def read_transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """See one state of the database for the block, whoever writes meanwhile; writing in it fails.

    Raises:
        Transient: `database-busy`, `database-unavailable`.
        Permanent: `database-damaged`, `data-folder-unusable`.
    """
    with named_errors(), engine.connect() as connection, begin(connection, "read"):
        yield connection


def begin(connection: sa.Connection, mode: Mode) -> sa.RootTransaction:
    """Begin a transaction on a connection that is in none; `private` may write to its TEMP tables only.

    A `private` one is refused the write lock of the database itself only when somebody else holds it: the caller
    sees to it that it writes to TEMP tables.
    """
    connection.execution_options(**{_MODE: mode})
    return connection.begin()


def commit(transaction: sa.RootTransaction) -> None:
    """Commit.

    Raises:
        Ambiguous: `database-write-unknown`: the disk failed or the connection was lost, so that nobody knows.
    """
    try:
        transaction.commit()
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error) and postgresql.is_lost(error):
            raise Ambiguous(
                "database-write-unknown", "the connection was lost while the database was committing; look, try again"
            ) from error
        if _code(error) == sqlite3.SQLITE_IOERR:
            raise Ambiguous(
                "database-write-unknown", "the disk failed while the database was committing; check the disk, restart"
            ) from error
        raise


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn the database's errors into those of `runtime.errors`; our own bugs pass as they are."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        named = _named(error) if isinstance(error.orig, sqlite3.Error) else postgresql.named(error)
        if named is None:
            raise
        raise named from error
    except sa.exc.TimeoutError as error:
        raise Transient("database-busy", "all connections to the database are in use; try again") from error


def _make_private(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Permanent(
            "data-folder-unusable",
            f"the database {path} cannot be opened ({error.strerror}); its folder must exist, be writable, and lie on "
            "a local disk",
        ) from error


def _set_up(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin` does
    _enter_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES_MAX}")


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Put the file into write-ahead mode, which it then keeps.

    SQLite's busy handler does not cover this one change: of six processes that open a new file together one or two
    are told "locked" at once, so the waiting is ours.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
            continue
        if mode != "wal":
            raise Permanent(
                "data-folder-unusable",
                f"SQLite answered journal_mode={mode} where WAL is needed; the data folder must lie on a local disk",
            )


def _begin(connection: sa.Connection) -> None:
    query_only, begins = _BEGIN[connection.get_execution_options().get(_MODE, "write")]
    connection.exec_driver_sql(query_only)
    connection.exec_driver_sql(begins)


def _begin_postgresql(connection: sa.Connection) -> None:
    mode = connection.get_execution_options().get(_MODE, "write")
    postgresql.enter(connection, read_only=mode == "read")


def _code(error: sa.exc.DBAPIError) -> int:
    """Return SQLite's primary result code."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def _named(error: sa.exc.DBAPIError) -> AfterstayError | None:
    name = getattr(error.orig, "sqlite_errorname", "unknown")
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Transient("database-busy", "another process holds the database; try again")
        case sqlite3.SQLITE_FULL:
            return Transient(
                "database-full", "the disk of the database or of its temporary files is full; free some space"
            )
        case sqlite3.SQLITE_IOERR:
            return Transient("database-unavailable", f"the database cannot be read or written ({name}); check the disk")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Permanent("database-damaged", f"the database is damaged ({name}); keep it and restore a backup")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return Permanent("data-folder-unusable", f"the database cannot be opened for writing ({name})")
    return None
