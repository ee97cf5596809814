"""A real PostgreSQL 15 for tests, Debian's, without Docker, and the faults that can happen to it.

Its programs refuse to run as root, so under root they run as user postgres, in a folder which that user may enter.
"""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import psutil
import psycopg
import pytest

from services.followup.store.migrate import migrate
from services.runtime.database import open_database

BINARIES: Final = Path("/usr/lib/postgresql/15/bin")
HOST: Final = "127.0.0.1"
USER: Final = "test"
START_WITHIN_S: Final = 60.0
RETRY_S: Final = 0.2
"""After a kill the first starts fail while orphaned backends live; measured: back in 2.7 s."""
_TEMPLATE: Final = "migrated"
_AS_POSTGRES: Final = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")


class PostgresServer:
    """One server on a folder of its own; a context manager that starts it and leaves no process and no file.

    fsync is on: what the tests say of a crash is true of a real one.
    """

    def __init__(self) -> None:
        if not BINARIES.is_dir():
            pytest.fail(f"{BINARIES} is not there: run `make servers`")
        self.port = _free_port()
        self.home = Path(tempfile.mkdtemp(prefix="afterstay-postgres-"))
        self._data = self.home / "data"
        if os.geteuid() == 0:
            shutil.chown(self.home, "postgres", "postgres")
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale")
        with (self._data / "postgresql.conf").open("a", encoding="ascii") as settings:
            settings.write(
                f"listen_addresses='{HOST}'\nport={self.port}\nunix_socket_directories='{self.home}'\n"
                "max_connections=200\n"
            )

    def url(self, database: str = "postgres") -> str:
        """Return the address of one of its databases."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def start(self) -> Self:
        """Start it, or start it again after any end, and wait until it takes clients."""
        deadline = time.monotonic() + START_WITHIN_S
        while (failure := self._try("pg_ctl", "-D", self._data, "-l", self.home / "log", "-w", "start")) is not None:
            if time.monotonic() > deadline:
                log = (self.home / "log").read_text(encoding="utf-8", errors="replace")
                pytest.fail(f"PostgreSQL did not start: {failure}\n{log[-2000:]}")
            time.sleep(RETRY_S)
        return self

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """End it: `fast` in order, breaking off what runs; `immediate` as a crash does, with recovery at the start."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def kill(self) -> None:
        """End its first process as the kernel does when memory is short."""
        os.kill(self.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop all its processes where they stand: connections stay open and nothing is answered."""
        self._signal_all(signal.SIGSTOP)
        deadline = time.monotonic() + START_WITHIN_S
        while not all(_stands(one) for one in self._processes()):  # a signal takes effect a moment later
            assert time.monotonic() < deadline, "PostgreSQL does not freeze"
            time.sleep(0.01)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal_all(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its first process."""
        return int((self._data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal the first process and then its children: one that stands makes no more of them."""
        os.kill(self.pid, number)
        for process in self._processes()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _processes(self) -> list[psutil.Process]:
        first = psutil.Process(self.pid)
        return [first, *first.children()]

    def close(self) -> None:
        """End it if it runs, and delete its files."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", self._data, "status")
            self.thaw()  # a test may have failed while it stood still
            self.stop()
        shutil.rmtree(self.home)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Its databases

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database as a copy of another and return its address."""
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Delete a database, whoever is still connected."""
        self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement beside all databases."""
        self.execute_in("postgres", statement)

    def execute_in(self, database: str, statement: str) -> None:
        """Run statements in a database."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *words: object) -> None:
        as_user = _AS_POSTGRES if os.geteuid() == 0 else ()
        done = subprocess.run(
            [*as_user, str(BINARIES / program), *map(str, words)],
            cwd=self.home,
            env={"PATH": f"{BINARIES}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would never end
            stderr=subprocess.DEVNULL,
            timeout=START_WITHIN_S,
            check=False,
        )
        done.check_returncode()

    def _try(self, program: str, *words: object) -> Exception | None:
        try:
            self._run(program, *words)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            return error
        return None


def _stands(process: psutil.Process) -> bool:
    """Tell whether a process was stopped, or is gone."""
    try:
        return process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return True


def _free_port() -> int:
    """Return a port below those of outgoing connections, which could take it between two starts."""
    for port in random.sample(range(12_000, 20_000), k=100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    pytest.fail("no port for PostgreSQL is free")


# What tests take


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole session; do it no harm."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """Name a database with every table and no row: copying it is a hundred times cheaper than making it."""
    engine = open_database(postgres.create(_TEMPLATE))
    migrate(engine)
    engine.dispose()  # a database that somebody is connected to cannot be copied
    return _TEMPLATE


@pytest.fixture
def postgres_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """Give a database of the test's own, with every table and no row; it is dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create(name, migrated_template)
    postgres.drop(name)


@pytest.fixture
def empty_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Give a database of the test's own without any table; it is dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create(name)
    postgres.drop(name)
