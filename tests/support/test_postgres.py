"""The PostgreSQL of the tests keeps what was committed through every end, and goes away."""

from collections.abc import Iterator

import psutil
import psycopg
import pytest

from tests.support.postgres import PostgresServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that the test may harm."""
    with PostgresServer() as one:
        yield one


def test_what_was_committed_is_there_after_every_kind_of_end(server: PostgresServer) -> None:
    url = server.create("kept")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (number integer)")
    for number, end in enumerate((server.stop, lambda: server.stop("immediate"), server.kill)):
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO kept VALUES (%s)", (number,))
        end()
        server.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept ORDER BY number").fetchall() == [(0,), (1,), (2,)]


def test_a_frozen_server_goes_on_where_it_stood(server: PostgresServer) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        server.freeze()
        states = [one.status() for one in psutil.Process(server.pid).children()]
        assert set(states) == {psutil.STATUS_STOPPED}
        server.thaw()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_no_process_and_no_file_stays() -> None:
    with PostgresServer() as server:
        pid = server.pid
        home = server.home
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not home.exists()
