"""What the database promises on a real PostgreSQL: what its transactions are, and that every fault has its name."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from services.runtime import postgresql
from services.runtime.database import (
    begin,
    commit,
    is_postgresql,
    named_errors,
    open_database,
    read_transaction,
    write_transaction,
)
from services.runtime.errors import AfterstayError, Ambiguous, Permanent, Transient
from tests.support.postgres import PostgresServer

HEALED_WITHIN_S = 10.0
NOTICED_WITHIN_S = 30.0


@pytest.fixture
def engine(empty_postgres_url: str) -> Iterator[sa.Engine]:
    engine = open_database(empty_postgres_url)
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE thing (name text PRIMARY KEY, n integer NOT NULL DEFAULT 0)")
        connection.exec_driver_sql("INSERT INTO thing VALUES ('a'), ('b')")
    yield engine
    engine.dispose()


def add(connection: sa.Connection, name: str) -> None:
    connection.exec_driver_sql("INSERT INTO thing VALUES (%s)", (name,))


def names_now(engine: sa.Engine) -> list[str]:
    with read_transaction(engine) as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT name FROM thing ORDER BY name")]


def setting(connection: sa.Connection, name: str) -> str:
    return str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())


def end_backends(url: str) -> None:
    """End every other session on a database, as an operator or a failover does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


# --- transactions ----------------------------------------------------------------------------------------------------


def test_a_reader_sees_one_state_and_cannot_write(engine: sa.Engine) -> None:
    with read_transaction(engine) as reading:
        assert reading.exec_driver_sql("SELECT count(*) FROM thing").scalar_one() == 2
        with write_transaction(engine) as writing:
            add(writing, "c")
        assert reading.exec_driver_sql("SELECT count(*) FROM thing").scalar_one() == 2
    with pytest.raises(AfterstayError), read_transaction(engine) as reading:
        add(reading, "d")
    assert names_now(engine) == ["a", "b", "c"]


def test_a_writer_reads_what_is_committed_meanwhile(engine: sa.Engine) -> None:
    with write_transaction(engine) as one:
        one.exec_driver_sql("SELECT 1")
        with write_transaction(engine) as other:
            add(other, "c")
        assert one.exec_driver_sql("SELECT count(*) FROM thing").scalar_one() == 3


def test_a_connection_changes_between_reading_and_writing(engine: sa.Engine) -> None:
    for name in ("c", "d", "e"):
        names_now(engine)
        with write_transaction(engine) as connection:
            add(connection, name)
    with engine.connect() as connection:  # what begins without saying so writes
        assert setting(connection, "transaction_read_only") == "off"
        assert setting(connection, "transaction_isolation") == "read committed"


def test_an_exception_leaves_nothing_behind(engine: sa.Engine) -> None:
    def fail() -> None:
        with write_transaction(engine) as connection:
            add(connection, "c")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert names_now(engine) == ["a", "b"]


def test_a_session_has_limits_and_speaks_utc(engine: sa.Engine) -> None:
    expected = {
        "lock_timeout": "10s",
        "statement_timeout": "1min",
        "idle_in_transaction_session_timeout": "15s",
        "timezone": "UTC",
        "jit": "off",
        "client_encoding": "UTF8",
    }
    assert is_postgresql(engine)
    with read_transaction(engine) as connection:
        assert {name: setting(connection, name) for name in expected} == expected
        assert setting(connection, "application_name").startswith("afterstay:")


def test_what_the_url_says_of_a_session_wins(empty_postgres_url: str) -> None:
    engine = open_database(f"{empty_postgres_url}?options=-c%20lock_timeout%3D3s&application_name=mine")
    with read_transaction(engine) as connection:
        assert setting(connection, "lock_timeout") == "3s"
        assert setting(connection, "statement_timeout") == "1min"
        assert setting(connection, "application_name") == "mine"
    engine.dispose()


# --- conflicts -------------------------------------------------------------------------------------------------------


