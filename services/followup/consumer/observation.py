"""What a consumer does, for those who watch it: metrics, readiness, alarms.

The observer is told on the event loop's thread, after the fact, and must not raise. `Progress` is the one that the
worker keeps: plain numbers that are read when somebody looks, so that watching costs a record nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final, Protocol

from services.followup.consumer.positions import Lost
from services.followup.usecases.apply_events import Applied
from services.runtime.clock import Clock

UNKNOWN_FEED: Final = "unknown"
"""Label of an event whose sender no feed names."""

FeedSeconds = Callable[[str, float], None]
"""Told of a feed and seconds of one of its events."""


class ConsumerObserver(Protocol):
    """Hears what happened."""

    def applied(self, applied: Applied) -> None:
        """A batch was committed."""

    def retried(self, code: str) -> None:
        """Something could not be done now and will be tried again, for the reason `code`."""

    def recovered(self) -> None:
        """What had to be tried again was done."""

    def caught_up(self, records: int) -> None:
        """Records that the group had passed over were read from the log and applied."""

    def lost(self, lost: Lost) -> None:
        """Retention took records before they were applied."""

    def assigned(self, partitions: Collection[int]) -> None:
        """The consumer now has these partitions, and no others."""


def _ignore(_feed: str, _seconds: float) -> None:
    """Measure nothing."""


class Progress:
    """What the consumer has done since the process started. Read it from any thread."""

    def __init__(
        self, clock: Clock, task_seconds: FeedSeconds = _ignore, source_seconds: FeedSeconds = _ignore
    ) -> None:
        """Measure from receipt to commit by `task_seconds`, and how late a hospital told by `source_seconds`."""
        self._clock = clock
        self._task_seconds = task_seconds
        self._source_seconds = source_seconds
        self.processed: Counter[str] = Counter()
        """Records by outcome; a record whose outcome changed later is counted where it went first."""
        self.retries: Counter[str] = Counter()
        """Attempts that failed, by code."""
        self.clock_skews: Counter[str] = Counter()
        """Events whose stated time lies ahead of their receipt, by feed."""
        self.rebalances = 0
        self.partitions: frozenset[int] = frozenset()
        self.records_caught_up = 0
        self.records_lost = 0
        self.losses: list[Lost] = []
        """The ranges that retention took; bounded by the number of partitions and of cuts."""
        self.last_progress_s: float | None = None
        """When a batch was last committed, on the monotonic clock."""
        self.waiting_for: str | None = None
        """Why something is being tried again; None when nothing is."""

    def applied(self, applied: Applied) -> None:
        """Count a batch and measure how long its effects took."""
        self.last_progress_s = self._clock.monotonic()
        for (outcome, _), moved in applied.outcomes.items():
            if moved > 0:
                self.processed[outcome] += moved
        if applied.effects:
            self._measure(applied.effects)
        for feed, seconds in applied.source_delays:
            if seconds < 0:  # a clock that is wrong, theirs or ours, would pull the figures down
                self.clock_skews[feed or UNKNOWN_FEED] += 1
            else:
                self._source_seconds(feed or UNKNOWN_FEED, seconds)

    def retried(self, code: str) -> None:
        """Count an attempt that failed."""
        self.retries[code] += 1
        self.waiting_for = code

    def recovered(self) -> None:
        """Wait for nothing any more."""
        self.waiting_for = None

    def caught_up(self, records: int) -> None:
        """Count records that were read from the log behind the group's back."""
        self.records_caught_up += records

    def lost(self, lost: Lost) -> None:
        """Keep a range that is gone."""
        self.records_lost += lost.next - lost.first
        self.losses.append(lost)

    def assigned(self, partitions: Collection[int]) -> None:
        """Count a rebalance."""
        self.rebalances += 1
        self.partitions = frozenset(partitions)

    @property
    def idle_s(self) -> float | None:
        """Seconds since a batch was last committed; None when none was yet."""
        return None if self.last_progress_s is None else self._clock.monotonic() - self.last_progress_s

    def _measure(self, effects: tuple[tuple[str | None, datetime], ...]) -> None:
        now = self._clock.now()
        for feed, received_at in effects:
            self._task_seconds(feed or UNKNOWN_FEED, (now - received_at).total_seconds())
