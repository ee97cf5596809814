"""The log's file: who may read it, where it can lie, and when it is refused."""

import os
import sqlite3
from pathlib import Path

import pytest

from services.runtime.errors import Permanent, Transient
from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.embedded.groups import GROUPS_FILE, EmbeddedGroupPositions
from tests.runtime.eventlog.embedded.support import TOPIC, new_record, opened, raw


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        async with opened(tmp_path) as log:
            await log.publisher.publish(new_record())
            groups = await EmbeddedGroupPositions.open(tmp_path)
            await groups.commit("matching", TOPIC, {0: 1})
            modes = modes_in(tmp_path)
            await groups.close()
    finally:
        os.umask(previous)
    assert modes == dict.fromkeys(modes, 0o600)
    assert {layout.LOG_FILE, f"{layout.LOG_FILE}-wal", GROUPS_FILE} <= set(modes)


async def test_a_folder_that_is_not_there_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(Permanent) as refusal:
        layout.open_for_writing(tmp_path / "missing", partitions=4)
    assert refusal.value.code == "data-folder-unusable"
    assert "must exist" in refusal.value.message


async def test_a_file_that_cannot_share_memory_is_refused(tmp_path: Path) -> None:
    class NoWriteAheadLog(sqlite3.Connection):
        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            return super().execute(sql.replace("journal_mode = WAL", "journal_mode = DELETE"))

    with pytest.raises(Permanent) as refusal:
        layout.open_for_writing(tmp_path, partitions=4, factory=NoWriteAheadLog)
    assert refusal.value.code == "data-folder-unusable"
    assert "journal_mode=delete" in refusal.value.message


async def test_a_log_that_another_process_locks_is_waited_for_and_then_called_unavailable(tmp_path: Path) -> None:
    class Impatient(sqlite3.Connection):
        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            super().execute("PRAGMA busy_timeout = 1")
            return super().execute(sql)

    blocker = sqlite3.connect(tmp_path / layout.LOG_FILE, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Transient) as refusal:
        layout.open_for_writing(tmp_path, partitions=4, factory=Impatient)
    blocker.close()
    assert refusal.value.code == "log-unavailable"


def test_rubbish_is_not_written_to(tmp_path: Path) -> None:
    rubbish = b"\xa5" * 8192
    (tmp_path / layout.LOG_FILE).write_bytes(rubbish)
    with pytest.raises(Permanent) as refusal:
        layout.open_for_writing(tmp_path, partitions=4)
    assert refusal.value.code == "log-damaged"
    assert (tmp_path / layout.LOG_FILE).read_bytes() == rubbish


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("DELETE FROM record WHERE id = (SELECT max(id) FROM record)", id="the last records are gone"),
        pytest.param("DELETE FROM record", id="all records are gone"),
        pytest.param("UPDATE stream SET known_end = known_end + 1 WHERE id = 1", id="an end was changed"),
        pytest.param("UPDATE stream SET topic = 'adt.events.v0' WHERE id = 1", id="a topic was changed"),
    ],
)
async def test_a_log_that_lost_its_end_is_not_written_to(tmp_path: Path, damage: str) -> None:
    async with opened(tmp_path) as log:
        for _ in range(3):
            await log.publisher.publish(new_record())
    connection = raw(tmp_path)
    connection.execute(damage)
    connection.close()
    with pytest.raises(Permanent) as refusal:
        async with opened(tmp_path):
            pass
    assert refusal.value.code == "log-damaged"


async def test_a_record_is_one_row_in_one_page_of_the_usual_size(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for _ in range(200):
            await log.publisher.publish(new_record(bytes(3500)))
    size = (tmp_path / layout.LOG_FILE).stat().st_size
    assert size < 230 * 4096
