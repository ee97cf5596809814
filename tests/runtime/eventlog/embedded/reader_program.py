"""A process that follows a log until it has seen so many records, then prints their values by partition."""

import asyncio
import json
import sys
from pathlib import Path

from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from tests.runtime.eventlog.embedded.support import TOPIC


async def follow(folder: Path, count: int) -> list[list[str]]:
    subscriber = await EmbeddedSubscriber.open(folder)
    positions = await subscriber.begin_offsets(TOPIC)
    seen: list[list[str]] = [[] for _ in positions]
    while sum(len(values) for values in seen) < count:
        assert await subscriber.wait_for_records(TOPIC, positions, timeout_s=20)
        for partition, offset in positions.items():
            for record in await subscriber.read(TOPIC, partition, offset, max_records=50, bytes_max=1_000_000):
                seen[partition].append(record.value.decode())
                positions[partition] = record.offset + 1
    await subscriber.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(follow(Path(sys.argv[1]), int(sys.argv[2])))))  # noqa: T201 - its whole output
