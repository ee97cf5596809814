"""What `afterstay lag` concludes, by table; and its first line, read as a monitoring system reads it."""

import re
from datetime import UTC, datetime

import pytest

from services.commands.lag_report import EXIT_CODES, LagReport, Thresholds, duration, plugin_line, report_of
from services.followup.usecases.status import Spool
from services.runtime.eventlog.lag import STATUSES, PartitionLag, Status

NOW = datetime(2026, 11, 27, 23, 0, tzinfo=UTC)
PERFORMANCE_DATUM = re.compile(
    r"[a-z_]+=(U|-?\d+(\.\d+)?(s|%)?)(;(\d+(\.\d+)?)?){0,4}"  # 'label'=value[UOM];[warn];[crit];[min];[max]
)


def row(
    partition: int = 0,
    *,
    lag: int = 0,
    age_s: float | None = 0.0,
    status: Status = "OK",
    retention_used: float | None = None,
    left_s: float | None = None,
) -> PartitionLag:
    return PartitionLag(
        group="followup",
        topic="adt.events.v1",
        partition=partition,
        current_offset=5,
        log_end_offset=5 + lag,
        lag=lag,
        oldest_age_seconds=age_s,
        status=status,
        catch_up_seconds=None,
        retention_used=retention_used,
        client_id=None,
        host=None,
        log_start_offset=0,
        data_lost_records=0,
        data_loss_in_seconds=left_s,
        clock_skew_seconds=0.0,
    )


def spool(messages: int | None = 0, age_s: float | None = 0.0) -> Spool:
    return Spool(address="127.0.0.1:9101", messages=messages, oldest_age_s=age_s)


def report(*rows: PartitionLag, spools: tuple[Spool, ...] = (), failure: str | None = None) -> LagReport:
    return report_of(
        rows,
        spools,
        Thresholds(warn_s=60.0, crit_s=300.0),
        group="followup",
        topic="adt.events.v1",
        observed_at=NOW,
        window_s=3.0,
        failure=failure,
    )


STATES = [
    ("nothing waits", [row(), row(1)], [], "OK", "nothing waits"),
    ("there is no log yet", [], [], "OK", "nothing was received yet"),
    ("a little waits", [row(lag=3, age_s=1.25)], [], "OK", "3 wait, the oldest for 1.2 s"),
    ("exactly the threshold", [row(lag=1, age_s=60.0)], [], "OK", "the oldest for 1 min 0 s"),
    ("above the first", [row(lag=1, age_s=60.1)], [], "WARNING", "waits 1 min 0 s in partition 0"),
    ("above the second", [row(), row(1, lag=1, age_s=301.0)], [], "CRITICAL", "waits 5 min 1 s in partition 1"),
    ("it does not catch up", [row(lag=1, age_s=1.0, status="WARN")], [], "WARNING", "WARN: "),
    ("it does not get on", [row(n, lag=1, age_s=1.0, status="STALLED") for n in range(5)], [], "CRITICAL",
     "STALLED: its consumer does not get on (partitions 0, 1, 2 and 2 more)"),
    ("nobody is there", [row(lag=1, age_s=1.0, status="STOPPED")], [], "CRITICAL", "STOPPED: nobody"),
    ("it went back", [row(lag=1, age_s=1.0, status="REWIND")], [], "CRITICAL", "REWIND: "),
    ("retention has cut", [row(status="LOST")], [], "CRITICAL", "LOST: records were deleted before they were read"),
    ("another log", [row(status="AHEAD")], [], "CRITICAL", "AHEAD: "),
    ("what waits cannot be read", [row(lag=1, age_s=None)], [], "UNKNOWN", "cannot be read (partition 0)"),
    ("half of the retention", [row(lag=1, age_s=1.0, retention_used=0.5, left_s=1.0)], [], "OK", "1 wait"),
    ("more than half", [row(lag=1, age_s=1.0, retention_used=0.51, left_s=32_400.0)], [], "CRITICAL",
     "data loss in 9 h 0 min: partition 0"),
    ("an empty spool", [row()], [spool()], "OK", "nothing waits"),
    ("a spool that holds a little", [row()], [spool(7, 2.0)], "OK", "nothing waits"),
    ("an old spool", [row()], [spool(7, 7_200.0)], "CRITICAL", "waits 2 h 0 min in the spool at 127.0.0.1:9101"),
    ("a listener that does not answer", [row()], [spool(), spool(None, None)], "UNKNOWN", "does not say what its"),
    ("that, and something worse", [row(status="LOST")], [spool(None, None)], "CRITICAL", "LOST: "),
    ("that, and a warning", [row(lag=1, age_s=61.0)], [spool(None, None)], "WARNING", "waits 1 min 1 s"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "spools", "state", "words"), [one[1:] for one in STATES], ids=[one[0] for one in STATES]
)
def test_the_state_is_the_worst_that_was_found_and_says_why(
    rows: list[PartitionLag], spools: list[Spool], state: str, words: str
) -> None:
    made = report(*rows, spools=tuple(spools))
    assert (made.state, made.exit_code) == (state, EXIT_CODES[made.state])
    assert words in made.summary


