import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from schemas.topics import ADT_EVENTS
from services.followup.usecases.pending import read_extent, read_pending
from services.followup.usecases.status import EMPTY_BOOKS, Books
from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from tests.support.adt import adt
from tests.support.data_folders import DataFolder

MESSAGES = [adt("A08", sent="20261118090000", control_id=f"C{n}", mrn=f"{n}^^^MERCY^MR") for n in range(9)]


def books_at(**positions: int) -> Books:
    return Books(
        positions={int(name[1:]): at for name, at in positions.items()},
        outcomes={},
        acks={},
        events=0,
        open_letters=0,
        tasks={},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    made = DataFolder(tmp_path_factory.mktemp("log"))
    made.receive(*MESSAGES)
    return made


@pytest.mark.parametrize("records_max", [1, 2, 500])
async def test_every_record_behind_the_positions_is_read_once(folder: DataFolder, records_max: int) -> None:
    subscriber = await EmbeddedSubscriber.open(folder.path)
    try:
        ends = await subscriber.end_offsets(ADT_EVENTS)
        books = books_at(p0=1, p1=ends[1])
        found = [
            (record.partition, record.offset)
            async for record in read_pending(subscriber, ADT_EVENTS, books, ends, records_max=records_max)
        ]
    finally:
        await subscriber.close()

    expected = [(p, offset) for p, end in sorted(ends.items()) for offset in range(books.positions.get(p, 0), end)]
    assert found == expected
    assert len(found) == len(MESSAGES) - 1 - ends[1]


async def test_it_ends_where_the_log_ended_when_it_was_asked(folder: DataFolder) -> None:
    subscriber = await EmbeddedSubscriber.open(folder.path)
    try:
        ends = await subscriber.end_offsets(ADT_EVENTS)
        earlier = {partition: max(0, end - 1) for partition, end in ends.items()}
        found = [record async for record in read_pending(subscriber, ADT_EVENTS, EMPTY_BOOKS, earlier)]
    finally:
        await subscriber.close()

    assert len(found) == sum(earlier.values())


async def test_a_damaged_record_is_counted_with_an_unknown_answer(folder: DataFolder, tmp_path: Path) -> None:
    copied = folder.copy_to(tmp_path / "copy")
    with closing(sqlite3.connect(copied.path / LOG_FILE)) as connection, connection:
        connection.execute("UPDATE record SET value = x'00' WHERE id = (SELECT min(id) FROM record)")
    subscriber = await EmbeddedSubscriber.open(copied.path)
    try:
        extent = await read_extent(subscriber, ADT_EVENTS, EMPTY_BOOKS)
    finally:
        await subscriber.close()

    assert extent.pending_acks == {"AA": len(MESSAGES) - 1, "unknown": 1}
