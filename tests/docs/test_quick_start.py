"""The way from a clone to a message of your own on the screen is run as the README says it, but for the ports.

Goal: whoever follows the README has their discharge on the worklist. Method: the README's own blocks are given to a
shell in an empty folder; only the command's path and the two ports are put in their place.
"""

import os
import re
import shlex
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from services.simulator.service_process import AFTERSTAY
from tests.docs.pages import read_page

pytestmark = pytest.mark.system

COMMAND_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
_SECTION: Final = "From a clone to a message of your own on the screen"


def _blocks() -> list[str]:
    text = read_page("README.md").text
    section = text.partition(f"## {_SECTION}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def _in_place(block: str, **addresses: str) -> str:
    placed = block.replace(".venv/bin/afterstay", shlex.join(AFTERSTAY))
    for written, real in addresses.items():
        placed = placed.replace(written, real)
    return placed


def _run(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, check=False, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, env=_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    """Return our environment with the checkout importable from anywhere, and without a data folder of somebody's."""
    environment = {name: value for name, value in os.environ.items() if name != "AFTERSTAY_DATA"}
    return environment | {"PYTHONPATH": str(Path(__file__).parents[2])}


@contextmanager
def _serving(block: str, folder: Path) -> Iterator[dict[str, Any]]:
    (line,) = _in_place(block).strip().splitlines()
    words = shlex.split(f"{line} --mllp-port 0 --http-port 0")
    with (folder / "run.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=log, env=_environment())
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready, (folder / "run.log").read_text(encoding="utf-8")
        yield msgspec.json.decode(ready, type=dict[str, Any])
    finally:
        process.terminate()
        process.communicate(timeout=STOP_TIMEOUT_S)
    assert process.returncode == 0


def _eventually_open(http: str) -> list[dict[str, Any]]:
    """Ask until there are open tasks."""
    deadline = time.monotonic() + COMMAND_TIMEOUT_S
    while True:
        with urllib.request.urlopen(f"{http}/api/v1/tasks?open=true", timeout=COMMAND_TIMEOUT_S) as answer:
            page = msgspec.json.decode(answer.read(), type=dict[str, Any])
        if page["items"] or time.monotonic() > deadline:
            return list(page["items"])
        time.sleep(0.05)


def test_the_feeds_file_of_the_readme_has_eight_lines() -> None:
    (block,) = [one for one in _blocks() if "feeds.yaml <<" in one]
    assert len(block.splitlines()) - 2 == 8


def test_a_discharge_of_your_own_becomes_two_tasks_on_the_screen(tmp_path: Path) -> None:
    install, feeds, run, panel, send = _blocks()
    assert install.strip() == "make install"
    _run(_in_place(feeds), tmp_path)
    with _serving(run, tmp_path) as ready:
        _run(_in_place(panel), tmp_path)
        answer = _run(_in_place(send, **{"127.0.0.1:2575": ready["mllp"]}), tmp_path)
        assert answer.split()[:2] == ["AA", "1"]
        items = _eventually_open(ready["http"])
        with urllib.request.urlopen(f"{ready['http']}/", timeout=COMMAND_TIMEOUT_S) as page:
            screen = page.read().decode()
    assert [(item["kind"], item["status"], item["patient"]["id"]) for item in items] == [
        ("contact", "requested", "P-1001"),
        ("visit", "requested", "P-1001"),
    ]
    assert [item["stay"]["facility"]["name"] for item in items] == ["Mercy Hospital"] * 2
    assert "Ana" in screen
    assert "Ruiz" in screen
