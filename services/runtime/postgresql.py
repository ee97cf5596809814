"""PostgreSQL below `runtime.database`: how it is reached, what its transactions are, what its errors mean.

Promises:
- A server that is gone is noticed, also behind a network that swallows everything, and the pool heals by itself:
  connections are tried before they are used, and all of them are replaced once one was found broken.
- Nothing waits for ever: connecting, locks, statements and idle transactions have limits, set for the session.
- Writers are READ COMMITTED with row locks, readers one REPEATABLE READ snapshot that cannot write.
- Statements search by index, also those that were planned when their tables were empty.
- Text is UTF-8 and time is UTC, whatever the server's defaults are.

Limits are session settings and statements are prepared on the server, so a pooler in front of the server must pool by
session. Source: DESIGN §5, streaming.md §6 and §9; PostgreSQL 15, chapters 20.11, 34.1.2 and appendix A; psycopg 3.3.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from services.runtime.errors import AfterstayError, Permanent, Transient

BACKENDS: Final = ("postgresql", "postgres")
DRIVER: Final = "postgresql+psycopg"
SERVER_VERSION_MIN: Final = 14_00_00
"""The oldest major release that is tested by its own project; ours are run on 15."""

CONNECT_TIMEOUT_S: Final = 5
LOCK_TIMEOUT_S: Final = 10.0
"""How long a statement waits for somebody's row; every transaction of ours is much shorter."""
STATEMENT_TIMEOUT_S: Final = 60.0
IDLE_TRANSACTION_TIMEOUT_S: Final = 15.0
"""A process that stands still in a transaction holds others up for no longer: a frozen worker's rows are locked until
then. Between two statements of ours lie milliseconds."""
_SESSION: Final = {
    "lock_timeout": f"{LOCK_TIMEOUT_S * 1000:.0f}",
    "statement_timeout": f"{STATEMENT_TIMEOUT_S * 1000:.0f}",
    "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_TIMEOUT_S * 1000:.0f}",
    "client_connection_check_interval": "2000",  # what a dead process has asked for ends with it
    "timezone": "UTC",
    "enable_seqscan": "off",  # a plan made while a table was small is kept when it has grown: never one that scans it
    "jit": "off",  # compiling a statement that runs for a millisecond takes a hundred
}
_NETWORK: Final = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "read-write",  # of several hosts the one that takes writes
    "client_encoding": "utf8",
}
"""A peer that vanished is given up after about ten seconds, whether we were waiting for it or sending."""

