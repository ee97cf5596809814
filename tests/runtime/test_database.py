"""What the database promises: transactions that say what they do, durability settings, errors named by what to do."""

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.runtime import database
from services.runtime.database import (
    DATABASE_FILE,
    begin,
    commit,
    database_file,
    database_url,
    named_errors,
    open_database,
    read_transaction,
    write_transaction,
)
from services.runtime.errors import Ambiguous, Permanent, Transient

SECRET = "Xanthippe"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(database_url(tmp_path))
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE thing (name TEXT PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE part (thing TEXT NOT NULL REFERENCES thing (name))")
    yield engine
    engine.dispose()


def add(connection: sa.Connection, name: str) -> None:
    connection.exec_driver_sql("INSERT INTO thing VALUES (?)", (name,))


def names(connection: sa.Connection) -> list[str]:
    return [row[0] for row in connection.exec_driver_sql("SELECT name FROM thing ORDER BY name")]


def names_now(engine: sa.Engine) -> list[str]:
    with read_transaction(engine) as connection:
        return names(connection)


def sqlite_error(code: int, name: str) -> sa.exc.OperationalError:
    """Return an error as SQLAlchemy passes it on."""
    original = sqlite3.OperationalError("it failed")
    original.sqlite_errorcode, original.sqlite_errorname = code, name
    return sa.exc.OperationalError("SELECT 1", {}, original)


def test_a_block_commits_at_its_end(engine: sa.Engine) -> None:
    with write_transaction(engine) as connection:
        add(connection, "a")
        assert names_now(engine) == []
    assert names_now(engine) == ["a"]


def test_an_exception_leaves_nothing_behind(engine: sa.Engine) -> None:
    def fail() -> None:
        with write_transaction(engine) as connection:
            add(connection, "a")
            connection.exec_driver_sql("CREATE TABLE other (x)")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert names_now(engine) == []
    with read_transaction(engine) as connection:
        assert not sa.inspect(connection).has_table("other")


def test_a_reader_cannot_write_and_sees_one_state(engine: sa.Engine) -> None:
    with read_transaction(engine) as reading:
        assert names(reading) == []
        with write_transaction(engine) as writing:
            add(writing, "a")
        assert names(reading) == []
    with pytest.raises(Permanent) as error, read_transaction(engine) as reading:
        add(reading, "b")
    assert error.value.code == "data-folder-unusable"
    assert names_now(engine) == ["a"]


def test_a_connection_that_read_can_write_next_time(engine: sa.Engine) -> None:
    for name in "abc":
        names_now(engine)
        with write_transaction(engine) as connection:
            add(connection, name)
    assert names_now(engine) == ["a", "b", "c"]


def test_the_write_lock_is_taken_at_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
    impatient = open_database(str(engine.url))
    with write_transaction(engine), pytest.raises(Transient) as error, write_transaction(impatient):
        pass
    assert error.value.code == "database-busy"
    with write_transaction(impatient) as connection:
        add(connection, "later")
    impatient.dispose()


def test_writers_wait_for_each_other(engine: sa.Engine) -> None:
    writers, rounds = 4, 10
    together = threading.Barrier(writers)

    def write(writer: int) -> None:
        together.wait()
        for turn in range(rounds):
            with write_transaction(engine) as connection:
                (count,) = connection.exec_driver_sql("SELECT count(*) FROM thing").one()
                add(connection, f"{count:03}-{writer}-{turn}")

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    assert [name[:3] for name in names_now(engine)] == [f"{n:03}" for n in range(writers * rounds)]


def test_what_was_committed_is_on_the_disk(engine: sa.Engine) -> None:
    expected = {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "foreign_keys": 1, "busy_timeout": 10_000}
    with read_transaction(engine) as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}
    assert found == expected


def test_references_are_kept(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError), write_transaction(engine) as connection:
        connection.exec_driver_sql("INSERT INTO part VALUES ('nowhere')")


def test_an_error_says_nothing_of_the_row(engine: sa.Engine) -> None:
    with write_transaction(engine) as connection:
        add(connection, SECRET)
    with pytest.raises(sa.exc.IntegrityError) as error, write_transaction(engine) as connection:
        add(connection, SECRET)
    assert SECRET not in str(error.value)
    with pytest.raises(sa.exc.IntegrityError) as error, write_transaction(engine) as connection:
        connection.execute(sa.text("INSERT INTO thing VALUES (:name)"), [{"name": SECRET}, {"name": "b"}])
    assert SECRET not in str(error.value)


