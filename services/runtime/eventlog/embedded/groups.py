"""Remembers how far consumer groups have read, in a file of its own.

`groups.db` is apart from `log.db` so that a consumer's commit never holds the write lock that an acknowledgement
waits for, and it is synced only at checkpoints (`synchronous=NORMAL`): a position is a hint, and losing the last few
in a power cut means reading some records again (`port.GroupPositions`).
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from services.runtime.errors import Transient
from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.embedded.topics import require_legal_topic
from services.runtime.lifecycle import in_thread

GROUPS_FILE = "groups.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS group_position (
    name TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (name, topic, partition)
) WITHOUT ROWID
"""
_SELECT = "SELECT partition, next_offset FROM group_position WHERE name = ? AND topic = ?"
_UPSERT = """
INSERT INTO group_position VALUES (?, ?, ?, ?)
ON CONFLICT (name, topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""


class EmbeddedGroupPositions:
    """The group positions of a data folder; several processes may share them."""

    def __init__(self, connection: sqlite3.Connection, executor: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._executor = executor
        self._closed = False

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open the positions of a data folder, making the file if there is none.

        Raises:
            Permanent: `data-folder-unusable`.
            Transient: `positions-unavailable`.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="group-positions")
        try:
            return cls(await in_thread(executor, _open, folder), executor)
        except BaseException:
            executor.shutdown(wait=False)
            raise

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the group's next offset to read for each partition that it committed."""
        return await in_thread(self._executor, self._select, group, topic)

    async def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Remember the next offset to read for these partitions."""
        require_legal_topic(topic)
        rows = [(group, topic, partition, offset) for partition, offset in offsets.items()]
        await in_thread(self._executor, self._upsert, rows)

    async def close(self) -> None:
        """Close the file and end the thread."""
        if not self._closed:
            self._closed = True
            await in_thread(self._executor, self._connection.close)
            self._executor.shutdown(wait=False)

    def _select(self, group: str, topic: str) -> dict[int, int]:
        with _explained():
            return dict(self._connection.execute(_SELECT, (group, topic)).fetchall())

    def _upsert(self, rows: list[tuple[str, str, int, int]]) -> None:
        with _explained(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_UPSERT, rows)


def _open(folder: Path) -> sqlite3.Connection:
    with _explained():
        connection = layout.connect(layout.make_file(folder / GROUPS_FILE))
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_SCHEMA)
        return connection


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Transient(
            "positions-unavailable",
            f"{GROUPS_FILE} cannot be used now ({layout.error_name(error)}); reading goes on without it, and it may "
            "be deleted while nothing runs",
        ) from error