def test_every_word_has_a_state() -> None:
    assert {one.status for case in STATES for one in case[1]} == set(STATUSES)


def test_what_could_not_be_looked_at_is_unknown() -> None:
    made = report(failure="Kafka is away [log-unavailable]")
    assert (made.state, made.exit_code) == ("UNKNOWN", 3)
    assert plugin_line(made) == "UNKNOWN - Kafka is away [log-unavailable] | oldest_age=U lag=U"


def test_the_four_codes_are_those_of_plug_ins() -> None:
    assert EXIT_CODES == {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}


def test_many_findings_are_counted_and_not_all_told_in_one_line() -> None:
    rows = [
        row(status="LOST"),
        row(1, status="AHEAD"),
        row(2, lag=1, age_s=999.0, status="STOPPED"),
        row(3, age_s=None),
    ]
    made = report(*rows, spools=(spool(None, None),))
    assert made.summary.endswith("; and 3 more")
    assert [finding.state for finding in made.findings] == ["CRITICAL"] * 4 + ["UNKNOWN"] * 2


@pytest.mark.parametrize("case", STATES, ids=[one[0] for one in STATES])
def test_the_first_line_is_one_that_a_monitoring_system_can_read(
    case: tuple[str, list[PartitionLag], list[Spool]],
) -> None:
    line = plugin_line(report(*case[1], spools=tuple(case[2])))
    said, _, performance = line.partition(" | ")
    assert re.match(r"(OK|WARNING|CRITICAL|UNKNOWN) - \S", said)
    assert "\n" not in line
    assert "|" not in performance
    for datum in performance.split(" "):
        assert PERFORMANCE_DATUM.fullmatch(datum), datum


def test_the_performance_data_carry_the_numbers_and_their_limits() -> None:
    rows = [row(lag=3, age_s=1.5, retention_used=0.1), row(1, lag=4, age_s=90.0, retention_used=0.2)]
    line = plugin_line(report(*rows, spools=(spool(7, 2.0),)))
    assert line.partition(" | ")[2] == (
        "oldest_age=90.000s;60;300;0 lag=7;;;0 retention_used=20.0%;;50;0;100 "
        "spool_oldest_age=2.000s;60;300;0 spool_messages=7;;;0"
    )
    unknown = plugin_line(report(row(lag=1, age_s=None), spools=(spool(None, None),)))
    assert unknown.partition(" | ")[2] == "oldest_age=U lag=1;;;0 spool_oldest_age=U spool_messages=U"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (61.0, "1 min 1 s"),
        (3_600.0, "1 h 0 min"),
        (172_799.0, "47 h 59 min"),
        (200_000.0, "2 d 7 h"),
    ],
)
def test_durations_are_said_in_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words
