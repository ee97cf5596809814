"""A process that publishes for ever and names each record on standard output once it is durable; made to be killed.

A record's value is its number and bytes that follow from it, so that whoever reads the log afterwards knows what must
be there. With a limit of bytes, no file may grow beyond it until a line arrives on standard input (a full disk).
"""

import asyncio
import os
import random
import resource
import sys
from pathlib import Path

from services.runtime.errors import AfterstayError, Transient
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher
from services.runtime.eventlog.port import Position, PublishOutcome
from tests.runtime.eventlog.embedded.support import new_record

IN_FLIGHT = 24


def value_of(number: int) -> bytes:
    return b"%d:" % number + random.Random(number).randbytes(number * 37 % 5000)


def stop(error: AfterstayError) -> None:
    sys.exit(repr(error))


async def publish_for_ever(folder: Path, first: int) -> None:
    """Keep some records in flight, as as many connections would."""
    publisher = await EmbeddedPublisher.open(folder, on_failure=stop, partitions=2)
    numbers = iter(range(first, sys.maxsize))

    def publish_next() -> None:
        number = next(numbers)

        def on_done(outcome: PublishOutcome) -> None:
            assert isinstance(outcome, Position), repr(outcome)
            os.write(1, b"%d %d %d\n" % (number, outcome.partition, outcome.offset))  # at once, whole, unbuffered
            publish_next()

        publisher.submit(new_record(value_of(number), partition=number % 2), on_done)

    for _ in range(IN_FLIGHT):
        publish_next()
    await asyncio.Event().wait()


async def publish_into_a_wall(folder: Path, limit_bytes: int) -> None:
    """Publish until no file may grow any more, say so, and go on once a line is read; prints the counts."""
    publisher = await EmbeddedPublisher.open(folder, on_failure=stop, partitions=2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    number = refused = 0
    while refused < 3:
        try:
            await publisher.publish(new_record(value_of(number)))
            number += 1
        except Transient as refusal:
            refused += refusal.code == "log-unavailable"
    os.write(1, b"refused\n")
    await asyncio.to_thread(sys.stdin.readline)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in range(10):
        await publisher.publish(new_record(value_of(number)))
        number += 1
    await publisher.close()
    os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    program = {"for-ever": publish_for_ever, "into-a-wall": publish_into_a_wall}[sys.argv[1]]
    asyncio.run(program(Path(sys.argv[2]), int(sys.argv[3])))
