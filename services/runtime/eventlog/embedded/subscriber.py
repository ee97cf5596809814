"""Reads the embedded log from the event loop; see `reader` for what is promised of what is read.

All SQLite calls run on one thread of the subscriber's own, so a slow disk never holds up the loop. Any number of
subscribers, in any number of processes, read beside the one writer: readers of a write-ahead log do not block it.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from services.runtime.eventlog.embedded.reader import LogReader
from services.runtime.eventlog.port import Record
from services.runtime.lifecycle import in_thread

POLL_S = 0.01  # a record waits half of it on average (budget of event to task: 50 ms); idle it costs 1 % of a core


class EmbeddedSubscriber:
    """Reads a data folder's log."""

    def __init__(self, reader: LogReader, executor: ThreadPoolExecutor) -> None:
        self._reader = reader
        self._executor = executor
        self._closed = False

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open the log of a data folder.

        Raises:
            Permanent: `log-missing`, `log-damaged`, `log-format-unknown`.
            Transient: `log-unavailable`.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        try:
            return cls(await in_thread(executor, LogReader, folder), executor)
        except BaseException:
            executor.shutdown(wait=False)
            raise

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions."""
        return self._reader.partitions(topic)

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        """Return the first offset of each partition."""
        return self._reader.begin_offsets(topic)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the next offset of each partition."""
        return await in_thread(self._executor, self._reader.end_offsets, topic)

    async def read(self, topic: str, partition: int, offset: int, *, max_records: int, bytes_max: int) -> list[Record]:
        """Return records from an offset on, within the limits."""
        return await in_thread(self._executor, self._reader.read, topic, partition, offset, max_records, bytes_max)

    async def wait_for_records(self, topic: str, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        """Wait until a partition has a record at or after its position, or for the time-out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        seen: int | None = None
        while True:
            found, seen = await in_thread(self._executor, self._reader.probe, topic, positions, seen)
            remaining_s = deadline - loop.time()
            if found or remaining_s <= 0:
                return found
            await asyncio.sleep(min(POLL_S, remaining_s))

    async def close(self) -> None:
        """Close the file and end the thread."""
        if not self._closed:
            self._closed = True
            await in_thread(self._executor, self._reader.close)
            self._executor.shutdown(wait=False)