def test_two_that_wait_for_each_other_end_and_one_is_told_to_run_again(engine: sa.Engine) -> None:
    both = threading.Barrier(2)

    def lock(first: str, second: str) -> str:
        try:
            with write_transaction(engine) as connection:
                connection.exec_driver_sql("UPDATE thing SET n = n + 1 WHERE name = %s", (first,))
                both.wait()
                connection.exec_driver_sql("UPDATE thing SET n = n + 1 WHERE name = %s", (second,))
        except Transient as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(2) as pool:
        found = sorted(pool.map(lock, ("a", "b"), ("b", "a")))
    assert found == ["database-conflict", "done"]


def test_who_waits_too_long_for_a_row_is_told_to_run_again(empty_postgres_url: str, engine: sa.Engine) -> None:
    impatient = open_database(f"{empty_postgres_url}?options=-c%20lock_timeout%3D100")
    with write_transaction(engine) as holder:
        holder.exec_driver_sql("UPDATE thing SET n = 1 WHERE name = 'a'")
        with pytest.raises(Transient) as error, write_transaction(impatient) as connection:
            connection.exec_driver_sql("UPDATE thing SET n = 2 WHERE name = 'a'")
    assert error.value.code == "database-conflict"
    impatient.dispose()


def test_a_statement_that_takes_too_long_is_ended(empty_postgres_url: str) -> None:
    hasty = open_database(f"{empty_postgres_url}?options=-c%20statement_timeout%3D50")
    with pytest.raises(Transient) as error, write_transaction(hasty) as connection:
        connection.exec_driver_sql("SELECT pg_sleep(30)")
    assert error.value.code == "database-busy"
    hasty.dispose()


# --- the server goes -------------------------------------------------------------------------------------------------


def test_a_connection_that_was_ended_is_replaced_before_it_is_used(empty_postgres_url: str, engine: sa.Engine) -> None:
    assert names_now(engine) == ["a", "b"]
    end_backends(empty_postgres_url)
    assert names_now(engine) == ["a", "b"]


def test_a_connection_that_ends_within_a_transaction_has_written_nothing(
    empty_postgres_url: str, engine: sa.Engine
) -> None:
    def write() -> None:
        with write_transaction(engine) as connection:
            add(connection, "c")
            end_backends(empty_postgres_url)
            add(connection, "d")

    with pytest.raises(Transient) as error:
        write()
    assert error.value.code == "database-unavailable"
    assert names_now(engine) == ["a", "b"]


def test_a_connection_that_ends_at_the_commit_leaves_it_open_what_happened(
    empty_postgres_url: str, engine: sa.Engine
) -> None:
    def write() -> None:
        with write_transaction(engine) as connection:
            add(connection, "c")
            end_backends(empty_postgres_url)

    with pytest.raises(Ambiguous) as error:
        write()
    assert error.value.code == "database-write-unknown"
    assert names_now(engine) == ["a", "b"]


def test_a_server_that_crashes_is_named_while_it_is_away_and_heals_by_itself() -> None:
    with PostgresServer() as server:
        engine = open_database(server.url())
        with write_transaction(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE thing (name text PRIMARY KEY)")
        server.stop("immediate")
        with pytest.raises(Transient) as error:
            names_now(engine)
        assert error.value.code == "database-unavailable"
        server.start()
        began = time.monotonic()
        while True:
            try:
                assert names_now(engine) == []
                break
            except Transient:
                assert time.monotonic() - began < HEALED_WITHIN_S
        engine.dispose()


def test_a_peer_that_takes_connections_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgresql._NETWORK, "connect_timeout", 2)  # libpq's least
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_database(f"postgresql://test@127.0.0.1:{silent.getsockname()[1]}/any")
        began = time.monotonic()
        with pytest.raises(Transient) as error:
            names_now(engine)
        assert error.value.code == "database-unavailable"
        assert time.monotonic() - began < NOTICED_WITHIN_S


