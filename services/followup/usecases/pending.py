"""Records that are in the log and not consumed yet.

Promise: bounded memory whatever the backlog, and an end: it reads to where the log ended when it was asked, however
fast more arrives.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from typing import Final

from services.followup.usecases.status import Books, Extent, ack_of, pending_from
from services.runtime.eventlog.port import Record, Subscriber

READ_RECORDS_MAX: Final = 500
READ_BYTES_MAX: Final = 16 * 1024 * 1024


async def read_pending(
    subscriber: Subscriber,
    topic: str,
    books: Books,
    ends: dict[int, int],
    *,
    records_max: int = READ_RECORDS_MAX,
) -> AsyncGenerator[Record]:
    """Give the records between the books' positions and `ends`, partition by partition, damaged ones too."""
    starts = pending_from(books, await subscriber.begin_offsets(topic))
    for partition, start in sorted(starts.items()):
        offset = start
        while offset < ends[partition]:
            batch = await subscriber.read(
                topic,
                partition,
                offset,
                max_records=min(records_max, ends[partition] - offset),
                bytes_max=READ_BYTES_MAX,
            )
            if not batch:
                break
            for record in batch:
                if record.offset < ends[partition]:
                    yield record
            offset = batch[-1].offset + 1


async def read_extent(subscriber: Subscriber, topic: str, books: Books) -> Extent:
    """Return how far the log reaches, and the acknowledgement codes of what is pending.

    Call it after the books were read, so that no position can be ahead of the end.
    """
    ends = await subscriber.end_offsets(topic)
    acks: Counter[str] = Counter()
    async for record in read_pending(subscriber, topic, books, ends):
        acks[ack_of(record)] += 1
    return Extent(begins=await subscriber.begin_offsets(topic), ends=ends, pending_acks=acks)