def test_only_the_owner_may_read_the_files(engine: sa.Engine, tmp_path: Path) -> None:
    names_now(engine)
    files = [file for file in tmp_path.iterdir() if file.name.startswith(DATABASE_FILE)]
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("name", ["plain", "with space", "100%", "a?b#c", "ünïcode", "semi;colon"])
def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    engine = open_database(database_url(folder))
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE thing (name)")
    assert database_file(engine) == folder / DATABASE_FILE
    assert (folder / DATABASE_FILE).stat().st_size > 0
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "postgresql://localhost", "mysql://h/d", "nothing", ""]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(Permanent) as error:
        open_database(url)
    assert error.value.code == "database-unsupported"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="No such file") as error:
        open_database(database_url(tmp_path / "nowhere"))
    assert error.value.code == "data-folder-unusable"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"not a database, but long enough to be looked at" * 100)
    engine = open_database(database_url(tmp_path))
    with pytest.raises(Permanent) as error:
        names_now(engine)
    assert error.value.code == "database-damaged"
    engine.dispose()


def test_connections_are_limited(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "POOL_CONNECTIONS_MAX", 1)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
    small = open_database(str(engine.url))
    with read_transaction(small), pytest.raises(Transient) as error, read_transaction(small):
        pass
    assert error.value.code == "database-busy"
    small.dispose()


ERRORS: list[tuple[int, str, type[Exception], str]] = [
    (sqlite3.SQLITE_BUSY, "SQLITE_BUSY", Transient, "database-busy"),
    (sqlite3.SQLITE_BUSY | 1 << 8, "SQLITE_BUSY_RECOVERY", Transient, "database-busy"),
    (sqlite3.SQLITE_FULL, "SQLITE_FULL", Transient, "database-full"),
    (sqlite3.SQLITE_IOERR, "SQLITE_IOERR", Transient, "database-unavailable"),
    (sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", Permanent, "database-damaged"),
    (sqlite3.SQLITE_CANTOPEN, "SQLITE_CANTOPEN", Permanent, "data-folder-unusable"),
    (sqlite3.SQLITE_ERROR, "SQLITE_ERROR", sa.exc.OperationalError, ""),
]


@pytest.mark.parametrize(("number", "name", "kind", "code"), ERRORS, ids=[error[1] for error in ERRORS])
def test_errors_are_named_by_what_to_do(number: int, name: str, kind: type[Exception], code: str) -> None:
    with pytest.raises(kind) as error, named_errors():
        raise sqlite_error(number, name)
    assert getattr(error.value, "code", "") == code or kind is sa.exc.OperationalError


class FailingTransaction:
    """A transaction whose commit fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def commit(self) -> None:
        raise self._error


def test_a_disk_that_fails_at_the_commit_leaves_it_open_what_happened() -> None:
    failing: Callable[[Exception], sa.RootTransaction] = FailingTransaction  # type: ignore[assignment] # a fake of it
    with pytest.raises(Ambiguous, match="disk failed"):
        commit(failing(sqlite_error(sqlite3.SQLITE_IOERR | 4 << 8, "SQLITE_IOERR_FSYNC")))
    with pytest.raises(sa.exc.OperationalError):
        commit(failing(sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL")))


def test_a_private_transaction_keeps_what_is_temporary_to_itself(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        with begin(connection, "private"):
            connection.exec_driver_sql("CREATE TEMP TABLE aside (x)")
            connection.exec_driver_sql("INSERT INTO aside VALUES (1)")
            with write_transaction(engine) as other:  # waits for nobody
                add(other, "a")
        with begin(connection, "read"):
            assert connection.exec_driver_sql("SELECT x FROM aside").all() == [(1,)]


def test_many_connections_may_open_a_new_file_together(tmp_path: Path) -> None:
    openers = 6
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        together = threading.Barrier(openers)

        def open_it(_opener: int, folder: Path = folder, together: threading.Barrier = together) -> None:
            engine = open_database(database_url(folder))
            together.wait()
            with write_transaction(engine) as connection:
                connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS thing (name)")
            engine.dispose()

        with ThreadPoolExecutor(openers) as pool:
            list(pool.map(open_it, range(openers)))


def test_the_file_is_made_once_and_kept(tmp_path: Path) -> None:
    engine = open_database(database_url(tmp_path))
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE thing (name)")
    engine.dispose()
    inode = (tmp_path / DATABASE_FILE).stat().st_ino
    again = open_database(database_url(tmp_path))
    with read_transaction(again) as connection:
        assert sa.inspect(connection).has_table("thing")
    again.dispose()
    assert (tmp_path / DATABASE_FILE).stat().st_ino == inode
