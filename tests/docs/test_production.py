"""The way from nothing to a task through Kafka and PostgreSQL is run as docs/how-to/run-in-production.md says it.

Goal: whoever follows the page has a discharge on the worklist. Method: the page's own blocks are given to a shell in an
empty folder, in order; only the paths of two commands, the addresses of the servers and the ports are put in their
place.
"""

import os
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from services.simulator.service_process import AFTERSTAY
from tests.docs.pages import ROOT, read_page
from tests.system.service import until

pytestmark = pytest.mark.system

BLOCK_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 20.0
TASKS_WITHIN_S: Final = 60.0
_PAGE: Final = "docs/how-to/run-in-production.md"
_BROKER: Final = "deploy/kafka/broker"
_DATABASE: Final = "postgresql://afterstay@127.0.0.1:5432/afterstay"
_PROCESSES: Final = ("ingest", "followup", "scheduler", "web")


class Follower:
    """Somebody who does what the page says, in an empty folder."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.ready: dict[str, dict[str, Any]] = {}
        self._places = {_BROKER: str(ROOT / _BROKER), _DATABASE: database, "--port 9092": "--port 0"}
        self._blocks = [block.text for block in read_page(_PAGE).blocks("sh")]

    def block(self, begins: str) -> str:
        """Return the page's one block that has a line which begins so, with everything in its place."""
        (found,) = [one for one in self._blocks if any(line.startswith(begins) for line in one.splitlines())]
        self._blocks.remove(found)
        for written, real in self._places.items():
            found = found.replace(written, real)
        return re.sub(r"^afterstay ", f"{shlex.join(AFTERSTAY)} ", found, flags=re.MULTILINE)

    def does(self, begins: str) -> str:
        """Run a block to its end and return what it printed."""
        script = self.block(begins)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder, check=False, capture_output=True, text=True, timeout=BLOCK_WITHIN_S, env=_environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def replace(self, written: str, real: str) -> None:
        """From now on read this where the page says that."""
        self._places[written] = real

    @contextmanager
    def serving(self, verb: str) -> Iterator[None]:
        """Start the process of a block, on free ports, and end it in order."""
        (line,) = self.block(f"afterstay {verb}").strip().splitlines()
        log = self.folder / f"{verb}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                shlex.split(line), cwd=self.folder, stdout=subprocess.PIPE, stderr=stderr, env=_environment()
            )
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said, log.read_text(encoding="utf-8")
            self.ready[verb] = msgspec.json.decode(said)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=STOP_WITHIN_S)
        assert process.returncode == 0, log.read_text(encoding="utf-8")

    def nothing_left(self) -> bool:
        """Tell whether every block was done."""
        return not self._blocks


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AFTERSTAY_")}
    free = {f"AFTERSTAY_{name}_PORT": "0" for name in ("MLLP", "HTTP", "OPS")}
    return clean | free | {"PYTHONPATH": str(ROOT)}


def _open_tasks(http: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{http}/api/v1/tasks?open=true", timeout=TASKS_WITHIN_S) as answer:
        page: dict[str, Any] = msgspec.json.decode(answer.read())
    return list(page["items"])


def test_the_page_leads_from_nothing_to_a_task(tmp_path: Path, empty_postgres_url: str) -> None:
    follower = Follower(tmp_path, empty_postgres_url)
    bootstrap = follower.does(_BROKER).strip()
    try:
        follower.replace("127.0.0.1:9092", bootstrap)
        follower.does("cat > afterstay.toml")
        follower.does("cat > feeds.yaml")
        follower.does("afterstay migrate")
        follower.does("cat > panel.csv")
        with ExitStack() as processes:
            for verb in _PROCESSES:
                processes.enter_context(follower.serving(verb))
            follower.replace("127.0.0.1:2575", follower.ready["ingest"]["mllp"])
            follower.replace("127.0.0.1:9101", follower.ready["ingest"]["ops"].removeprefix("http://"))
            assert follower.does("NOW=").split()[:2] == ["AA", "1"]
            http = follower.ready["web"]["http"]
            items = until(lambda: _open_tasks(http), TASKS_WITHIN_S)
            said = follower.does("afterstay tasks ls")
            for verb in _PROCESSES:
                with urllib.request.urlopen(f"{follower.ready[verb]['ops']}/readyz", timeout=10) as answer:
                    assert msgspec.json.decode(answer.read())["ready"] is True
    finally:
        subprocess.run([ROOT / _BROKER, "stop", "--data", tmp_path / "kafka-data"], check=True, capture_output=True)
    assert [(item["kind"], item["patient"]["id"]) for item in items] == [("contact", "P-1001"), ("visit", "P-1001")]
    assert "the books balance" in said
    assert follower.nothing_left()
