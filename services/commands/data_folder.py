"""The data folder as verbs find it: perhaps missing, perhaps new, perhaps in use by `run`.

Verbs that look create nothing: what is not there yet counts as empty or is refused with what to do. SQLite lets any
number of processes read, and write in turn, so all of this works while `run` is running.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import sqlalchemy as sa

from services.followup.store.migrate import HEAD, current_revision
from services.runtime.database import DATABASE_FILE, database_url, open_database
from services.runtime.errors import Permanent
from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber


def require_data(data: Path) -> None:
    """Refuse a folder that holds no data of ours.

    Raises:
        Permanent: `data-folder-missing`, `data-folder-empty`.
    """
    if not data.is_dir():
        raise Permanent(
            "data-folder-missing", f"there is no folder {data}: check --data, or start `afterstay run --data {data}`"
        )
    if not (data / DATABASE_FILE).exists() and not (data / LOG_FILE).exists():
        raise Permanent(
            "data-folder-empty",
            f"the folder {data} holds no data of Afterstay: check --data, or start `afterstay run --data {data}`",
        )


@contextmanager
def found_database(data: Path) -> Generator[sa.Engine | None]:
    """Give the database of a data folder, or `None` where it was not made yet.

    Raises:
        Permanent: the folder holds no data of ours, or the database is of another release.
    """
    require_data(data)
    if not (data / DATABASE_FILE).exists():
        yield None
        return
    engine = open_database(database_url(data))
    try:
        yield engine if _is_made(engine, data) else None
    finally:
        engine.dispose()


@contextmanager
def required_database(data: Path) -> Generator[sa.Engine]:
    """Give the database of a data folder.

    Raises:
        Permanent: there is none yet, or it is of another release.
    """
    with found_database(data) as engine:
        if engine is None:
            raise Permanent(
                "database-missing",
                f"there is no database in {data} yet: start `afterstay run --data {data}`, or import a panel",
            )
        yield engine


@asynccontextmanager
async def found_log(data: Path) -> AsyncGenerator[EmbeddedSubscriber | None]:
    """Give the event log of a data folder to read, or `None` where it was not made yet."""
    if not (data / LOG_FILE).exists():
        yield None
        return
    subscriber = await EmbeddedSubscriber.open(data)
    try:
        yield subscriber
    finally:
        await subscriber.close()


def _is_made(engine: sa.Engine, data: Path) -> bool:
    revision = current_revision(engine)
    if revision not in (None, HEAD):
        raise Permanent(
            "database-too-old",
            f"the database is at revision {revision} and this release needs {HEAD}: start `afterstay run --data "
            f"{data}` once, which brings it there",
        )
    return revision is not None