_REFUSALS: Final = (
    (re.compile(r"password|pg_hba\.conf|role .* (does not exist|not permitted)"), "database-login-refused"),
    (re.compile(r"database .* does not exist"), "database-missing"),
    (re.compile(r"permission denied"), "database-privilege-missing"),
    (re.compile(r"certificate|SSL"), "database-tls-refused"),
)
"""How a refused login reads: libpq gives no SQLSTATE for it, only the server's text, which is English unless set
otherwise; what is not recognized counts as a server that is away."""
_TRANSIENT: Final = {
    "40P01": ("database-conflict", "another transaction was in the way; nothing was written"),
    "40001": ("database-conflict", "another transaction was in the way; nothing was written"),
    "55P03": ("database-conflict", "another transaction held a row for too long; nothing was written"),
    "57014": ("database-busy", "the PostgreSQL server took too long for a statement; try again"),
    "53100": ("database-full", "the disk of the PostgreSQL server is full; free some space"),
    "53": ("database-busy", "the PostgreSQL server has no connections or memory left; try again"),
    "25P03": ("database-unavailable", "the PostgreSQL server ended a transaction that stood still; it is tried again"),
    "25006": ("database-unavailable", "the PostgreSQL server takes no writes now; it is tried again"),
    "08": ("database-unavailable", "the connection to the PostgreSQL server was lost; it is tried again"),
    "57": ("database-unavailable", "the PostgreSQL server is stopping or starting; it is tried again"),
    "58": ("database-unavailable", "the PostgreSQL server cannot read or write its files; check its disk"),
}
"""By SQLSTATE, or its class where all of that mean the same."""
_PERMANENT: Final = {
    "28": ("database-login-refused", "the PostgreSQL server refuses the login: check user, password and pg_hba.conf"),
    "3D000": (
        "database-missing",
        (
            "the PostgreSQL server has no such database: check its name in the URL, or make it with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        ),
    ),
    "42501": (
        "database-privilege-missing",
        "the database's user may not do this: let it own the database, or grant it what its tables need",
    ),
    "XX": ("database-damaged", "the PostgreSQL server reports damage; keep the database and restore a backup"),
    "TLS": (
        "database-tls-refused",
        (
            "the TLS connection to the PostgreSQL server cannot be trusted or is not offered: check sslmode and "
            "sslrootcert in the URL"
        ),
    ),
}


def engine_for(url: sa.URL, *, pool_size: int, pool_timeout_s: float) -> sa.Engine:
    """Return an engine; nothing is connected yet.

    Raises:
        Permanent: `database-unsupported`: the URL names no database.
    """
    if not url.database:
        raise Permanent("database-unsupported", "the URL names no database: postgresql://USER@HOST:PORT/DATABASE")
    named: dict[str, Any] = {} if "application_name" in url.query else {"application_name": f"afterstay:{os.getpid()}"}
    own = {name: value for name, value in _NETWORK.items() if name not in url.query}
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    stated = url.query.get("options", ())
    stated = stated if isinstance(stated, str) else " ".join(stated)  # last, so that it wins
    engine = sa.create_engine(
        url.set(drivername=DRIVER).difference_update_query(["options"]),
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_s,
        pool_pre_ping=True,
        pool_use_lifo=True,
        connect_args={**own, **named, "options": f"{options} {stated}".strip()},
    )
    sa.event.listen(engine, "connect", _check)
    return engine


def enter(connection: sa.Connection, *, read_only: bool) -> None:
    """Say what the transaction that is about to begin on a connection may do."""
    from psycopg import IsolationLevel  # noqa: PLC0415 - only where PostgreSQL is used

    driver: Any = connection.connection.dbapi_connection
    level = IsolationLevel.REPEATABLE_READ if read_only else IsolationLevel.READ_COMMITTED
    if (driver.isolation_level, driver.read_only) != (level, read_only):
        driver.isolation_level = level
        driver.read_only = read_only


def _check(
    driver: Any,  # noqa: ANN401 - the driver's own connection
    _entry: ConnectionPoolEntry,
) -> None:
    """Refuse a server that would keep text otherwise than it was sent, or that nobody has tried."""
    encoding, version = driver.info.parameter_status("server_encoding"), driver.info.server_version
    if encoding != "UTF8":
        raise Permanent(
            "database-encoding-unsupported",
            f"the database keeps text as {encoding}; make one with ENCODING 'UTF8' TEMPLATE template0",
        )
    if version < SERVER_VERSION_MIN:
        raise Permanent(
            "database-unsupported",
            f"the server is PostgreSQL {version // 10_000}; it must be {SERVER_VERSION_MIN // 10_000} or later",
        )


def is_lost(error: sa.exc.DBAPIError) -> bool:
    """Say whether the connection ended with this error, so that what was under way has no answer."""
    state = _state(error.orig)
    return error.connection_invalidated or state.startswith(("08", "57P")) or state == "25P03"


def named(error: sa.exc.DBAPIError) -> AfterstayError | None:
    """Return what an error means to the caller; `None`: it is our own bug."""
    found = named_by_driver(error.orig)
    if found is None and is_lost(error):
        return Transient(*_TRANSIENT["08"])
    return found


def named_by_driver(error: BaseException | None) -> AfterstayError | None:
    """Return what an error of the driver means to the caller; `None`: it is our own bug, or the connection is lost."""
    state = _state(error)
    if not state:
        return _refused(error)
    for key in (state, state[:2]):
        if key in _TRANSIENT:
            code, text = _TRANSIENT[key]
            return Transient(code, f"{text} (SQLSTATE {state})")
        if key in _PERMANENT:
            code, text = _PERMANENT[key]
            return Permanent(code, f"{text} (SQLSTATE {state})")
    return None


def _state(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""


def _refused(error: BaseException | None) -> AfterstayError | None:
    """Read an error that came without SQLSTATE: it was met before the server answered, or without it."""
    kind, text = type(error).__name__, str(error)
    if kind == "ProgrammingError" and "connection option" in text:
        return Permanent("database-unsupported", "the database URL has a parameter that PostgreSQL does not know")
    if kind not in ("OperationalError", "ConnectionTimeout"):
        return None
    if "connection failed" in text:
        advice = dict(_PERMANENT.values())
        for pattern, code in _REFUSALS:
            if pattern.search(text):
                return Permanent(code, advice[code])
    return Transient("database-unavailable", "the PostgreSQL server does not answer; it is tried again, check it")


def copy_in(connection: sa.Connection, statement: str, rows: Iterable[Sequence[object]] | bytes) -> None:
    """Send rows, or rows as COPY writes them, to a ``COPY ... FROM STDIN`` in the transaction of a connection.

    Raises:
        AfterstayError: as `named` names it; the connection is lost or the server refuses the rows.
    """
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is used

    driver: Any = connection.connection.dbapi_connection
    connection.exec_driver_sql("SELECT 1")  # has SQLAlchemy begin what it says it has begun
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            if isinstance(rows, bytes):
                copy.write(rows)
            else:
                for row in rows:
                    copy.write_row(row)
    except psycopg.Error as error:
        found = named_by_driver(error)
        if found is None:
            raise
        raise found from error
