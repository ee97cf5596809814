"""Looks at a consumer group from outside: its commits, the log, and the record that waits longest.

Promises: it is no part of the consumer, so that a dead consumer is still seen; it changes nothing and commits nothing;
the age comes from the record at the committed offset, which is read for it, because no API tells its time; a look that
fails makes the rows unknown instead of leaving old ones standing. It costs one record per partition that lags and has
moved since the last look, and a few short questions whatever the backlog.

Positions are the group's commits, which are hints: a consumer whose own database is further on than its last commit is
shown as behind by that much, half a second with either of ours. Source: product.md §2.1; ADR 0016.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from services.runtime.clock import Clock, to_timestamp_us
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.lag import Membership, PartitionHistory, PartitionLag, Sample, row_of
from services.runtime.eventlog.port import GroupPositions, Subscriber
from services.runtime.log import get_logger

LOOK_EVERY_S: Final = 2.0  # what a scrape shows is never older than the two seconds that the figures promise
WINDOW_S: Final = 60.0
"""How far back the words look: long enough for a rebalance, short enough to be woken in time [D]."""
SOUND_SEARCH_RECORDS: Final = 100
"""How many records behind a damaged one are asked for their time; they are at most moments younger."""
SOUND_SEARCH_BYTES: Final = 4 * 1024 * 1024
RETENTION_EVERY_S: Final = 300.0

Retention = Callable[[str], Awaitable[float | None]]
"""Returns for how many seconds a topic keeps its records; `None`: for ever."""

_log = get_logger(__name__)


class GroupMembers(Protocol):
    """Knows who is in a group."""

    async def membership(self, group: str, topic: str) -> Membership:
        """Return the members and whose each partition of a topic is.

        Raises:
            Transient: it cannot be known now.
        """


class LagObserver:
    """Watches one group on one topic; every `look` is one more sample of each partition."""

    def __init__(
        self,
        subscriber: Subscriber,
        groups: GroupPositions,
        *,
        group: str,
        topic: str,
        clock: Clock,
        window_s: float = WINDOW_S,
        members: GroupMembers | None = None,
        retention: Retention | None = None,
    ) -> None:
        self._subscriber = subscriber
        self._groups = groups
        self.group = group
        self.topic = topic
        self._clock = clock
        self._window_s = window_s
        self._members = members
        self._retention = retention
        self._retention_s: float | None = None
        self._retention_until_s = float("-inf")
        self._histories: dict[int, PartitionHistory] = {}
        self._rows: tuple[PartitionLag, ...] = ()
        self.failure: str | None = "not-looked-yet"
        """Code of what kept the last look from being taken; `None` when it was taken."""

    @property
    def rows(self) -> tuple[PartitionLag, ...]:
        """What the last look saw, partition by partition; nothing if it failed."""
        return () if self.failure else self._rows

    async def look(self) -> tuple[PartitionLag, ...]:
        """Take one look and return what is known by now, partition by partition.

        Raises:
            AfterstayError: the log or the group's positions cannot be read; nothing was learned.
        """
        try:
            self._rows = await self._look()
        except AfterstayError as error:
            self.failure = error.code
            raise
        self.failure = None
        return self._rows

    async def run(self, stop: asyncio.Event, *, every_s: float = LOOK_EVERY_S) -> None:
        """Look again and again until asked to stop; a look that fails is said once and tried again."""
        said: str | None = None
        while not stop.is_set():
            try:
                await self.look()
            except AfterstayError as error:
                if error.code != said:
                    _log.warning("lag_unknown", code=error.code, group=self.group, topic=self.topic)
            said = self.failure
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every_s)

    async def _look(self) -> tuple[PartitionLag, ...]:
        membership = await self._members.membership(self.group, self.topic) if self._members is not None else None
        await self._refresh_retention()
        # In this order a group that goes on meanwhile is never ahead of the end that is held against it.
        committed = await self._groups.committed(self.group, self.topic)
        ends = await self._subscriber.end_offsets(self.topic)
        begins = await self._subscriber.begin_offsets(self.topic)
        if any(offset < begins.get(partition, 0) for partition, offset in committed.items()):
            committed = await self._groups.committed(self.group, self.topic)  # unless it went on before the cut
        for partition, end in sorted(ends.items()):
            await self._sample(partition, begins.get(partition, 0), end, committed.get(partition))
        return tuple(
            row_of(
                self._histories[partition],
                group=self.group,
                topic=self.topic,
                partition=partition,
                membership=membership,
                retention_s=self._retention_s,
            )
            for partition in sorted(ends)
        )

    async def _sample(self, partition: int, begin: int, end: int, committed: int | None) -> None:
        history = self._histories.setdefault(partition, PartitionHistory(self._window_s))
        at_s, now_us = self._clock.monotonic(), to_timestamp_us(self._clock.now())
        sample = Sample(at_s=at_s, now_us=now_us, begin=begin, end=end, committed=committed, oldest_us=None)
        if sample.lag:
            oldest_us = history.oldest_us_at(sample)
            if oldest_us is None:
                oldest_us = await self._read_time(partition, sample.position)
            sample = replace(sample, oldest_us=oldest_us)
        history.add(sample)

    async def _read_time(self, partition: int, offset: int) -> int | None:
        """Return the timestamp of the first sound record at an offset or after it; `None` if there is none."""
        for count, bytes_max in ((1, 1), (SOUND_SEARCH_RECORDS, SOUND_SEARCH_BYTES)):  # one record always comes
            records = await self._subscriber.read(self.topic, partition, offset, max_records=count, bytes_max=bytes_max)
            for record in records:
                if not record.damaged:
                    return record.timestamp_us
        return None

    async def _refresh_retention(self) -> None:
        if self._retention is not None and self._clock.monotonic() >= self._retention_until_s:
            self._retention_s = await self._retention(self.topic)
            self._retention_until_s = self._clock.monotonic() + RETENTION_EVERY_S
