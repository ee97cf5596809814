"""A follow-up database for tests: the declared schema in a file of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.followup.store.tables import metadata
from services.runtime.database import database_url, open_database, write_transaction


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database."""
    engine = open_database(database_url(tmp_path))
    with write_transaction(engine) as connection:
        metadata.create_all(connection)
    yield engine
    engine.dispose()
