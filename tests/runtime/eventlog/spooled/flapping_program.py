"""A process that publishes for ever through a spool to a log that breaks again and again; made to be killed.

The log is a file of numbers. A number is printed once its record is acknowledged. With `drain` as third argument the
log is well and the process ends when the spool is empty.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from services.runtime.errors import AfterstayError, Transient
from services.runtime.eventlog.port import NewRecord, OnPublished, Position, PublishOutcome
from services.runtime.eventlog.spooled.publisher import SpooledPublisher
from services.runtime.eventlog.spooled.settings import SpoolSettings
from tests.runtime.eventlog.spooled.support import PARTITIONS, TOPIC, new_record, number_of, until_direct

IN_FLIGHT = 24
SETTINGS = SpoolSettings(
    bytes_max=2**30, segment_bytes=200_000, answer_timeout_s=0.1, grace_s=0.02, probe_interval_s=0.01
)


class FileLog:
    """Appends numbers to a file, whole and at once, until it breaks after some of them."""

    def __init__(self, path: Path, breaks_after: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._left = breaks_after

    async def partitions(self, _topic: str) -> tuple[int, ...]:
        return tuple(range(PARTITIONS))

    async def publish(self, record: NewRecord) -> Position:
        raise NotImplementedError

    def submit(self, record: NewRecord, on_done: OnPublished) -> None:
        asyncio.get_running_loop().call_soon(self._handle, record, on_done)

    async def close(self) -> None:
        self._left = 0

    def _handle(self, record: NewRecord, on_done: OnPublished) -> None:
        if self._left <= 0:
            on_done(Transient("log-unavailable", "broken"))
            return
        self._left -= 1
        os.write(self._fd, b"%d\n" % number_of(record))
        on_done(Position(topic=record.topic, partition=record.partition, offset=0))


def stop(error: AfterstayError) -> None:
    sys.exit(repr(error))


async def run(folder: Path, seed: int, *, drain: bool) -> None:
    choose = random.Random(seed)

    async def open_direct() -> FileLog:
        if not drain and choose.random() < 0.7:
            raise Transient("log-unavailable", "away")
        return FileLog(folder / "log", 2**40 if drain else choose.randrange(1, 600))

    publisher = await SpooledPublisher.open(
        folder / "spool", open_direct=open_direct, topics={TOPIC: PARTITIONS}, settings=SETTINGS, on_failure=stop
    )
    if drain:
        await until_direct(publisher)
        await publisher.close()
        return
    numbers = iter(range(seed * 1_000_000, sys.maxsize))

    def publish_next() -> None:
        number = next(numbers)

        def on_done(outcome: PublishOutcome) -> None:
            assert isinstance(outcome, Position), repr(outcome)
            os.write(1, b"%d\n" % number)  # at once, whole, unbuffered
            publish_next()

        publisher.submit(new_record(number, padding=number * 37 % 3000), on_done)

    for _ in range(IN_FLIGHT):
        publish_next()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), drain=sys.argv[3:] == ["drain"]))
