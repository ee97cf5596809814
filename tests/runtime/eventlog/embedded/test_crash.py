"""Real processes: what was reported as durable is there after `kill -9`, and a disk that is full heals (F01, F10)."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.port import Record
from tests.runtime.eventlog.embedded.support import TOPIC, new_record, opened
from tests.runtime.eventlog.embedded.writer_program import value_of
from tests.runtime.eventlog.suite import read_all

WRITER_PROGRAM = "tests.runtime.eventlog.embedded.writer_program"


def start(root: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", WRITER_PROGRAM, *(os.fspath(argument) for argument in arguments)]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def kill_after(process: subprocess.Popen[bytes], lines: int) -> list[tuple[int, int, int]]:
    """Kill the writer once it has reported so many records; return all that it has reported."""
    assert process.stdout is not None
    with process:
        read = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        read += process.stdout.readlines()
    reported = [line.split() for line in read if line.endswith(b"\n")]
    return [(int(number), int(partition), int(offset)) for number, partition, offset in reported]


async def read_back(folder: Path) -> dict[int, list[Record]]:
    subscriber = await EmbeddedSubscriber.open(folder)
    try:
        return await read_all(subscriber, TOPIC)
    finally:
        await subscriber.close()


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_reported_durable_survives_kill_9_at_any_moment(
    tmp_path: Path, pytestconfig: pytest.Config, seed: int
) -> None:
    choose = random.Random(seed)
    reported: list[tuple[int, int, int]] = []
    for life in range(3):
        process = start(pytestconfig.rootpath, "for-ever", tmp_path, str(life * 1_000_000))
        reported += kill_after(process, choose.randrange(1, 700))

    found = await read_back(tmp_path)
    for partition, records in found.items():
        assert [record.offset for record in records] == list(range(len(records))), "no hole, nothing twice"
        assert not any(record.damaged for record in records)
        numbers = [int(record.value.partition(b":")[0]) for record in records]
        assert [value_of(number) for number in numbers] == [record.value for record in records]
        assert {number % 2 for number in numbers} == {partition}
    for number, partition, offset in reported:
        assert found[partition][offset].value == value_of(number), f"record {number} was reported and is gone"
    async with opened(tmp_path) as log:
        position = await log.publisher.publish(new_record())
        assert position.offset == len(found[0])


async def test_a_write_that_the_system_refuses_is_certain_and_heals_by_itself(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    process = start(pytestconfig.rootpath, "into-a-wall", tmp_path, str(600_000))
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"refused\n"
        before = len((await read_back(tmp_path))[0])
        assert before > 10
        process.stdin.write(b"go on\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"%d\n" % (before + 10)
    assert process.returncode == 0
    records = (await read_back(tmp_path))[0]
    assert [record.value for record in records] == [value_of(number) for number in range(before + 10)]
    assert (tmp_path / LOG_FILE).stat().st_size > 0
