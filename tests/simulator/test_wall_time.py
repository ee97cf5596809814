from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import pytest

from services.simulator.wall_time import WallClock

FIRST, LAST = datetime(2026, 9, 1, tzinfo=UTC), datetime(2027, 4, 30, tzinfo=UTC)
EASTERN_FALLS_BACK = datetime(2026, 11, 1, 6, tzinfo=UTC)
EASTERN_SPRINGS_FORWARD = datetime(2027, 3, 14, 7, tzinfo=UTC)


@lru_cache
def clock(zone: str) -> WallClock:
    return WallClock(zone, first=FIRST, last=LAST)


def wall(moment: datetime, zone: str = "America/New_York") -> datetime:
    return clock(zone).show(moment)


def test_away_from_a_change_a_clock_shows_the_moment() -> None:
    moment = datetime(2026, 11, 24, 15, 7, 31, tzinfo=UTC)
    assert wall(moment) == moment
    assert wall(moment).strftime("%Y%m%d%H%M%S") == "20261124100731"


def test_no_written_time_around_the_repeated_hour_can_be_read_in_two_ways() -> None:
    for minutes in range(-300, 120):
        shown = wall(EASTERN_FALLS_BACK + timedelta(minutes=minutes))
        assert shown.replace(fold=0).utcoffset() == shown.replace(fold=1).utcoffset(), minutes


def test_order_survives_the_repeated_hour_and_nothing_moves_later_or_by_more_than_two_hours() -> None:
    moments = [EASTERN_FALLS_BACK + timedelta(minutes=minutes) for minutes in range(-400, 200)]
    shown = [wall(moment) for moment in moments]
    assert all(earlier < later for earlier, later in pairwise(shown))
    assert all(timedelta(0) <= moment - seen <= timedelta(hours=2) for moment, seen in zip(moments, shown, strict=True))


def test_spring_forward_needs_no_help() -> None:
    for minutes in range(-120, 120):
        moment = EASTERN_SPRINGS_FORWARD + timedelta(minutes=minutes)
        assert wall(moment) == moment


@pytest.mark.parametrize("zone", ["America/Phoenix", "UTC"])
def test_a_zone_without_summer_time_is_left_alone(zone: str) -> None:
    for hours in range(-10, 10):
        moment = EASTERN_FALLS_BACK + timedelta(hours=hours)
        assert wall(moment, zone) == moment
