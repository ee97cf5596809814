"""Which records a range holds: by place, by time in a log that is nearly in order, never what is not consumed."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.followup.usecases.replay_range import MARGIN, Range, find_spans
from services.runtime.clock import to_timestamp_us
from services.runtime.eventlog.port import Record
from tests.support.memory_log import MemoryLog

DAY = timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=UTC)


def log_of(*partitions: list[datetime]) -> MemoryLog:
    """Return a log with a record for each moment, in the order given."""
    log = MemoryLog(len(partitions))
    for partition, moments in enumerate(partitions):
        for offset, at in enumerate(moments):
            log.append(
                Record(
                    topic="t", partition=partition, offset=offset, key=b"", value=b"", headers=(),
                    timestamp_us=to_timestamp_us(at),
                )
            )  # fmt: skip
    return log


def found(log: MemoryLog, asked: Range, consumed: dict[int, int]) -> list[tuple[int, int]]:
    """Return the places that are read and count."""
    spans = asyncio.run(find_spans(log, "t", asked, consumed))
    return [
        (span.partition, record.offset)
        for span in spans
        for record in log.records[span.partition]
        if span.first <= record.offset < span.end and span.holds(record)
    ]


def test_places_name_partitions_and_where_they_begin() -> None:
    log = log_of([START] * 3, [START] * 3, [START] * 3)
    assert found(log, Range(places={0: 2, 2: 1}), {0: 3, 1: 3, 2: 2}) == [(0, 2), (2, 1)]
    assert found(log, Range(partition=1), {0: 3, 1: 2, 2: 2}) == [(1, 0), (1, 1)]


def test_what_retention_took_is_not_asked_for() -> None:
    log = log_of([START] * 4)
    log.cut(0, 2)
    assert found(log, Range(), {0: 4}) == [(0, 2), (0, 3)]
    assert found(log, Range(places={0: 1}), {0: 4}) == [(0, 2), (0, 3)]


def test_a_time_holds_every_record_received_from_then_to_then() -> None:
    log = log_of([START + DAY * day for day in range(30)])
    asked = Range(since=START + DAY * 10, until=START + DAY * 12)
    assert found(log, asked, {0: 30}) == [(0, 10), (0, 11)]


@pytest.mark.parametrize("late", [timedelta(hours=1), MARGIN - timedelta(minutes=1)])
def test_a_record_that_was_forwarded_late_is_found(late: timedelta) -> None:
    moments = [START + DAY * day for day in range(20)]
    spooled = [START + DAY * 10 - late] * 50
    log = log_of([*moments[:11], *spooled, *moments[11:]])
    found_here = found(log, Range(since=START + DAY * 10), {0: len(moments) + 50})
    assert (0, 10) in found_here
    assert len(found_here) == 10


def test_a_moment_is_found_by_halving() -> None:
    log = log_of([START + timedelta(seconds=second) for second in range(5_000)])
    asyncio.run(find_spans(log, "t", Range(since=START + timedelta(seconds=4_999)), {0: 5_000}))
    assert log.reads < 20
