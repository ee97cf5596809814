"""A real `afterstay run` as a child process, and the other verbs beside it, as scripts use them.

Whatever a test does, the processes it started are ended by their own ids. Nothing sleeps for a fixed time: `until`
waits for a condition, within a bound.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec
import psutil

from schemas.events import RAW_HEADER, AdtEvent, decode_event
from schemas.topics import ADT_EVENTS
from services.commands.data_source import DataSource
from services.commands.status import read_status
from services.followup.usecases.status import Status
from services.runtime.database import database_url
from services.runtime.eventlog.embedded.reader import LogReader
from services.runtime.eventlog.port import Record
from tests.system.senders import Address, Answer, send_each

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "services.cli")
START_WITHIN_S = 60.0
"""What `run` itself allows its worker; on a quiet machine it takes two."""
DRAIN_WITHIN_S = 10.0  # fault F42
PATIENCE_S = 20.0
POLL_S = 0.02
_Found = TypeVar("_Found")


def until(condition: Callable[[], _Found | None], within_s: float = PATIENCE_S) -> _Found:
    """Wait until a condition gives something true and return that; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {condition}"
        time.sleep(POLL_S)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a call of the command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return msgspec.json.decode(self.out)


def afterstay(*words: object, within_s: float = START_WITHIN_S) -> Said:
    """Run the command in a process of its own, to its end."""
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=within_s,
        check=False,
    )
    return Said(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


class Interface:
    """The web interface of whatever runs, as a client sees it."""

    http = ""

    def get(self, path: str, **query: str) -> httpx.Response:
        """Ask the web interface."""
        return httpx.get(f"{self.http}{path}", params=query, timeout=PATIENCE_S, trust_env=False)

    def post(self, path: str, **body: object) -> httpx.Response:
        """Change something through the web interface."""
        return httpx.post(f"{self.http}{path}", json=body, timeout=PATIENCE_S, trust_env=False)

    def tasks(self, *, is_open: bool = True) -> list[dict[str, Any]]:
        """Return the tasks on the worklist, page by page."""
        items: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            page = self.get("/api/v1/tasks", open=str(is_open).lower(), limit="500", **more).raise_for_status().json()
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            more = {"cursor": page["next_cursor"]}

    def tasks_of(self, patient_id: str, *, is_open: bool = True) -> dict[str, dict[str, Any]]:
        """Return the tasks of one patient by kind; two of a kind are an error."""
        found = [task for task in self.tasks(is_open=is_open) if task["patient"]["id"] == patient_id]
        by_kind = {task["kind"]: task for task in found}
        assert len(by_kind) == len(found), found
        return by_kind


class Service(Interface):
    """One data folder and the `run` on it; a context manager that starts it and always ends it."""

    def __init__(self, folder: Path, *, feeds: str | None = None, log_level: str = "info") -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.mllp: Address = ("", 0)
        self._folder = folder
        self._log_level = log_level
        self._feeds: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._workers: list[psutil.Process] = []
        if feeds is not None:
            self.feed(feeds)

    def feed(self, feeds: str) -> Path:
        """Write the feeds file that the next start is given, and return its path."""
        self._feeds = self._folder / "feeds.yaml"
        self._feeds.write_text(feeds, encoding="utf-8")
        return self._feeds

    # Its life

    def start(self) -> Self:
        """Start it and wait for its ready line."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        feeds = ("--feeds", str(self._feeds)) if self._feeds else ()
        with self._stdout.open("wb") as out, self._stderr.open("ab") as err:
            self._process = subprocess.Popen(
                [
                    *COMMAND, "run", "--data", str(self.data), *feeds, "--log-level", self._log_level,
                    "--mllp-port", "0", "--http-port", "0",
                ],
                cwd=ROOT,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for pytest; this one is ended in order
            )  # fmt: skip
        ready = msgspec.json.decode(until(self._ready_line, START_WITHIN_S))
        host, _, port = ready["mllp"].rpartition(":")
        self.mllp, self.http = (host, int(port)), ready["http"]
        self._workers.append(self.worker())
        return self

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The listener's, which is the parent's."""
        assert self._process is not None
        return self._process.pid

    def worker(self) -> psutil.Process:
        """Return the worker that runs now."""
        (worker,) = psutil.Process(self.pid).children()
        if worker not in self._workers:
            self._workers.append(worker)
        return worker

    def kill(self) -> None:
        """End the listener as `kill -9` does, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def terminate(self) -> None:
        """Ask for the end with SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, within_s: float = DRAIN_WITHIN_S) -> int:
        """Wait for the end of the listener and return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=within_s)

    def close(self) -> None:
        """End what still runs, in order if it lets itself be asked."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=2 * DRAIN_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for worker in self._workers:  # psutil knows a process by its birth too, so nobody else's is ended
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.wait(timeout=DRAIN_WITHIN_S)
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()

    # What it is told and says

    def send(self, *messages: bytes) -> list[Answer]:
        """Send messages on one connection, each after the answer to the one before."""
        return send_each(self.mllp, messages)

    def run(self, *words: object) -> Said:
        """Run another verb on its data folder."""
        return afterstay(*words, "--data", self.data)

    @property
    def database_address(self) -> str:
        """Address of its database."""
        return database_url(self.data)

    def status(self) -> Any:
        """Return what `status --json` says; its books must balance."""
        said = self.run("status", "--json")
        assert said.code == 0, said
        return said.json

    def books(self) -> Status:
        """Return the same as `status`, without a process: for waiting."""
        with ThreadPoolExecutor(1) as thread:  # a test may have a loop of its own in this one
            return thread.submit(read_status, DataSource(folder=self.data)).result()

    def settle(self, within_s: float = PATIENCE_S) -> Status:
        """Wait until every message received has its outcome, and return the books, which must balance."""
        books = until(lambda: books if (books := self.books()).pending == 0 else None, within_s)
        assert books.balanced, books.problems
        return books

    # What it leaves

    def stdout(self) -> str:
        """Return what the latest start has written on standard output."""
        return self._stdout.read_text(encoding="utf-8")

    def stderr(self) -> str:
        """Return what all starts have written on standard error."""
        return self._stderr.read_text(encoding="utf-8")

    def log(self) -> list[dict[str, Any]]:
        """Return the log lines of all starts; a line that is no JSON object is an error."""
        lines = [msgspec.json.decode(line) for line in self.stderr().splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def complaints(self) -> list[dict[str, Any]]:
        """Return the log lines that call for somebody."""
        return [line for line in self.log() if line["level"] in {"error", "critical"}]

    def records(self) -> list[Record]:
        """Return every record of the event log."""
        reader = LogReader(self.data)
        try:
            found = []
            for partition in reader.partitions(ADT_EVENTS):
                found += reader.read(ADT_EVENTS, partition, 0, 1_000_000, 2**40)
            return found
        finally:
            reader.close()

    def kept(self) -> list[bytes]:
        """Return the bytes of every message in the event log."""
        return [record.header(RAW_HEADER) or b"" for record in self.records()]

    def events(self) -> list[AdtEvent]:
        """Return every event in the event log."""
        return [decode_event(record.value) for record in self.records()]

    @property
    def _stdout(self) -> Path:
        return self._folder / "run.out"

    @property
    def _stderr(self) -> Path:
        return self._folder / "run.err"

    def _ready_line(self) -> str | None:
        assert self._process is not None
        said = self.stdout()
        assert said.endswith("\n") or self._process.poll() is None, f"it ended before it was ready:\n{self.stderr()}"
        return said if said.endswith("\n") else None


def control_ids(events: Sequence[AdtEvent]) -> list[str | None]:
    """Return the control ids of events."""
    return [event.control_id for event in events]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "AFTERSTAY_DATA"}
