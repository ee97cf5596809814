"""What the tests of the embedded log share: an opened publisher, connections that watch and fail, raw access."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.runtime.errors import AfterstayError
from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher, PublisherLimits
from services.runtime.eventlog.port import NewRecord

TOPIC = "adt.events.v1"
Watch = Callable[[sqlite3.Connection, str], None]


def new_record(value: bytes = b"value", *, partition: int = 0, topic: str = TOPIC) -> NewRecord:
    return NewRecord(
        topic=topic, partition=partition, key=b"key", value=value, headers=(("raw", b"MSH|"),), timestamp_us=1
    )


@dataclass(kw_only=True)
class OpenPublisher:
    publisher: EmbeddedPublisher
    failures: list[AfterstayError] = field(default_factory=list)


@asynccontextmanager
async def opened(
    folder: Path, *, watch: Watch | None = None, limits: PublisherLimits | None = None
) -> AsyncIterator[OpenPublisher]:
    """Open a publisher whose failures are collected and whose SQL statements pass `watch` before they run."""
    failures: list[AfterstayError] = []
    publisher = await EmbeddedPublisher.open(
        folder,
        on_failure=failures.append,
        partitions=2,
        limits=limits,
        factory=watched(watch) if watch else sqlite3.Connection,
    )
    try:
        yield OpenPublisher(publisher=publisher, failures=failures)
    finally:
        await publisher.close()


def watched(watch: Watch) -> type[sqlite3.Connection]:
    class WatchedConnection(sqlite3.Connection):
        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            watch(self, sql)
            return super().execute(sql, parameters)  # type: ignore[arg-type]  # passed through as it came

    return WatchedConnection


def sqlite_error(code: int, name: str) -> sqlite3.OperationalError:
    """Return the error that the driver raises for an extended result code."""
    error = sqlite3.OperationalError(name)
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


def raw(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / LOG_FILE, isolation_level=None)


def wait_until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that a thread does, with the loop running."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a thread cannot set an event of the loop here
            await asyncio.sleep(0.001)
