"""Follow-up databases for tests: the declared schema in a file of its own, or on a server of the session's.

`engine` and `household` come on both databases, so that whoever takes them is tested on both; `sqlite_engine` is for
what SQLite alone does.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.followup.store.tables import metadata
from services.runtime.database import DATABASE_FILE, database_url, open_database, write_transaction
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the declared schema and nothing in it, made once."""
    folder = tmp_path_factory.mktemp("schema")
    engine = open_database(database_url(folder))
    with write_transaction(engine) as connection:
        metadata.create_all(connection)
    engine.dispose()  # the last connection moves everything from the write-ahead log into the file
    return folder / DATABASE_FILE


@pytest.fixture
def sqlite_engine(empty_database: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty SQLite database of the test's own."""
    shutil.copy(empty_database, tmp_path / DATABASE_FILE)
    engine = open_database(database_url(tmp_path))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def shared_postgres_url(postgres: PostgresServer, migrated_template: str) -> str:
    """The address of a database that tests use one after the other: to empty it is much cheaper than another one."""
    return postgres.create("shared", migrated_template)


@pytest.fixture
def empty_postgres(shared_postgres_url: str) -> Iterator[str]:
    """The address of a PostgreSQL database with every table and no row, for one test at a time."""
    yield shared_postgres_url
    engine = open_database(shared_postgres_url)
    with write_transaction(engine) as connection:
        connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        connection.execute(sa.text("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"))
    engine.dispose()


@pytest.fixture
def postgres_engine(empty_postgres: str) -> Iterator[sa.Engine]:
    """An empty PostgreSQL database."""
    engine = open_database(empty_postgres)
    yield engine
    engine.dispose()


DATABASES = ["sqlite", "postgresql"]


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest) -> sa.Engine:
    """An empty database of the test's own, on either."""
    made: sa.Engine = request.getfixturevalue("sqlite_engine" if request.param == "sqlite" else "postgres_engine")
    return made
