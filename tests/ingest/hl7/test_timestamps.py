"""Goal: a time is read as far as it is sound, what is wrong with it is said, and no text makes the reader fail."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.hl7.timestamps import (
    NOT_A_DATE,
    YEAR_MAX,
    YEAR_MIN,
    Precision,
    TimestampText,
    parse_timestamp,
)


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _parse(text: str, degree: str | None = None) -> TimestampText:
    timestamp = parse_timestamp(text, degree=degree)
    assert timestamp is not None
    assert timestamp.text == text.strip()
    return timestamp


@pytest.mark.parametrize(
    ("text", "local", "precision", "offset"),
    [
        ("2026", "2026-01-01T00:00", "year", None),
        ("202603", "2026-03-01T00:00", "month", None),
        ("20260308", "2026-03-08T00:00", "day", None),
        ("2026030802", "2026-03-08T02:00", "hour", None),
        ("202603080230", "2026-03-08T02:30", "minute", None),
        ("20260308023015", "2026-03-08T02:30:15", "second", None),
        ("20260308023015.1", "2026-03-08T02:30:15.100000", "second", None),
        ("20260308023015.1234", "2026-03-08T02:30:15.123400", "second", None),
        ("20260308023015.123456789", "2026-03-08T02:30:15.123456", "second", None),
        ("20260308023015.", "2026-03-08T02:30:15", "second", None),
        ("20260308023015-0600", "2026-03-08T02:30:15", "second", -360),
        ("20260308023015+0500", "2026-03-08T02:30:15", "second", 300),
        ("20260308023015.1234+0530", "2026-03-08T02:30:15.123400", "second", 330),
        ("202603080230+1400", "2026-03-08T02:30", "minute", 840),
        ("202603080230-1200", "2026-03-08T02:30", "minute", -720),
        ("202603080230-0000", "2026-03-08T02:30", "minute", 0),
        ("20260308-0500", "2026-03-08T00:00", "day", -300),
        ("2026+0100", "2026-01-01T00:00", "year", 60),
        ("20240229", "2024-02-29T00:00", "day", None),
        ("19000101", "1900-01-01T00:00", "day", None),
        ("18000101", "1800-01-01T00:00", "day", None),
        ("21991231235959", "2199-12-31T23:59:59", "second", None),
        ("20261101013000", "2026-11-01T01:30", "second", None),
        ("  20260308 ", "2026-03-08T00:00", "day", None),
    ],
)
def test_a_legal_time_is_read_with_its_precision_and_offset(
    text: str, local: str, precision: Precision, offset: int | None
) -> None:
    timestamp = _parse(text)
    assert timestamp.local == _local(local)
    assert timestamp.precision == precision
    assert timestamp.offset_minutes == offset
    assert timestamp.findings == ()


@pytest.mark.parametrize(
    ("text", "local", "precision", "offset"),
    [
        ("2026-03-08", "2026-03-08T00:00", "day", None),
        ("2026-03-08T02:30:00", "2026-03-08T02:30", "second", None),
        ("2026-03-08T02:30:00.25Z", "2026-03-08T02:30:00.250000", "second", 0),
        ("2026-03-08T02:30:00+05:00", "2026-03-08T02:30", "second", 300),
        ("2026-03-08 02:30", "2026-03-08T02:30", "minute", None),
        ("2026-03-08 02:30 -06:00", "2026-03-08T02:30", "minute", -360),
        ("20260308 0230", "2026-03-08T02:30", "minute", None),
        ("20260308T023015", "2026-03-08T02:30:15", "second", None),
        ("2026/03/08 02:30:15", "2026-03-08T02:30:15", "second", None),
        ("20260308023015+05:00", "2026-03-08T02:30:15", "second", 300),
        ("20260308023015+05", "2026-03-08T02:30:15", "second", 300),
        ("20260308023015Z", "2026-03-08T02:30:15", "second", 0),
    ],
)
def test_other_unambiguous_forms_are_read_and_found(
    text: str, local: str, precision: Precision, offset: int | None
) -> None:
    timestamp = _parse(text)
    assert (timestamp.local, timestamp.precision) == (_local(local), precision)
    assert timestamp.offset_minutes == offset
    assert timestamp.findings == ("timestamp-not-hl7-form",)


@pytest.mark.parametrize(
    ("text", "local", "precision", "finding"),
    [
        ("202603082400", "2026-03-09T00:00", "minute", "timestamp-hour-24"),
        ("20261231240000", "2027-01-01T00:00", "second", "timestamp-hour-24"),
        ("2026030824", "2026-03-09T00:00", "hour", "timestamp-hour-24"),
        ("20261231235960", "2026-12-31T23:59:59", "second", "timestamp-leap-second"),
        ("202603082401", "2026-03-08T00:00", "day", "timestamp-time-impossible"),
        ("202603082575", "2026-03-08T00:00", "day", "timestamp-time-impossible"),
        ("20260308101061", "2026-03-08T00:00", "day", "timestamp-time-impossible"),
        ("20260308023015+9900", "2026-03-08T02:30:15", "second", "timestamp-offset-impossible"),
        ("20260308023015+0560", "2026-03-08T02:30:15", "second", "timestamp-offset-impossible"),
        ("20260308023015+1401", "2026-03-08T02:30:15", "second", "timestamp-offset-impossible"),
        ("20260308023015-1201", "2026-03-08T02:30:15", "second", "timestamp-offset-impossible"),
        ("202603081", "2026-03-08T00:00", "day", "timestamp-malformed"),
        ("20260308021", "2026-03-08T02:00", "hour", "timestamp-malformed"),
        ("2026030802301", "2026-03-08T02:30", "minute", "timestamp-malformed"),
        ("202603080230.5", "2026-03-08T02:30", "minute", "timestamp-malformed"),
        ("20260308023015123", "2026-03-08T02:30:15.123000", "second", "timestamp-malformed"),
        ("2026030802301500", "2026-03-08T02:30:15", "second", "timestamp-malformed"),
    ],
)
def test_a_time_that_is_partly_wrong_is_read_as_far_as_it_is_sound(
    text: str, local: str, precision: Precision, finding: str
) -> None:
    timestamp = _parse(text)
    assert (timestamp.local, timestamp.precision) == (_local(local), precision)
    assert timestamp.findings == (finding,)
    assert timestamp.offset_minutes is None


@pytest.mark.parametrize(
    "text",
    [
        "20260230",
        "20250229",
        "20260431",
        "20261301",
        "202613",
        "202600",
        "20260100",
        "0000",
        "00000000",
        "00000101",
        "1799",
        "2200",
        "9999",
        "99991231",
        "99991231235959",
        "20263",
        "2026030",
        "196203520",
        "202",
        "2",
        "M",
        "female",
        "fake",
        "$ADMIT_DATE_TIME$",
        "01-Jul-1988",
        "07/01/1988",
        "19_610_615",
        "20080919 IN1",
        "20260308+ab12",
        "20260308+1",
        "2026-3-8",
        "\N{FULLWIDTH DIGIT TWO}0260308",
        "٢٠٢٦٠٣٠٨",
        "²⁰²⁶⁰³⁰⁸",
        '"',
        "2" * 65,
        "20260308" + " " * 60 + "x",
    ],
)
def test_what_is_no_date_is_a_value_that_says_so(text: str) -> None:
    timestamp = _parse(text)
    assert timestamp.local is None
    assert timestamp.precision is None
    assert timestamp.offset_minutes is None
    assert NOT_A_DATE in timestamp.findings


@pytest.mark.parametrize("text", ["", "   ", "\t"])
def test_no_text_is_no_time(text: str) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.parametrize(
    ("degree", "local", "precision"),
    [
        ("Y", "2026-01-01T00:00", "year"),
        ("L", "2026-03-01T00:00", "month"),
        ("D", "2026-03-08T00:00", "day"),
        ("H", "2026-03-08T02:00", "hour"),
        ("M", "2026-03-08T02:30", "minute"),
        ("S", "2026-03-08T02:30:15", "second"),
        ("?", "2026-03-08T02:30:15", "second"),
    ],
)
def test_the_degree_of_precision_of_older_versions_is_honored(degree: str, local: str, precision: Precision) -> None:
    timestamp = _parse("20260308023015", degree)
    assert (timestamp.local, timestamp.precision) == (_local(local), precision)
    assert timestamp.findings == ()


def test_the_degree_cannot_make_a_time_finer_than_it_is_written() -> None:
    assert _parse("20260308", "S").precision == "day"


_moments = st.datetimes(min_value=_local(f"{YEAR_MIN}-01-01"), max_value=_local(f"{YEAR_MAX}-12-31"))


@given(_moments, st.sampled_from(["%Y%m%d%H%M%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y%m%d %H%M%S"]))
def test_any_time_written_in_any_form_reads_the_same(moment: datetime, form: str) -> None:
    assert _parse(moment.strftime(form)).local == moment.replace(microsecond=0)


@given(st.one_of(st.text(max_size=30), st.text(alphabet="0123456789+-:.TZ /", max_size=30)), st.sampled_from("YLDHMSx"))
def test_any_text_gives_a_time_or_says_that_it_is_none(text: str, degree: str) -> None:
    timestamp = parse_timestamp(text, degree=degree)
    if timestamp is None:
        assert not text.strip()
    else:
        assert (timestamp.local is None) == (timestamp.precision is None) == (NOT_A_DATE in timestamp.findings)
        assert len(set(timestamp.findings)) == len(timestamp.findings)
        assert parse_timestamp(text) is not None
