"""What time it is, and the only place in the project that asks.

Promise: every moment is an aware datetime in UTC; durations come from a clock that never jumps. Everything that
depends on time takes a `Clock` (or `now` as an argument), so tests and replays choose the time; ruff's TID251 keeps
`datetime.now` and `time.time` out of every other module (house style 19).

Where a moment is stored or sent as a number it is whole microseconds since 1970-01-01T00:00Z, converted here with
integer arithmetic: a float of seconds loses microseconds after the year 2242.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """The time of day and a stopwatch."""

    def now(self) -> datetime:
        """Return this moment, aware, in UTC; it may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; it never goes back, so durations are differences of it."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return this moment, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that reads the clock

    def monotonic(self) -> float:
        """Return seconds of the machine's monotonic clock."""
        return time.monotonic()


class FixedClock:
    """A clock that stands still until it is told to move; for tests, demos and replays."""

    def __init__(self, now: datetime, *, monotonic_s: float = 0.0) -> None:
        self._now = _as_utc(now)
        self._monotonic_s = monotonic_s

    def now(self) -> datetime:
        """Return the moment it stands at."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds it was advanced by, plus its start."""
        return self._monotonic_s

    def advance(self, by: timedelta) -> None:
        """Let time pass, on both the clock and the stopwatch."""
        if by < timedelta(0):
            raise ValueError("time passes forwards; use jump() for a clock that is set back")
        self._now += by
        self._monotonic_s += by.total_seconds()

    def jump(self, by: timedelta) -> None:
        """Set the time of day by a step in either direction; the stopwatch does not notice (fault F37)."""
        self._now += by


def to_timestamp_us(moment: datetime) -> int:
    """Return an aware moment as whole microseconds since 1970-01-01T00:00Z."""
    return (_as_utc(moment) - _EPOCH) // _MICROSECOND


def from_timestamp_us(timestamp_us: int) -> datetime:
    """Return the aware UTC moment that `to_timestamp_us` stored."""
    return _EPOCH + timedelta(microseconds=timestamp_us)


def _as_utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("a moment needs a time zone; a naive datetime means nothing here")
    return moment.astimezone(UTC)
