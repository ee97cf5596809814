"""A follow-up database for tests: the declared schema in a file of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.followup.store.tables import metadata
from services.runtime.database import DATABASE_FILE, database_url, open_database, write_transaction


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
def engine(empty_database: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database of the test's own."""
    shutil.copy(empty_database, tmp_path / DATABASE_FILE)
    engine = open_database(database_url(tmp_path))
    yield engine
    engine.dispose()
