"""The processes of a benchmark: started, waited for, measured as the operating system accounts them, and ended.

A server says in one line of JSON that it is ready; a load says in one line of JSON what it measured. Whatever happens,
the processes that were started here are ended, by their own ids, and no others.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from services.runtime.database import DATABASE_FILE
from tests.benchmarks.crowd import FEEDS, panel_csv

ROOT: Final = Path(__file__).parents[2]
READY_WITHIN_S: Final = 60.0
END_WITHIN_S: Final = 20.0
LOAD_WITHIN_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process that takes messages: where, and which processes' time counts, by what they are called."""

    port: int
    processes: dict[str, psutil.Process]


def prepare_template(folder: Path) -> Path:
    """Make a data folder with a panel of 10,000 people and the feeds file beside it; return the database to copy."""
    folder.mkdir()
    (folder / "panel.csv").write_text(panel_csv(), encoding="ascii")
    (folder / "feeds.yaml").write_text(FEEDS, encoding="ascii")
    data = folder / "data"
    with started(_python("services.cli", "run", "--data", str(data), *_PORTS), folder / "run.err"):
        pass  # makes the database
    _finished(["services.cli", "panel", "import", str(folder / "panel.csv"), "--data", str(data)])
    return data / DATABASE_FILE


@contextmanager
def afterstay_run(folder: Path, template: Path) -> Iterator[Server]:
    """Run `afterstay run` on a fresh data folder with the panel in it."""
    data = folder / "data"
    data.mkdir(parents=True)
    (data / DATABASE_FILE).write_bytes(template.read_bytes())
    feeds = template.parents[1] / "feeds.yaml"
    words = ["services.cli", "run", "--data", str(data), "--feeds", str(feeds), "--log-level", "warning", *_PORTS]
    with started(_python(*words), folder / "run.err") as (process, ready):
        (worker,) = process.children()
        yield Server(port=int(ready["mllp"].rpartition(":")[2]), processes={"listener": process, "worker": worker})


@contextmanager
def listener_alone(folder: Path, template: Path) -> Iterator[Server]:
    """Run the listener without a worker, on a fresh data folder."""
    feeds = template.parents[1] / "feeds.yaml"
    words = ["tests.benchmarks.listener_alone", str(folder / "data"), str(feeds)]
    folder.mkdir(parents=True)
    with started(_python(*words), folder / "listener.err") as (process, ready):
        yield Server(port=ready["port"], processes={"listener": process})


@contextmanager
def python_hl7(folder: Path) -> Iterator[Server]:
    """Run python-hl7's server, which answers and stores nothing."""
    folder.mkdir(parents=True)
    with started(_python("tests.benchmarks.python_hl7_server"), folder / "server.err") as (process, ready):
        yield Server(port=ready["port"], processes={"listener": process})


@contextmanager
def afterstay_ingest(folder: Path, template: Path, bootstrap: str) -> Iterator[Server]:
    """Run `afterstay ingest` into a broker that has the topics, with a spool of its own."""
    folder.mkdir(parents=True)
    feeds = template.parents[1] / "feeds.yaml"
    words = ["services.cli", "ingest", "--kafka", bootstrap, "--spool", str(folder / "spool"), "--feeds", str(feeds)]
    words += ["--mllp-port", "0", "--ops-port", "0", "--log-level", "warning"]
    with started(_python(*words), folder / "ingest.err") as (process, ready):
        family = {"listener": process, **{f"child {one.pid}": one for one in process.children(recursive=True)}}
        yield Server(port=int(ready["mllp"].rpartition(":")[2]), processes=family)


@contextmanager
def afterstay_followup(folder: Path, bootstrap: str, database: str) -> Iterator[psutil.Process]:
    """Run `afterstay followup` from a broker that has the topics into a database that has its tables."""
    words = ["services.cli", "followup", "--kafka", bootstrap, "--database", database]
    words += ["--ops-port", "0", "--log-level", "warning"]
    with started(_python(*words), folder / "followup.err") as (process, _):
        yield process


def make_topics(bootstrap: str) -> None:
    """Make Afterstay's topics on a broker that need not sync each write, and let it have a coordinator for groups."""
    _done(["services.cli", "topics", "create", "--kafka", bootstrap, "--single-broker"], 0, 1)
    _done(["services.cli", "lag", "--kafka", bootstrap], 0)


def make_database(database: str, template: Path) -> None:
    """Give a database its tables and the panel of the template."""
    _finished(["services.cli", "migrate", "--database", database])
    _finished(["services.cli", "panel", "import", str(template.parents[1] / "panel.csv"), "--database", database])


def run_load(words: list[str]) -> dict[str, Any]:
    """Run a load to its end and return what it measured."""
    found: dict[str, Any] = json.loads(_finished(words))
    return found


_PORTS = ("--mllp-port", "0", "--http-port", "0")


def _python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def _finished(words: list[str]) -> str:
    return _done(words, 0)


def _done(words: list[str], *codes: int) -> str:
    done = subprocess.run(
        _python(*words),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=LOAD_WITHIN_S,
        check=False,
        text=True,
    )
    if done.returncode not in codes:
        sys.exit(f"benchmark: {words[0]} ended with {done.returncode}; what it said stands above")
    return done.stdout


@contextmanager
def started(words: list[str], errors: Path) -> Iterator[tuple[psutil.Process, dict[str, Any]]]:
    """Start a server, wait for its line of JSON, and end it and its children; refuse one that complained."""
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    family = [psutil.Process(process.pid)]
    try:
        said = process.stdout.readline()  # it ends or says so: `run` waits for its worker no longer than a minute
        if not said:
            sys.exit(f"benchmark: {' '.join(words[:4])} did not start: {errors.read_text(encoding='utf-8')[-2000:]}")
        family += family[0].children()
        yield family[0], json.loads(said)
        _check_quiet(errors)
    finally:
        _end(process, family)


def _check_quiet(errors: Path) -> None:
    """Refuse a measurement of something that complained."""
    said = errors.read_text(encoding="utf-8")
    if any(word in said for word in ('"error"', '"critical"', "Traceback", "ERROR", "Exception")):
        sys.exit(f"benchmark: a server complained: {said[-2000:]}")


def _end(process: subprocess.Popen[str], family: list[psutil.Process]) -> None:
    process.terminate()
    try:
        process.wait(timeout=END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    for one in family[1:]:  # a worker leaves with its listener; psutil knows a process by its birth too
        with contextlib.suppress(psutil.Error):
            one.wait(timeout=END_WITHIN_S)
        with contextlib.suppress(psutil.Error):
            one.kill()


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time, user and system, of all threads of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def until_deadline(within_s: float) -> Iterator[float]:
    """Yield the seconds since the start until the time is over."""
    began = time.monotonic()
    while (since := time.monotonic() - began) < within_s:
        yield since
