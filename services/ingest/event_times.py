"""Times of an event: what a sender wrote, as the instant it meant.

Owns the step from a time as written to a `Timestamp` with its instant. Promises: the text and the wall-clock time stay
as written (`domain.md` §2.5 rule 12); a stated offset wins over the zone; an hour that the clocks show twice is read as
the first, one that they skip is moved forward by what they skip (PEP 495, ``fold=0``), either with a finding; what is
no date at all is no time, with a finding.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from schemas.events import Timestamp
from services.ingest.hl7.segment import Segment
from services.ingest.hl7.timestamps import NOT_A_DATE, parse_timestamp

TIMES_CACHED_MAX: Final = 4_096
"""A message repeats its times (MSH-7 in EVN-2, PV1-44 in each update of a stay); 4,096 take about 2 MB."""

DAYS_CACHED_MAX: Final = 4_096

_COARSE: Final = frozenset({"year", "month", "day"})


def read_time(segment: Segment | None, field: int, zone: ZoneInfo) -> Timestamp | None:
    """Read the first repetition of a TS or DTM field in a zone; ``None`` where there is none or it is not a date."""
    if segment is None:
        return None
    raw = segment.field(field)
    if not raw:
        return None
    # No delimiter is a letter or digit, and most times are nothing else.
    text, degree = (raw, "") if raw.isalnum() else (segment.component(field), segment.component(field, 2))
    if not text:
        return None
    found, faults = _time_of(text, degree, zone)
    for code in faults:
        segment.note(code, field)
    return found


@lru_cache(maxsize=TIMES_CACHED_MAX)
def _time_of(text: str, degree: str, zone: ZoneInfo) -> tuple[Timestamp | None, tuple[str, ...]]:
    written = parse_timestamp(text, degree=degree or None)
    if written is None:
        return None, ()
    local, precision, offset = written.local, written.precision, written.offset_minutes
    if local is None or precision is None:
        # 00000000 is how some systems write an empty date.
        return None, ("timestamp-placeholder",) if not text.strip("0 ") else written.findings
    findings = written.findings
    east = timedelta(minutes=offset) if offset is not None else _offset_all_day(local.date(), zone)
    if east is not None:
        at = (local - east).replace(tzinfo=UTC)
    else:
        at = local.replace(tzinfo=zone)
        if precision not in _COARSE:
            findings += _clock_change(at)
    found = Timestamp(
        text=written.text,
        local=local,
        at=at if east is not None else at.astimezone(UTC),
        precision=precision,
        zone=zone.key,
        offset_minutes=offset,
    )
    return found, findings


@lru_cache(maxsize=DAYS_CACHED_MAX)
def _offset_all_day(day: date, zone: ZoneInfo) -> timedelta | None:
    """Return the offset of a day on which the zone's clocks do not change, ``None`` for one on which they do."""
    first, last = (datetime.combine(day, moment, zone).utcoffset() for moment in (time.min, time.max))
    return first if first == last else None


def _clock_change(at: datetime) -> tuple[str, ...]:
    """Name what the zone's clocks did at a local time, if anything."""
    before, after = at.utcoffset(), at.replace(fold=1).utcoffset()
    assert before is not None, "a zone knows its offset"
    assert after is not None, "a zone knows its offset"
    if before == after:
        return ()
    return ("time-twice",) if before > after else ("time-skipped",)


def is_not_a_date(segment: Segment | None, field: int) -> bool:
    """Say whether a field holds text that is no date, not even a placeholder for one."""
    text = segment.value(field) if segment is not None else None
    if not isinstance(text, str) or not text.strip("0 "):
        return False
    written = parse_timestamp(text)
    return written is not None and NOT_A_DATE in written.findings
