"""Which records a replay reads: spans of partitions, found by place or by time of receipt.

Records lie nearly in order of receipt: several listeners write beside each other, and one that forwards its spool
writes late. So a moment is looked for by halving, with a margin, and each record's own time then decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.runtime.clock import to_timestamp_us
from services.runtime.eventlog.port import Record, Subscriber

MARGIN: Final = timedelta(days=1)
"""How much later than received a record may lie behind younger ones, or it is missed [D]: spools hold hours."""

_MARGIN_US: Final = MARGIN // timedelta(microseconds=1)
_ONE_RECORD_BYTES: Final = 1  # a read gives one record however large it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What was asked for: from the beginning, from a moment, or from places (partition to offset); until a moment."""

    places: Mapping[int, int] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Offsets of a partition, the end excluded, of which records received in a period count."""

    partition: int
    first: int
    end: int
    since_us: int | None = None
    until_us: int | None = None

    def holds(self, record: Record) -> bool:
        """Say whether a record was received in the period."""
        after = self.since_us is None or record.timestamp_us >= self.since_us
        return after and (self.until_us is None or record.timestamp_us < self.until_us)


class _Log(NamedTuple):
    subscriber: Subscriber
    topic: str


async def find_spans(subscriber: Subscriber, topic: str, asked: Range, consumed: Mapping[int, int]) -> list[Span]:
    """Return the spans to read; what is not consumed yet is the consumer's and not a replay's."""
    begins = await subscriber.begin_offsets(topic)
    since_us = None if asked.since is None else to_timestamp_us(asked.since)
    until_us = None if asked.until is None else to_timestamp_us(asked.until)
    spans, log = [], _Log(subscriber, topic)
    for partition, begin in sorted(begins.items()):
        if asked.partition not in (None, partition) or (asked.places and partition not in asked.places):
            continue
        first, end = max(begin, asked.places.get(partition, begin)), consumed.get(partition, 0)
        if since_us is not None:
            first = await _first_at(log, partition, first, end, since_us - _MARGIN_US)
        if until_us is not None:
            end = await _first_at(log, partition, first, end, until_us + _MARGIN_US)
        if first < end:
            spans.append(Span(partition=partition, first=first, end=end, since_us=since_us, until_us=until_us))
    return spans


async def _first_at(log: _Log, partition: int, low: int, high: int, moment_us: int) -> int:
    """Return by halving an offset from `low` to `high` before which records were received before a moment."""
    while low < high:
        middle = (low + high) // 2
        found = await log.subscriber.read(log.topic, partition, middle, max_records=1, bytes_max=_ONE_RECORD_BYTES)
        if not found or found[0].offset >= high or found[0].timestamp_us >= moment_us:
            high = middle
        else:
            low = found[0].offset + 1
    return low