def test_a_network_that_swallows_everything_is_noticed(empty_postgres_url: str) -> None:
    engine = open_database(empty_postgres_url)
    with read_transaction(engine) as connection:
        driver = connection.connection.dbapi_connection
        with socket.socket(fileno=socket.dup(driver.pgconn.socket)) as peer:  # type: ignore[union-attr]  # psycopg's
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    engine.dispose()


# --- what is wrong until somebody mends it ---------------------------------------------------------------------------


def code_of(url: str) -> str:
    engine = open_database(url)
    try:
        with pytest.raises(Permanent) as error:
            names_now(engine)
    finally:
        engine.dispose()
    assert "secret" not in str(error.value)
    return error.value.code


def test_what_keeps_us_out_is_named_with_what_to_do(postgres: PostgresServer) -> None:
    at = f"127.0.0.1:{postgres.port}"
    assert code_of(f"postgresql://nobody:secret@{at}/postgres") == "database-login-refused"
    assert code_of(f"postgresql://test:secret@{at}/nowhere") == "database-missing"
    assert code_of(f"postgresql://test:secret@{at}/postgres?sslmode=require") == "database-tls-refused"
    assert code_of(f"postgresql://test:secret@{at}/postgres?no_such=1") == "database-unsupported"


def test_a_wrong_password_is_named(postgres: PostgresServer, empty_postgres_url: str) -> None:
    postgres.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    hba = postgres.home / "data" / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    try:
        hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + before, encoding="utf-8")
        postgres.execute("SELECT pg_reload_conf()")
        name = empty_postgres_url.rpartition("/")[2]
        at = f"127.0.0.1:{postgres.port}/{name}"
        deadline = time.monotonic() + HEALED_WITHIN_S
        while not _is_refused(f"postgresql://guarded:secret@{at}"):  # the server reads the file in its own time
            assert time.monotonic() < deadline
        assert code_of(f"postgresql://guarded:secret@{at}") == "database-login-refused"
        engine = open_database(f"postgresql://guarded:right@{at}")
        with read_transaction(engine) as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
        with pytest.raises(Permanent) as error, write_transaction(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE mine (x integer)")
        assert error.value.code == "database-privilege-missing"
        engine.dispose()
    finally:
        hba.write_text(before, encoding="utf-8")
        postgres.execute("SELECT pg_reload_conf()")
        postgres.execute("DROP ROLE guarded")


def _is_refused(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return True
    return False


def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        assert code_of(postgres.url("latin")) == "database-encoding-unsupported"
    finally:
        postgres.drop("latin")


class _Refusal(psycopg.errors.Error):
    """An error of the server with a code."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("it failed")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "kind", "code"),
    [
        ("40001", Transient, "database-conflict"),
        ("53100", Transient, "database-full"),
        ("53300", Transient, "database-busy"),
        ("57P03", Transient, "database-unavailable"),
        ("58030", Transient, "database-unavailable"),
        ("XX001", Permanent, "database-damaged"),
    ],
)
def test_errors_are_named_by_what_to_do(sqlstate: str, kind: type[AfterstayError], code: str) -> None:
    with pytest.raises(kind) as error, named_errors():
        raise sa.exc.OperationalError("SELECT 1", {}, _Refusal(sqlstate))
    assert error.value.code == code


def test_our_own_mistakes_pass_as_they_are(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.ProgrammingError), write_transaction(engine) as connection:
        connection.exec_driver_sql("SELECT nonsense")


def test_rows_that_a_copy_cannot_take_leave_nothing_behind(engine: sa.Engine) -> None:
    with engine.connect() as connection, begin(connection, "write"), pytest.raises(psycopg.errors.UniqueViolation):
        postgresql.copy_in(connection, "COPY thing FROM STDIN", [("c", 1), ("a", 1)])
    assert names_now(engine) == ["a", "b"]
    with engine.connect() as connection:
        transaction = begin(connection, "write")
        postgresql.copy_in(connection, "COPY thing FROM STDIN", [("c", 1)])
        postgresql.copy_in(connection, "COPY thing FROM STDIN", b"d\t2\n")
        commit(transaction)
    assert names_now(engine) == ["a", "b", "c", "d"]
