"""Real processes: what was acknowledged is in the log or in the spool after `kill -9` at any moment (F01, F20)."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.eventlog.spooled.support import PARTITIONS

PROGRAM = "tests.runtime.eventlog.spooled.flapping_program"


def command(folder: Path, seed: int, *words: str) -> list[str]:
    return [sys.executable, "-m", PROGRAM, os.fspath(folder), str(seed), *words]


def live_and_die(root: Path, folder: Path, seed: int, lines: int) -> list[int]:
    """Kill the process once it has acknowledged so many records; return all that it has acknowledged."""
    process = subprocess.Popen(command(folder, seed), cwd=root, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        read = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        read += process.stdout.readlines()
    return [int(line) for line in read if line.endswith(b"\n")]


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_is_forwarded_in_order_after_any_kill(
    tmp_path: Path, pytestconfig: pytest.Config, seed: int
) -> None:
    choose = random.Random(seed)
    acknowledged: list[int] = []
    for life in range(3):
        lines = choose.randrange(300, 2000)
        acknowledged += live_and_die(pytestconfig.rootpath, tmp_path, seed * 10 + life, lines)
    subprocess.run(command(tmp_path, 0, "drain"), cwd=pytestconfig.rootpath, check=True, timeout=60)

    found = [int(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert set(acknowledged) <= set(found), "acknowledged and gone"
    for partition in range(PARTITIONS):
        first = list(dict.fromkeys(number for number in found if number % PARTITIONS == partition))
        assert first == sorted(first)
    assert list((tmp_path / "spool" / "quarantine").iterdir()) == []
