"""The clocks on the walls of places, as their computers write them.

Owns one question: what a clock in a zone shows at a moment. Where times are written without UTC offset, the hour that
a clock shows twice in autumn cannot be told apart; nothing that happens then has a truth to compare with. So a
`WallClock` squeezes the two hours before and the hour after the repeat into the time before it: order is kept, no
ambiguous time is ever written, and the moment returned is the one that readers of the message must find.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_HOUR: Final = timedelta(hours=1)
_SQUEEZE_BEFORE: Final = timedelta(hours=3)
_SQUEEZE_INTO: Final = timedelta(hours=2)


class WallClock:
    """The clock of one zone over the time that a simulation speaks of."""

    def __init__(self, zone: str, *, first: datetime, last: datetime) -> None:
        self.zone = ZoneInfo(zone)
        self._falls_back = _falls_back(self.zone, first, last)

    def show(self, moment: datetime) -> datetime:
        """Return the moment as shown, in the clock's zone, up to two hours early where an hour is repeated."""
        for change in self._falls_back:
            begin, end = change - _SQUEEZE_BEFORE, change + _HOUR
            if begin < moment < end:
                moment = begin + (moment - begin) * (_SQUEEZE_INTO / (end - begin))
        return moment.astimezone(self.zone)


def _falls_back(zone: ZoneInfo, first: datetime, last: datetime) -> tuple[datetime, ...]:
    """Return the instants between two moments at which the clock is set back; these are full hours of UTC."""
    hour = first.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    found = []
    while hour < last:
        if _offset(hour + _HOUR, zone) < _offset(hour, zone):
            found.append(hour + _HOUR)
        hour += _HOUR
    return tuple(found)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
