"""Goal: every written time is the instant its sender meant, by a second way of reading zones.

Method: a table for what clocks do twice a year, and for any time of two decades the rule that an instant read back in
its zone shows what was written, unless the clocks skipped it.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.event_times import is_not_a_date, read_time
from tests.support.hl7_text import codes_of, event_of, message_of

ZONES = ["America/New_York", "America/Chicago", "America/Phoenix", "America/Los_Angeles", "Pacific/Honolulu", "UTC"]


@pytest.mark.parametrize(
    ("text", "zone", "at", "precision", "findings"),
    [
        ("20260115103045", "America/New_York", "2026-01-15T15:30:45+00:00", "second", []),
        ("202607151030", "America/New_York", "2026-07-15T14:30:00+00:00", "minute", []),
        ("2026071510", "America/Chicago", "2026-07-15T15:00:00+00:00", "hour", []),
        ("20260715", "America/Phoenix", "2026-07-15T07:00:00+00:00", "day", []),
        ("202607", "America/Phoenix", "2026-07-01T07:00:00+00:00", "month", []),
        ("2026", "America/Phoenix", "2026-01-01T07:00:00+00:00", "year", []),
        ("20260715103000.25", "UTC", "2026-07-15T10:30:00.250000+00:00", "second", []),
        ("20260715103000-0700", "America/New_York", "2026-07-15T17:30:00+00:00", "second", []),
        ("20260715103000+0530", "America/New_York", "2026-07-15T05:00:00+00:00", "second", []),
        ("20260715103000^D", "America/New_York", "2026-07-15T04:00:00+00:00", "day", []),
        # Clocks go forward at 2 on 8 March 2026 and back at 2 on 1 November.
        ("20260308015959", "America/New_York", "2026-03-08T06:59:59+00:00", "second", []),
        ("20260308020000", "America/New_York", "2026-03-08T07:00:00+00:00", "second", ["time-skipped"]),
        ("20260308023000", "America/New_York", "2026-03-08T07:30:00+00:00", "second", ["time-skipped"]),
        ("20260308030000", "America/New_York", "2026-03-08T07:00:00+00:00", "second", []),
        ("20261101005959", "America/New_York", "2026-11-01T04:59:59+00:00", "second", []),
        ("20261101010000", "America/New_York", "2026-11-01T05:00:00+00:00", "second", ["time-twice"]),
        ("20261101015959", "America/New_York", "2026-11-01T05:59:59+00:00", "second", ["time-twice"]),
        ("20261101020000", "America/New_York", "2026-11-01T07:00:00+00:00", "second", []),
        ("20261101013000-0500", "America/New_York", "2026-11-01T06:30:00+00:00", "second", []),
        ("20261101013000", "America/Phoenix", "2026-11-01T08:30:00+00:00", "second", []),
        ("20261101", "America/New_York", "2026-11-01T04:00:00+00:00", "day", []),
        ("20260230", "America/New_York", None, None, ["timestamp-not-a-date"]),
        ("99991231", "America/New_York", None, None, ["timestamp-not-a-date"]),
        ("TODAY", "America/New_York", None, None, ["timestamp-not-a-date"]),
        ("00000000", "America/New_York", None, None, ["timestamp-placeholder"]),
        ("0", "America/New_York", None, None, ["timestamp-placeholder"]),
        ("20260715250000", "America/New_York", "2026-07-15T04:00:00+00:00", "day", ["timestamp-time-impossible"]),
    ],
)
def test_a_time_is_read_in_its_zone(
    text: str, zone: str, at: str | None, precision: str | None, findings: list[str]
) -> None:
    message = message_of(EVN={2: text})
    time = read_time(message.first("EVN"), 2, ZoneInfo(zone))
    assert [(one.code, one.where) for one in message.findings] == [(code, "EVN-2") for code in findings]
    if at is None:
        assert time is None
        return
    assert time is not None
    assert (time.at.isoformat(), time.precision, time.zone) == (at, precision, zone)
    assert time.text == text.partition("^")[0]


@pytest.mark.parametrize("text", ["", '""', "^D", "  "])
def test_no_time_is_no_time(text: str) -> None:
    message = message_of(EVN={2: text})
    assert read_time(message.first("EVN"), 2, ZoneInfo("UTC")) is None
    assert message.findings == ()


def test_a_segment_that_is_not_there_has_no_time() -> None:
    assert read_time(None, 2, ZoneInfo("UTC")) is None


@given(
    st.datetimes(min_value=datetime(2021, 1, 1), max_value=datetime(2040, 12, 31)),  # noqa: DTZ001 - a clock on a wall
    st.sampled_from(ZONES),
)
def test_read_back_in_its_zone_a_time_shows_what_was_written(local: datetime, zone: str) -> None:
    written = local.replace(microsecond=0)
    message = message_of(EVN={2: written.strftime("%Y%m%d%H%M%S")})
    time = read_time(message.first("EVN"), 2, ZoneInfo(zone))
    assert time is not None
    assert time.local == written
    assert time.at.utcoffset() == timedelta(0)
    shown = time.at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    codes = {finding.code for finding in message.findings}
    assert (shown != written) == (codes == {"time-skipped"})
    if codes == {"time-twice"}:
        earlier = time.at - timedelta(hours=1)
        assert earlier.astimezone(ZoneInfo(zone)).replace(tzinfo=None) != written, "the first of the two counts"


@given(
    st.datetimes(min_value=datetime(1901, 1, 2), max_value=datetime(2190, 1, 1)),  # noqa: DTZ001 - a clock on a wall
    st.integers(min_value=-12 * 60, max_value=14 * 60),
)
def test_a_stated_offset_wins_over_any_zone(local: datetime, offset: int) -> None:
    sign, (hours, minutes) = "-" if offset < 0 else "+", divmod(abs(offset), 60)
    text = f"{local:%Y%m%d%H%M%S}{sign}{hours:02}{minutes:02}"
    message = message_of(EVN={2: text})
    times = [read_time(message.first("EVN"), 2, ZoneInfo(zone)) for zone in ZONES]
    assert {time.at for time in times if time} == {local.replace(microsecond=0, tzinfo=UTC) - timedelta(minutes=offset)}
    assert {time.offset_minutes for time in times if time} == {offset}
    assert message.findings == ()


def test_the_same_text_in_another_zone_is_another_time() -> None:
    message = message_of(EVN={2: "20260715103000"})
    first, second = (read_time(message.first("EVN"), 2, ZoneInfo(zone)) for zone in ZONES[:2])
    assert first is not None
    assert second is not None
    assert second.at - first.at == timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20260230", True), ("TOMORROW", True), ("20260228", False), ("00000000", False), ("", False), ('""', False)],
)
def test_what_is_no_date_is_told_from_what_is_empty(text: str, *, expected: bool) -> None:
    assert is_not_a_date(message_of(PV1={45: text}).first("PV1"), 45) is expected


def test_a_finding_about_a_time_is_made_for_every_message_that_has_it() -> None:
    for _ in range(2):
        assert codes_of(event_of(PV1={44: "20260308023000"})) == {"time-skipped": "PV1-44"}
