"""Group positions: apart from the log, shared by processes, harmless to lose."""

import sqlite3
from pathlib import Path

import pytest

from services.runtime.errors import Permanent, Transient
from services.runtime.eventlog.embedded.groups import GROUPS_FILE, EmbeddedGroupPositions
from tests.runtime.eventlog.embedded.support import TOPIC, new_record, opened


async def test_a_commit_does_not_wait_for_the_log_nor_the_log_for_a_commit(tmp_path: Path) -> None:
    groups = await EmbeddedGroupPositions.open(tmp_path)
    async with opened(tmp_path) as log:
        writer = sqlite3.connect(tmp_path / GROUPS_FILE, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        await log.publisher.publish(new_record())
        writer.close()
        writer = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        await groups.commit("matching", TOPIC, {0: 1})
        writer.close()
    assert await groups.committed("matching", TOPIC) == {0: 1}
    await groups.close()


async def test_two_openers_share_what_is_committed(tmp_path: Path) -> None:
    first = await EmbeddedGroupPositions.open(tmp_path)
    second = await EmbeddedGroupPositions.open(tmp_path)
    await first.commit("matching", TOPIC, {0: 5, 1: 6})
    await second.commit("matching", TOPIC, {1: 7})
    assert await first.committed("matching", TOPIC) == {0: 5, 1: 7}
    await first.close()
    await second.close()


async def test_a_commit_is_all_or_nothing(tmp_path: Path) -> None:
    groups = await EmbeddedGroupPositions.open(tmp_path)
    await groups.commit("matching", TOPIC, {0: 1, 1: 1})
    trigger = sqlite3.connect(tmp_path / GROUPS_FILE, isolation_level=None)
    trigger.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON group_position WHEN new.partition = 1"
        " BEGIN SELECT raise(ABORT, 'refused'); END"
    )
    with pytest.raises(Transient) as refusal:
        await groups.commit("matching", TOPIC, {0: 2, 1: 2})
    assert refusal.value.code == "positions-unavailable"
    assert await groups.committed("matching", TOPIC) == {0: 1, 1: 1}
    trigger.execute("DROP TRIGGER refuse")
    trigger.close()
    await groups.commit("matching", TOPIC, {0: 2, 1: 2})
    assert await groups.committed("matching", TOPIC) == {0: 2, 1: 2}
    await groups.close()


async def test_a_broken_file_is_called_unavailable(tmp_path: Path) -> None:
    (tmp_path / GROUPS_FILE).write_bytes(b"\xa5" * 8192)
    with pytest.raises(Transient) as refusal:
        await EmbeddedGroupPositions.open(tmp_path)
    assert refusal.value.code == "positions-unavailable"


async def test_an_illegal_topic_has_no_positions(tmp_path: Path) -> None:
    groups = await EmbeddedGroupPositions.open(tmp_path)
    with pytest.raises(Permanent) as refusal:
        await groups.commit("matching", "no/topic", {0: 1})
    assert refusal.value.code == "topic-unknown"
    await groups.close()
