"""How late a hospital tells us, by message; and that a wrong clock is counted and not measured."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.events import AdtEvent
from services.followup.consumer.observation import UNKNOWN_FEED, Progress
from services.followup.usecases.apply_events import Applied
from services.followup.usecases.delays import source_delays
from services.ingest.feeds import FeedProfile
from services.ingest.hl7.message import parse
from services.ingest.normalize import normalize
from services.runtime.clock import SystemClock
from tests.support.adt import adt
from tests.support.household import MERCY

RECEIVED = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
"""15:00 in New York."""
HOUR = 3_600.0


def event(kind: str, feed: FeedProfile | None = MERCY, **times: str) -> AdtEvent:
    raw = adt(kind, **({"sent": "20261120145500", "control_id": "M1", "admitted": "20261117090000"} | times))
    return normalize(parse(raw), feed, received_at=RECEIVED)


CASES = [
    ("a discharge happened at PV1-45", "A03", {"discharged": "20261120130000"}, 2 * HOUR),
    ("an admission happened at PV1-44", "A01", {"admitted": "20261120140000"}, HOUR),
    ("a transfer happened at EVN-6", "A02", {"occurred": "20261120143000"}, 0.5 * HOUR),
    ("else it was said when it was recorded", "A08", {"recorded": "20261120120000"}, 3 * HOUR),
    ("else when it was sent", "A08", {"recorded": ""}, 300.0),
    ("a cancel was said when it was recorded, not when what it cancels happened", "A13",
     {"occurred": "20261119090000", "recorded": "20261120145000"}, 600.0),
    ("a day alone says nothing about hours", "A03", {"discharged": "20261120", "recorded": "20261120140000"}, HOUR),
    ("a time ahead of ours is below zero", "A03", {"discharged": "20261120153000"}, -0.5 * HOUR),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "times", "seconds"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_the_delay_is_from_when_a_hospital_says_it_happened(kind: str, times: dict[str, str], seconds: float) -> None:
    assert source_delays([event(kind, MERCY, **times)]) == (("mercy", seconds),)


def test_what_states_no_time_to_the_minute_has_no_delay() -> None:
    assert source_delays([event("A08", MERCY, sent="20261120", recorded="", admitted="")]) == ()


def test_what_is_not_used_is_not_measured() -> None:
    assert source_delays([event("A08", None), event("A60")]) == ()


def test_delays_are_told_by_feed_and_a_clock_that_is_wrong_is_counted_apart() -> None:
    told: list[tuple[str, float]] = []
    progress = Progress(SystemClock(), source_seconds=lambda feed, seconds: told.append((feed, seconds)))
    progress.applied(Applied(fresh=3, source_delays=(("mercy", 5.0), ("mercy", -1.0), (None, 0.0))))
    assert told == [("mercy", 5.0), (UNKNOWN_FEED, 0.0)]
    assert progress.clock_skews == {"mercy": 1}


def test_an_event_that_comes_again_is_not_measured_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Method: the consumer's use case is given one message twice, in two batches."""
    from tests.support.data_folders import NOW, DataFolder

    folder = DataFolder(tmp_path_factory.mktemp("data"))
    folder.make_database()
    discharge = adt("A03", sent="20261120143000", control_id="M2", discharged="20261120143000")
    folder.receive(discharge, discharge)
    first, second = folder.records()
    engine = folder.open()
    try:
        from services.followup.composition import build_apply
        from services.runtime.clock import FixedClock

        apply = build_apply(engine, FixedClock(NOW + timedelta(minutes=1)), closures=frozenset())
        delays = []
        for record in (first, second):
            applied = apply.deliver(record.topic, [record], joined={record.partition: record.offset})
            assert isinstance(applied, Applied)
            delays.append(applied.source_delays)
    finally:
        engine.dispose()
    assert delays == [(("mercy", 1_800.0),), ()]
