"""The migrated schema is the declared one, whoever migrates and however often."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from services.followup.store import migrate as migration
from services.followup.store import tables
from services.followup.store.migrate import HEAD, KNOWN, current_revision, migrate
from services.followup.store.tables import metadata
from services.runtime.database import open_database, write_transaction
from services.runtime.errors import Permanent
from tests.support.postgres import PostgresServer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    opened = open_database(f"sqlite:///{tmp_path}/afterstay.db")
    yield opened
    opened.dispose()


def schema(engine: sa.Engine) -> dict[str, str]:
    """Return every table and index with the statement that made it, without spaces and quotes."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {
            name: "".join(sql.split()).replace('"', "") for name, sql in rows if not name.startswith("alembic_version")
        }


def columns_of(statement: str) -> list[str]:
    return sorted(statement.replace(")", "").split(","))


def test_the_migrated_schema_equals_the_declared_one(engine: sa.Engine, tmp_path: Path) -> None:
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    declared = open_database(f"sqlite:///{tmp_path}/declared.db")
    with write_transaction(declared) as connection:
        metadata.create_all(connection)
    mine, theirs = schema(engine), schema(declared)
    declared.dispose()
    assert mine.keys() == theirs.keys()
    for name, statement in theirs.items():
        assert columns_of(mine[name]) == columns_of(statement), name


def test_the_migrated_schema_equals_the_declared_one_on_postgresql(
    empty_postgres_url: str, postgres: PostgresServer
) -> None:
    migrated = open_database(empty_postgres_url)
    migrate(migrated)
    declared = open_database(postgres.create("declared"))
    with write_transaction(declared) as connection:
        metadata.create_all(connection)
    with migrated.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    mine, theirs = catalog(migrated), catalog(declared)
    migrated.dispose()
    declared.dispose()
    postgres.drop("declared")
    assert len(theirs) > 200
    assert mine == theirs


def catalog(engine: sa.Engine) -> set[tuple[object, ...]]:
    """Return every column, key, constraint and index of a PostgreSQL database as it describes them itself."""
    columns = """
        SELECT c.table_name, c.column_name, c.data_type, c.is_nullable, c.column_default
        FROM information_schema.columns AS c WHERE c.table_schema = 'public'
    """
    constraints = "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '' FROM pg_constraint"
    indexes = "SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'"
    with engine.connect() as connection:
        rows = [tuple(row) for query in (columns, constraints, indexes) for row in connection.exec_driver_sql(query)]
    return {row for row in rows if row[0] != "alembic_version"}


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_what_the_books_said_is_kept(url: str) -> None:
    engine = open_database(url)
    with write_transaction(engine) as connection:
        migration._upgrade(connection, "0003")
        connection.execute(sa.text("INSERT INTO outcome_count (outcome, reason, n) VALUES ('effect', '', 7)"))
        connection.execute(sa.text("INSERT INTO ack_count (code, n) VALUES ('AA', 7)"))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.outcome_count)).all() == [("effect", "", 0, 7)]
        assert connection.execute(sa.select(tables.ack_count)).all() == [("AA", 0, 7)]
    engine.dispose()


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return str(request.getfixturevalue("empty_postgres_url"))


def test_migrating_again_changes_nothing(engine: sa.Engine) -> None:
    migrate(engine)
    before = schema(engine)
    migrate(engine)
    assert (schema(engine), current_revision(engine)) == (before, HEAD)


def test_an_empty_database_has_no_revision(engine: sa.Engine) -> None:
    assert current_revision(engine) is None


def test_a_database_of_a_later_release_is_refused(engine: sa.Engine) -> None:
    migrate(engine)
    with write_transaction(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Permanent, match="9999"):
        migrate(engine)


def test_the_head_is_the_newest_revision() -> None:
    scripts = ScriptDirectory(str(Path(migration.__file__).parent / "migrations"))
    assert scripts.get_current_head() == HEAD
    assert {script.revision for script in scripts.walk_revisions()} == set(KNOWN)


def _migrate_in_process(url: str) -> None:
    engine = open_database(url)
    migrate(engine)
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_processes_that_migrate_together_all_succeed(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_migrate_in_process, args=(url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    engine = open_database(url)
    assert current_revision(engine) == HEAD
    engine.dispose()
