"""Damage is reported where it lies and never delivered as valid (fault F09); readers in other processes see all."""

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.runtime.errors import Permanent, Transient
from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.eventlog.embedded.reader import LogReader
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.port import Record
from tests.runtime.eventlog.embedded.support import TOPIC, new_record, opened, raw
from tests.runtime.eventlog.suite import Outcomes, read_all

PAGE_BYTES = 4096
READER_PROGRAM = "tests.runtime.eventlog.embedded.reader_program"


async def write(folder: Path, values: list[bytes]) -> None:
    async with opened(folder) as log:
        outcomes = Outcomes(len(values))
        for number, value in enumerate(values):
            log.publisher.submit(new_record(value), outcomes.taker(number))
        await outcomes.all()


async def read_back(folder: Path) -> list[Record]:
    subscriber = await EmbeddedSubscriber.open(folder)
    try:
        return (await read_all(subscriber, TOPIC, page=7))[0]
    finally:
        await subscriber.close()


async def read_or_refusal(folder: Path) -> list[Record] | str:
    try:
        return await read_back(folder)
    except Permanent as refusal:
        return refusal.code


def change(folder: Path, sql: str) -> None:
    connection = raw(folder)
    assert connection.execute(sql).rowcount == 1
    connection.close()


ROW = "(SELECT min(id) + 4 FROM record)"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(f"UPDATE record SET value = x'00' || substr(value, 2) WHERE id = {ROW}", id="value"),
        pytest.param(f"UPDATE record SET headers = substr(headers, 2) WHERE id = {ROW}", id="headers"),
        pytest.param(f"UPDATE record SET key = x'' WHERE id = {ROW}", id="key"),
        pytest.param(f"UPDATE record SET timestamp_us = timestamp_us + 1 WHERE id = {ROW}", id="timestamp"),
        pytest.param(f"UPDATE record SET checksum = checksum + 1 WHERE id = {ROW}", id="checksum"),
        pytest.param(f"UPDATE record SET value = CAST(x'ff00ff' AS TEXT) WHERE id = {ROW}", id="blob turned text"),
        pytest.param(f"UPDATE record SET value = 7 WHERE id = {ROW}", id="blob turned number"),
        pytest.param(f"DELETE FROM record WHERE id = {ROW}", id="row gone"),
    ],
)
async def test_a_damaged_record_is_marked_emptied_and_passed(tmp_path: Path, damage: str) -> None:
    values = [b"record %d" % number for number in range(10)]
    await write(tmp_path, values)
    change(tmp_path, damage)
    records = await read_back(tmp_path)
    assert [record.offset for record in records] == list(range(10))
    assert [record.value for record in records if not record.damaged] == values[:4] + values[5:]
    assert records[4] == Record(
        topic=TOPIC, partition=0, offset=4, key=b"", value=b"", headers=(), timestamp_us=0, damaged=True
    )


async def test_a_record_moved_to_another_offset_is_not_taken_for_the_one_that_belongs_there(tmp_path: Path) -> None:
    await write(tmp_path, [b"a", b"b", b"c"])
    connection = raw(tmp_path)
    connection.execute("DELETE FROM record WHERE id = (SELECT min(id) FROM record)")
    connection.execute("UPDATE record SET id = id - 1 WHERE id = (SELECT min(id) FROM record)")
    connection.close()
    records = await read_back(tmp_path)
    assert [(record.offset, record.damaged, record.value) for record in records] == [
        (0, True, b""),
        (1, True, b""),
        (2, False, b"c"),
    ]


async def test_a_table_cut_short_is_found_out(tmp_path: Path) -> None:
    await write(tmp_path, [b"a", b"b", b"c"])
    connection = raw(tmp_path)
    connection.execute("DELETE FROM record WHERE id > (SELECT min(id) FROM record)")
    connection.close()
    assert [(record.value, record.damaged) for record in await read_back(tmp_path)] == [
        (b"a", False),
        (b"", True),
        (b"", True),
    ]


