"""Production as its users run it: real processes on a real Kafka and a real PostgreSQL, and other verbs beside them.

`Production` starts `ingest`, some `followup`, `scheduler` and `web` on free ports and always ends them by their ids. It
takes the broker's topic for itself: what was in it before is deleted (`fresh_log`), so that one broker may serve many
tests one after the other. Faults are the test's: processes by `Child`, servers by `tests.support`.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from schemas.events import RAW_HEADER
from schemas.topics import ADT_EVENTS, TOPICS
from services.commands.data_source import DataSource
from services.commands.spools import read_spool
from services.commands.status import read_status
from services.followup.usecases.status import CONSUMER_GROUP, Status
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.port import Record
from tests.support.kafka import kafka_admin
from tests.system.senders import Address, Answer, send_each
from tests.system.service import (
    COMMAND,
    DRAIN_WITHIN_S,
    PATIENCE_S,
    ROOT,
    START_WITHIN_S,
    Interface,
    Said,
    afterstay,
    until,
)

GONE_WITHIN_S: Final = 20.0
WORKERS: Final = 2
PARTITIONS: Final = next(topic.partitions for topic in TOPICS if topic.name == ADT_EVENTS)
READ_RECORDS: Final = 1_000
READ_BYTES: Final = 64 * 1024 * 1024


class Child:
    """One process of production. It can be started again after any end; its log goes on in one file."""

    def __init__(self, folder: Path, name: str, words: Sequence[object]) -> None:
        self.name = name
        self.ready: dict[str, Any] = {}
        self._command = [*COMMAND, *map(str, words), "--ops-port", "0"]
        self._stdout, self._stderr = folder / f"{name}.out", folder / f"{name}.err"
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> Self:
        """Start it and do not wait."""
        assert not self.runs, f"{self.name} runs already"
        self.ready = {}
        with self._stdout.open("wb") as out, self._stderr.open("ab") as err:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith("AFTERSTAY_")},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for pytest; this one is ended in order
            )
        return self

    def await_ready(self, within_s: float = START_WITHIN_S) -> Self:
        """Wait for its ready line."""
        self.ready = msgspec.json.decode(until(self._ready_line, within_s))
        return self

    def start(self) -> Self:
        """Start it and wait for its ready line."""
        return self.launch().await_ready()

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its id."""
        assert self._process is not None
        return self._process.pid

    @property
    def ops(self) -> str:
        """Host and port of its ops port."""
        return str(self.ready["ops"]).removeprefix("http://")

    def get(self, path: str) -> httpx.Response:
        """Ask its ops port."""
        return httpx.get(f"{self.ready['ops']}{path}", timeout=PATIENCE_S, trust_env=False)

    def kill(self) -> None:
        """End it as `kill -9` does, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def freeze(self) -> None:
        """Stop it where it stands."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Ask for its end with SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, within_s: float = DRAIN_WITHIN_S) -> int:
        """Wait for its end and return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=within_s)

    def close(self) -> None:
        """End it if it runs, in order if it lets itself be asked."""
        if self.runs:
            self.thaw()
            self.terminate()
            try:
                self.wait(2 * DRAIN_WITHIN_S)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
                self.wait()

    def log(self) -> list[dict[str, Any]]:
        """Return the log lines of all starts; a line that is no JSON object is an error."""
        lines = [msgspec.json.decode(line) for line in self._stderr.read_text(encoding="utf-8").splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def complaints(self) -> list[dict[str, Any]]:
        """Return our log lines that call for somebody; aiokafka calls every rebalance an error."""
        severe = [line for line in self.log() if line["level"] in {"error", "critical"}]
        return [line for line in severe if not (line["event"] == "library_logged" and "aiokafka" in line["logger"])]

    def _ready_line(self) -> str | None:
        said = self._stdout.read_text(encoding="utf-8")
        log = self._stderr.read_text(encoding="utf-8")
        assert said.endswith("\n") or self.runs, f"{self.name} ended before it was ready:\n{log}"
        return said if said.endswith("\n") else None


class Production(Interface):
    """All processes on one broker and one database that has its tables; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        bootstrap: str,
        database: str,
        feeds: str,
        workers: int = WORKERS,
        log_level: str = "info",
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.mllp: Address = ("", 0)
        self.database_address = database
        self.kafka, self.database = ["--kafka", bootstrap], ["--database", database]
        self._source = DataSource(kafka=KafkaConnection(bootstrap=bootstrap), database=database)
        self._folder = folder
        self._level = ["--log-level", log_level]
        feeds_file = folder / "feeds.yaml"
        feeds_file.write_text(feeds, encoding="utf-8")
        intake = ["--spool", folder / "spool", "--feeds", feeds_file, "--mllp-port", "0"]
        self.listener = self._child("ingest", "ingest", *self.kafka, *intake)
        self.workers = [self.new_worker(f"followup-{number}") for number in range(1, workers + 1)]
        self.scheduler = self._child("scheduler", "scheduler", *self.database)
        self.web = self._child("web", "web", *self.database, "--http-port", "0")
        self._more: list[Child] = []

    def new_worker(self, name: str) -> Child:
        """Make one more worker, not started; it is ended with the others if it is added to `workers`."""
        return self._child(name, "followup", *self.kafka, *self.database)

    def _child(self, name: str, *words: object) -> Child:
        return Child(self._folder, name, [*words, *self._level])

    # Their life

    def children(self) -> list[Child]:
        """Return all processes, those that end first first."""
        return [self.listener, *self.workers, self.scheduler, self.web]

    def start(self) -> Self:
        """Start all of them at once and wait until each is ready."""
        for child in self.children():
            child.launch()
        for child in self.children():
            child.await_ready()
        host, _, port = str(self.listener.ready["mllp"]).rpartition(":")
        self.mllp, self.http = (host, int(port)), self.web.ready["http"]
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

    def close(self) -> None:
        """End what still runs."""
        with ThreadPoolExecutor(len(self.children())) as threads:
            list(threads.map(Child.close, self.children()))

    # What they are told and say

    def send(self, *messages: bytes) -> list[Answer]:
        """Send messages on one connection, each after the answer to the one before."""
        return send_each(self.mllp, messages)

    def run(self, *words: object, kafka: bool = False) -> Said:
        """Run another verb on the database, and on Kafka if it takes that too."""
        return afterstay(*words, *self.database, *(self.kafka if kafka else ()))

    def status(self) -> Any:
        """Return what `status --json` says, with the listener's spool; its books must balance."""
        said = self.run("status", "--json", "--ops", self.listener.ops, kafka=True)
        assert said.code == 0, said
        return said.json

    def books(self) -> Status:
        """Return the same as `status`, without a process: for waiting."""
        host, _, port = self.listener.ops.rpartition(":")
        with ThreadPoolExecutor(1) as thread:  # a test may have a loop of its own in this one
            return thread.submit(lambda: read_status(self._source, [read_spool(host, int(port))])).result()

    def settled(self) -> Status | None:
        """Return the books if every message received has its outcome; `None` also while they cannot be read."""
        with contextlib.suppress(AfterstayError):
            books = self.books()
            if books.complete and not books.pending and not sum(one.messages or 0 for one in books.spools):
                return books
        return None

    def settle(self, within_s: float = 3 * PATIENCE_S) -> Status:
        """Wait until every message received has its outcome, and return the books, which must balance."""
        books = until(self.settled, within_s)
        assert books.balanced, books.problems
        return books

    # What they leave

    def records(self) -> list[Record]:
        """Return every record of the event log."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(self._records())).result()

    async def _records(self) -> list[Record]:
        assert self._source.kafka is not None
        log = await KafkaSubscriber.open(self._source.kafka, client_id="test")
        found: list[Record] = []
        try:
            begins, ends = await log.begin_offsets(ADT_EVENTS), await log.end_offsets(ADT_EVENTS)
            for partition, offset in begins.items():
                at = offset
                while at < ends[partition]:
                    page = await log.read(ADT_EVENTS, partition, at, max_records=READ_RECORDS, bytes_max=READ_BYTES)
                    found += page
                    at = page[-1].offset + 1
        finally:
            await log.close()
        return found

    def kept(self) -> list[bytes]:
        """Return the bytes of every message in the event log."""
        return [record.header(RAW_HEADER) or b"" for record in self.records()]

    def complaints(self) -> list[dict[str, Any]]:
        """Return the log lines of all processes that call for somebody."""
        return [line for child in self.children() for line in child.complaints()]


def fresh_log(bootstrap: str) -> None:
    """Delete the topic and the group of an earlier test and make the topics anew, as an operator does."""
    asyncio.run(_forget(bootstrap))
    made = afterstay("topics", "create", "--kafka", bootstrap, "--single-broker")
    assert made.code == 0, made


async def _forget(bootstrap: str) -> None:
    async with kafka_admin(bootstrap) as admin:
        with contextlib.suppress(Exception):  # what is not there cannot be deleted
            await admin.delete_consumer_groups([CONSUMER_GROUP])
        if ADT_EVENTS in await admin.list_topics():
            await admin.delete_topics([ADT_EVENTS])
            async with asyncio.timeout(GONE_WITHIN_S):
                await _gone(admin)


async def _gone(admin: AIOKafkaAdminClient) -> None:
    while ADT_EVENTS in await admin.list_topics():  # noqa: ASYNC110 - the broker sets no event of ours
        await asyncio.sleep(0.05)
