"""Clocks: aware, UTC, and moved only where a test moves them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.runtime.clock import Clock, FixedClock, SystemClock, from_timestamp_us, to_timestamp_us

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_the_system_clock_tells_this_moment_in_utc() -> None:
    clock: Clock = SystemClock()
    before = datetime.now(UTC)
    now = clock.now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_the_system_s_stopwatch_never_goes_back() -> None:
    readings = [SystemClock().monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_fixed_clock_stands_still_until_it_is_advanced() -> None:
    clock = FixedClock(NOON)
    assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic()) == (NOON, 0.0)
    clock.advance(timedelta(minutes=90))
    assert (clock.now(), clock.monotonic()) == (NOON + timedelta(minutes=90), 5400.0)


def test_time_does_not_advance_backwards() -> None:
    with pytest.raises(ValueError, match="jump"):
        FixedClock(NOON).advance(timedelta(seconds=-1))


def test_a_jump_moves_the_time_of_day_and_not_the_stopwatch() -> None:
    clock = FixedClock(NOON, monotonic_s=7.0)
    clock.jump(timedelta(hours=-2))
    assert (clock.now(), clock.monotonic()) == (NOON - timedelta(hours=2), 7.0)


def test_a_fixed_clock_answers_in_utc_whatever_zone_it_was_given() -> None:
    clock = FixedClock(datetime(2026, 11, 24, 7, 0, tzinfo=ZoneInfo("America/New_York")))
    assert clock.now() == NOON
    assert clock.now().tzinfo is UTC


def test_a_naive_moment_is_refused() -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        FixedClock(naive)
    with pytest.raises(ValueError, match="time zone"):
        to_timestamp_us(naive)


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_survives_being_stored_as_microseconds(moment: datetime) -> None:
    assume(datetime(1, 1, 3, tzinfo=UTC) < moment < datetime(9999, 12, 29, tzinfo=UTC))  # else no date in UTC
    assert from_timestamp_us(to_timestamp_us(moment)) == moment.astimezone(UTC)  # == between zones fails in a DST gap


def test_microseconds_count_from_1970() -> None:
    assert to_timestamp_us(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005
    assert to_timestamp_us(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