async def test_flipped_bits_are_never_delivered_as_valid_and_never_stop_the_reader(tmp_path: Path) -> None:
    """Goal: fault F09 on any page below the schema. Method: three flips at a time, most of them in page headers."""
    values = [random.Random(number).randbytes(number * 997 % 6000) for number in range(40)]
    (tmp_path / "sound").mkdir()
    await write(tmp_path / "sound", values)
    sound = (tmp_path / "sound" / LOG_FILE).read_bytes()
    first_page = root_of_records(tmp_path / "sound") - 1
    outcomes: list[str] = []
    for seed in [*range(150), 1187]:
        choose = random.Random(seed)
        content = bytearray(sound)
        for _ in range(3):
            page = choose.randrange(first_page, len(content) // PAGE_BYTES)
            content[page * PAGE_BYTES + choose.randrange(choose.choice([12, 60, PAGE_BYTES]))] ^= 1 << choose.randrange(
                8
            )
        (tmp_path / LOG_FILE).write_bytes(content)
        found = await read_or_refusal(tmp_path)
        if isinstance(found, str):
            outcomes.append(found)
            continue
        assert [record.offset for record in found] == list(range(len(found))), f"seed {seed}"
        assert len(found) >= len(values), f"seed {seed}"
        assert all(record.damaged or record.value == values[record.offset] for record in found), f"seed {seed}"
        outcomes.append("damage" if any(record.damaged for record in found) else "no damage")
    # log-damaged: the page that tells how long the log is. No damage: a flip in what no record uses.
    assert set(outcomes) <= {"damage", "no damage", "log-damaged"}
    assert outcomes.count("damage") > 50


async def test_a_page_of_rubbish_costs_its_own_records_and_no_others(tmp_path: Path) -> None:
    values = [b"%03d" % number + bytes(1500) for number in range(60)]
    await write(tmp_path, values)
    path = tmp_path / LOG_FILE
    content = bytearray(path.read_bytes())
    place = content.index(values[30])
    page = place - place % PAGE_BYTES
    content[page : page + PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    records = await read_back(tmp_path)
    assert [record.offset for record in records] == list(range(60))
    damaged = [record.offset for record in records if record.damaged]
    assert 30 in damaged
    assert len(damaged) <= 4  # as many as fit on a page
    assert all(record.value == values[record.offset] for record in records if not record.damaged)


def root_of_records(folder: Path) -> int:
    """Return the page, counted from 1, at which the table of records begins; the other tables lie before it."""
    connection = raw(folder)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'record'").fetchone()
    connection.close()
    return int(root)


async def test_a_log_whose_extent_cannot_be_read_is_called_damaged(tmp_path: Path) -> None:
    await write(tmp_path, [b"x" * 3000] * 10)
    path = tmp_path / LOG_FILE
    content = bytearray(path.read_bytes())
    begin = (root_of_records(tmp_path) - 1) * PAGE_BYTES
    content[begin : begin + PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    assert await read_or_refusal(tmp_path) == "log-damaged"


@pytest.mark.parametrize("call", ["end_offsets", "read", "probe"])
async def test_a_log_that_cannot_be_read_now_is_called_unavailable(tmp_path: Path, call: str) -> None:
    await write(tmp_path, [b"x"])
    reader = LogReader(tmp_path)
    arguments = {"end_offsets": (), "read": (0, 0, 1, 1), "probe": ({0: 0}, None)}[call]
    reader._connection.set_progress_handler(lambda: 1, 1)  # every statement is interrupted
    with pytest.raises(Transient) as refusal:
        getattr(reader, call)(TOPIC, *arguments)
    assert refusal.value.code == "log-unavailable"
    reader._connection.set_progress_handler(None, 1)
    assert len(reader.read(TOPIC, 0, 0, 9, 9)) == 1
    reader.close()


# What is not a log


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda _path: None, "log-missing", id="nothing there"),
        pytest.param(lambda path: path.write_bytes(b"\xa5" * 8192), "log-damaged", id="rubbish"),
        pytest.param(
            lambda path: sqlite3.connect(path).execute("CREATE TABLE meta (name, value)").connection.close(),
            "log-unavailable",
            id="being made",
        ),
        pytest.param(lambda path: path.write_bytes(b""), "log-unavailable", id="empty, being made"),
    ],
)
async def test_what_is_no_log_is_refused_with_its_reason(
    tmp_path: Path, make: Callable[[Path], object], code: str
) -> None:
    make(tmp_path / LOG_FILE)
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - the code tells which
        await EmbeddedSubscriber.open(tmp_path)
    assert getattr(refusal.value, "code", None) == code


async def test_a_log_of_a_later_format_is_refused_by_reader_and_writer(tmp_path: Path) -> None:
    await write(tmp_path, [b"x"])
    change(tmp_path, "UPDATE meta SET value = 99 WHERE name = 'format'")
    with pytest.raises(Permanent) as refusal:
        await EmbeddedSubscriber.open(tmp_path)
    assert refusal.value.code == "log-format-unknown"
    assert "99" in refusal.value.message
    with pytest.raises(Permanent) as refusal:
        async with opened(tmp_path):
            pass
    assert refusal.value.code == "log-format-unknown"


async def test_a_reader_cannot_change_the_log(tmp_path: Path) -> None:
    await write(tmp_path, [b"x"])
    reader = LogReader(tmp_path)
    with pytest.raises(sqlite3.OperationalError):
        reader._connection.execute("DELETE FROM record")
    reader.close()


async def test_waiting_costs_next_to_nothing_while_nobody_writes(tmp_path: Path) -> None:
    await write(tmp_path, [b"x"])
    reader = LogReader(tmp_path)
    statements: list[str] = []
    found, seen = reader.probe(TOPIC, {0: 1}, None)
    assert not found
    reader._connection.set_trace_callback(statements.append)
    assert reader.probe(TOPIC, {0: 1}, seen) == (False, seen)
    assert statements == ["PRAGMA data_version"]
    reader.close()


# Other processes


async def test_readers_in_other_processes_see_every_record_while_it_is_written(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    count = 600
    async with opened(tmp_path) as log:
        await log.publisher.publish(new_record(b"0"))
        readers = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", READER_PROGRAM, os.fspath(tmp_path), str(count)),
                cwd=pytestconfig.rootpath,
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(2)
        ]
        for number in range(1, count):
            await log.publisher.publish(new_record(b"%d" % number, partition=number % 2))
        for reader in readers:
            output, _ = await asyncio.wait_for(reader.communicate(), 30)
            assert reader.returncode == 0
            seen = json.loads(output)
            assert seen == [[str(number) for number in range(partition, count, 2)] for partition in (0, 1)]
