"""Times as senders state them: wall-clock text whose zone is decided late.

A content time (PV1-44, PV1-45, EVN-6 …) is read in the zone of the *stay's* facility (domain rule 12), which another
message may tell. So joined state keeps the written wall clock, and the view turns it into an instant. Resolution is
the minute: seconds never tell two stays or two discharges apart, and senders disagree about them.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

Precision = Literal["day", "minute"]

_DAY_TEXT: Final = 10  # "YYYY-MM-DD"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedTime:
    """A written time: ISO wall clock (``YYYY-MM-DD`` or ``YYYY-MM-DDTHH:MM``) and the UTC offset where stated."""

    local: str
    offset_minutes: int | None = None

    @property
    def key(self) -> str:
        """Text under which two statements of the same time are the same claim."""
        return self.local if self.offset_minutes is None else f"{self.local}{self.offset_minutes:+d}"

    @property
    def is_day(self) -> bool:
        """Whether only the day is known."""
        return len(self.local) == _DAY_TEXT

    def instant(self, zone: str) -> datetime:
        """Return the instant in UTC, read in ``zone`` where no offset was stated; a day is its first minute.

        An hour that happens twice is its first, one that never happens is shifted forward (PEP 495, fold 0).
        """
        return _instant(self.local, self.offset_minutes, zone)

    def day(self, zone: str) -> date:
        """Return the local date at a facility in ``zone``."""
        if self.offset_minutes is None or self.is_day:
            return date.fromisoformat(self.local[:_DAY_TEXT])
        return self.instant(zone).astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=4096)
def _instant(local: str, offset_minutes: int | None, zone: str) -> datetime:
    wall = datetime.fromisoformat(local)
    if offset_minutes is not None:
        return (wall - timedelta(minutes=offset_minutes)).replace(tzinfo=UTC)
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def same_time(left: StatedTime, right: StatedTime, zone: str) -> bool:
    """Say whether two written times name one moment, compared as coarsely as the coarser of them."""
    if left.is_day or right.is_day:
        return left.day(zone) == right.day(zone)
    return left.instant(zone) == right.instant(zone)


def is_after(left: StatedTime, right: StatedTime, zone: str) -> bool:
    """Say whether ``left`` is certainly later than ``right``; the same day is not, where one is only a day."""
    if left.is_day or right.is_day:
        return left.day(zone) > right.day(zone)
    return left.instant(zone) > right.instant(zone)


def microseconds(at: datetime) -> int:
    """Return an aware instant as integer microseconds since 1970, the form kept in joined state."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(us: int) -> datetime:
    """Return the UTC instant of integer microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)
