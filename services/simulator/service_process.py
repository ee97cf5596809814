"""A real `afterstay run` as a child process, and the other verbs beside it.

Owns the child: its start, its commands, its end. Promise: whatever happens, the child is asked to stop (SIGTERM),
given time to drain, and ended by its own process id if it does not; every wait has a bound. The interface it relies
on is the documented one: the ready line on standard output, `panel import`, `status --json`, the HTTP API.
"""

import asyncio
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from services.runtime.errors import Permanent
from services.runtime.lifecycle import in_thread
from services.simulator.comparison import Books, OpenTask

AFTERSTAY: Final = (sys.executable, "-m", "services.cli")
READY_TIMEOUT_S: Final = 60.0
"""As long as `run` itself gives its worker to start."""
COMMAND_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 15.0
"""SIGTERM under load ends within 10 s (fault F42); a little more on a busy machine."""
HTTP_TIMEOUT_S: Final = 10.0
PAGE_LIMIT: Final = 500
_LOG_TAIL_LINES: Final = 5


class _Ready(msgspec.Struct, frozen=True):
    ready: bool
    mllp: str
    http: str


class _Outcomes(msgspec.Struct, frozen=True):
    effect: int
    no_effect: dict[str, int]
    review: int
    dead_letter: int


class _Status(msgspec.Struct, frozen=True):
    received: int
    acknowledged: dict[str, int]
    pending: int
    outcomes: _Outcomes


class _Patient(msgspec.Struct, frozen=True):
    id: str


class _Facility(msgspec.Struct, frozen=True):
    code: str


class _Stay(msgspec.Struct, frozen=True):
    facility: _Facility
    discharged_on: str


class _Item(msgspec.Struct, frozen=True):
    kind: str
    status: str
    priority: str
    patient: _Patient
    stay: _Stay


class _Page(msgspec.Struct, frozen=True):
    items: tuple[_Item, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The output of `afterstay status --json`: as read, as printed, and whether the command called it balanced."""

    books: Books
    printed: dict[str, object]
    balanced: bool


class ServiceProcess:
    """A running service; an asynchronous context manager that starts it and always stops it."""

    def __init__(
        self,
        data: Path,
        *,
        feeds: Path,
        log: Path,
        command: Sequence[str] = AFTERSTAY,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self._data = data
        self._feeds = feeds
        self._log = log
        self._command = tuple(command)
        self._stop_timeout_s = stop_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self.mllp = ("", 0)
        self.http = ""

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, "run", "--data", str(self._data), "--feeds", str(self._feeds),
                "--mllp-port", "0", "--http-port", "0",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: the child is stopped in order
            )  # fmt: skip
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._stop)
            await self._read_ready_line(self._process)
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def ended(self) -> int:
        """Wait until the child ends by itself, which it should not; return its exit code."""
        assert self._process is not None
        return await self._process.wait()

    def log_tail(self) -> str:
        """Return the last lines that the child logged."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    async def import_panel(self, panel: Path) -> None:
        """Load the panel.

        Raises:
            Permanent: the import was refused.
        """
        code, _, said = await self._run("panel", "import", str(panel), "--data", str(self._data))
        if code != 0:
            raise Permanent("demo-panel-refused", f"the simulated panel was refused (exit {code}):\n{said}")

    async def status(self) -> Status:
        """Ask for the books.

        Raises:
            Permanent: the command did not answer with its documented JSON.
        """
        code, output, said = await self._run("status", "--data", str(self._data), "--json")
        try:
            status = msgspec.json.decode(output, type=_Status)
        except msgspec.DecodeError as error:
            raise Permanent(
                "demo-status-unreadable", f"`afterstay status` ended with {code} and no status: {error}\n{said}"
            ) from error
        books = Books(
            received=status.received,
            acknowledged=status.acknowledged,
            pending=status.pending,
            effect=status.outcomes.effect,
            no_effect=sum(status.outcomes.no_effect.values()),
            review=status.outcomes.review,
            dead_letter=status.outcomes.dead_letter,
        )
        return Status(books=books, printed=msgspec.json.decode(output), balanced=code == 0)

    async def open_tasks(self) -> tuple[OpenTask, ...]:
        """Return the open tasks on the worklist, page by page.

        Raises:
            Permanent: the service does not answer with its documented JSON.
        """
        tasks: list[OpenTask] = []
        cursor: str | None = None
        while True:
            try:
                page = await in_thread(None, _get_page, self.http, cursor)
            except (OSError, msgspec.DecodeError) as error:
                raise Permanent("demo-worklist-unreadable", f"the worklist cannot be read: {error}") from error
            tasks += map(_open_task, page.items)
            cursor = page.next_cursor
            if cursor is None:
                return tuple(tasks)

    async def _read_ready_line(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await process.stdout.readline()
            ready = msgspec.json.decode(line, type=_Ready)
        except (TimeoutError, msgspec.DecodeError) as error:
            raise Permanent("demo-not-started", f"`afterstay run` did not start:\n{self.log_tail()}") from error
        host, _, port = ready.mllp.rpartition(":")
        self.mllp = (host, int(port))
        self.http = ready.http

    async def _run(self, *arguments: str) -> tuple[int, bytes, str]:
        process = await asyncio.create_subprocess_exec(
            *self._command, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                output, said = await process.communicate()
        except TimeoutError as error:
            raise Permanent("demo-command-stuck", f"`afterstay {arguments[0]}` did not end in time") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output, said.decode("utf-8", "replace").strip()

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _get_page(base: str, cursor: str | None) -> _Page:
    query: Mapping[str, str] = {"open": "true", "limit": str(PAGE_LIMIT)} | ({"cursor": cursor} if cursor else {})
    url = f"{base}/api/v1/tasks?{urllib.parse.urlencode(query)}"
    # Loopback, at the address that the service itself printed; through no proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=HTTP_TIMEOUT_S) as answer:
        return msgspec.json.decode(answer.read(), type=_Page)


def _open_task(item: _Item) -> OpenTask:
    return OpenTask(
        patient_id=item.patient.id,
        kind=item.kind,
        status=item.status,
        facility_code=item.stay.facility.code,
        discharged_on=item.stay.discharged_on,
        priority=item.priority,
    )
