"""How far a group is behind: by tables for the words, by properties for the numbers, and the mistakes of others.

The six mistakes are those that users of other tools reported (product.md §2.1); each is a test by its name.
"""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.eventlog.lag import (
    STATUSES,
    Membership,
    Owner,
    PartitionHistory,
    PartitionLag,
    Sample,
    age_seconds,
    row_of,
)

WINDOW_S = 10.0
NOW_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
OWNED = Membership(members=1, owners={0: Owner(client_id="worker", host="/127.0.0.1")})
SHARING_OUT = Membership(members=2, owners={})
EMPTY = Membership(members=0, owners={})


def look(at_s: float, committed: int | None, end: int, *, begin: int = 0, waiting_s: float | None = 5.0) -> Sample:
    """Return one look; the oldest unprocessed record was received `waiting_s` before it."""
    now_us = NOW_US + int(at_s * SECOND_US)
    oldest_us = None if waiting_s is None else now_us - int(waiting_s * SECOND_US)
    return Sample(at_s=at_s, now_us=now_us, begin=begin, end=end, committed=committed, oldest_us=oldest_us)


def history_of(samples: Iterable[Sample], window_s: float = WINDOW_S) -> PartitionHistory:
    history = PartitionHistory(window_s)
    for sample in samples:
        history.add(sample)
    return history


def row(
    samples: Sequence[Sample], membership: Membership | None = OWNED, retention_s: float | None = None
) -> PartitionLag:
    return row_of(
        history_of(samples), group="g", topic="t", partition=0, membership=membership, retention_s=retention_s
    )


def every_two_seconds(pairs: Sequence[tuple[int | None, int]], *, begin: int = 0) -> list[Sample]:
    return [look(2.0 * n, committed, end, begin=begin) for n, (committed, end) in enumerate(pairs)]


WORDS = [
    ("nothing waits", [(5, 5)] * 6, OWNED, "OK"),
    ("nothing waits and nobody is there", [(5, 5)] * 6, EMPTY, "OK"),
    ("an empty log that nobody ever read", [(None, 0)] * 6, EMPTY, "OK"),
    ("it keeps up", [(1, 3), (3, 5), (5, 7), (6, 8), (9, 10), (10, 12)], OWNED, "OK"),
    ("the lag was zero once in the window", [(5, 5), (5, 9), (5, 9), (5, 9), (5, 9), (5, 9)], OWNED, "OK"),
    ("nobody is in the group", [(5, 9)], EMPTY, "STOPPED"),
    ("nobody is in the group and nothing was ever committed", [(None, 9)], EMPTY, "STOPPED"),
    ("nobody is in the group, although the lag was zero a moment ago", [(5, 5), (5, 6)], EMPTY, "STOPPED"),
    ("nobody is in the group and somebody commits all the same", [(5, 9), (6, 9)], EMPTY, "OK"),
    ("nobody is in the group and nobody commits any more", [(5, 9), (6, 9), (6, 9)], EMPTY, "STOPPED"),
    ("no one owns the partition and the commit stands still", [(5, 9)] * 6, SHARING_OUT, "STOPPED"),
    ("no one owns the partition for a moment", [(5, 9)] * 3, SHARING_OUT, "OK"),
    ("it is owned and the commit stands still", [(5, 9)] * 6, OWNED, "STALLED"),
    ("it is owned and stood still for longer still", [(5, 9)] * 60, OWNED, "STALLED"),
    ("it is owned, was never committed, and something waits", [(None, 9)] * 6, OWNED, "STALLED"),
    ("it has not been looked at for a whole window", [(5, 9)] * 5, OWNED, "OK"),
    ("who is there is not known, one window", [(5, 9)] * 6, None, "STALLED"),
    ("who is there is not known, two windows", [(5, 9)] * 11, None, "STOPPED"),
    ("it advances and the lag never falls", [(1, 5), (2, 6), (3, 8), (4, 9), (5, 10), (6, 11)], OWNED, "WARN"),
    ("it advances and the lag fell once", [(1, 5), (3, 6), (4, 9), (5, 12), (6, 15), (7, 20)], OWNED, "OK"),
    ("the commit went back", [(9, 9), (9, 9), (2, 9)], OWNED, "REWIND"),
    ("the commit went back while nobody was there", [(9, 9), (2, 9)], EMPTY, "REWIND"),
    ("the commit is gone", [(9, 9), (None, 9)], OWNED, "REWIND"),
    ("the commit went back and is where it was again", [(7, 9), (2, 9), (7, 9)], OWNED, "OK"),
    ("the commit went back before the window", [(9, 9), *[(2, 12)] * 8], OWNED, "STALLED"),
    ("the log ends before the commit", [(12, 9)], OWNED, "AHEAD"),
]  # fmt: skip


@pytest.mark.parametrize(("pairs", "membership", "word"), [one[1:] for one in WORDS], ids=[one[0] for one in WORDS])
def test_the_word_for_what_was_seen(
    pairs: list[tuple[int | None, int]], membership: Membership | None, word: str
) -> None:
    assert row(every_two_seconds(pairs), membership).status == word


def test_every_word_has_a_case() -> None:
    assert {one[3] for one in WORDS} | {"LOST"} == set(STATUSES)


def test_retention_that_cut_what_nobody_had_read_is_lost_data_also_when_nothing_waits_any_more() -> None:
    assert row(every_two_seconds([(5, 20)], begin=8)).status == "LOST"
    emptied = row(every_two_seconds([(5, 20)], begin=20))
    assert (emptied.status, emptied.lag, emptied.oldest_age_seconds) == ("LOST", 0, 0.0)
    assert emptied.data_lost_records == 15


def test_a_group_that_never_committed_has_lost_nothing() -> None:
    cut = row(every_two_seconds([(None, 20)], begin=8))
    assert (cut.status, cut.lag, cut.data_lost_records, cut.current_offset) == ("OK", 12, 0, None)


# --- what others got wrong --------------------------------------------------------------------------------------------


def test_an_idle_topic_whose_segments_expired_has_no_lag() -> None:
    """Method: kafka-lag-exporter #37: everything was read, then everything was deleted by age."""
    idle = row(every_two_seconds([(1_000, 1_000)] * 6, begin=1_000), EMPTY, retention_s=3_600.0)
    assert (idle.lag, idle.oldest_age_seconds, idle.status) == (0, 0.0, "OK")
    assert (idle.retention_used, idle.data_loss_in_seconds, idle.catch_up_seconds) == (None, None, 0.0)


def test_the_age_falls_while_a_group_catches_up() -> None:
    """Method: kafka-lag-exporter #121: records one second apart, ten of them read each second, more arriving."""
    ages = []
    for second in range(60):
        committed, end = 10 * second, 1_000 + second
        oldest_us = NOW_US - HOUR_US + committed * SECOND_US
        sample = Sample(
            at_s=second, now_us=NOW_US + second * SECOND_US, begin=0, end=end, committed=committed, oldest_us=oldest_us
        )
        ages.append(age_seconds(sample))
    assert ages == [3_600.0 - 9.0 * second for second in range(60)]


def test_no_buffer_limits_the_age() -> None:
    """Method: klag #30, which could not say more than the 30 minutes that it remembered: one look at three days."""
    assert row([look(0.0, 5, 9, waiting_s=3 * 86_400.0)]).oldest_age_seconds == 3 * 86_400.0


def test_a_commit_below_the_start_of_the_log_makes_no_phantom_lag_and_is_said() -> None:
    """Method: Redpanda #30624: committed 5, log from 100 to 110; what can be read is 10 records, not 105."""
    clamped = row(every_two_seconds([(5, 110)], begin=100))
    assert (clamped.lag, clamped.data_lost_records, clamped.status) == (10, 95, "LOST")


def test_a_group_that_stopped_committing_is_not_shown_at_the_lag_of_its_last_commit() -> None:
    """Method: Burrow #127: the lag was zero at its last commit, and then messages came."""
    samples = [look(2.0 * n, 100, 100 + 10 * n, waiting_s=2.0 * n) for n in range(20)]
    stopped = row(samples, None)
    assert (stopped.lag, stopped.oldest_age_seconds, stopped.status) == (190, 38.0, "STOPPED")


def test_the_age_is_that_of_the_record_at_the_commit_and_not_derived_from_offsets() -> None:
    """Method: streamshub #2743: no API tells that record's time; two logs with the same offsets, hours apart."""
    fresh, old = (row([look(0.0, 5, 9, waiting_s=waiting_s)]) for waiting_s in (2.0, 4 * 3_600.0))
    assert (fresh.lag, old.lag) == (4, 4)
    assert (fresh.oldest_age_seconds, old.oldest_age_seconds) == (2.0, 4 * 3_600.0)


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_a_record_that_cannot_be_read_has_no_age_rather_than_none_waiting() -> None:
    unknown = row([look(0.0, 5, 9, waiting_s=None)], retention_s=60.0)
    assert (unknown.lag, unknown.oldest_age_seconds, unknown.retention_used) == (4, None, None)


def test_a_record_from_the_future_has_just_come_and_the_skew_is_told_apart() -> None:
    skewed = row([look(0.0, 5, 9, waiting_s=-90.0)])
    assert (skewed.oldest_age_seconds, skewed.clock_skew_seconds) == (0.0, 90.0)
    assert row([look(0.0, 5, 9)]).clock_skew_seconds == 0.0


def test_the_time_to_catch_up_comes_from_the_rates_of_the_window() -> None:
    gaining = row([look(2.0 * n, 100 * n, 1_000 + 50 * n) for n in range(6)])
    assert gaining.catch_up_seconds == pytest.approx((1_250 - 500) / 25)
    assert row(every_two_seconds([(1, 9), (2, 10), (3, 11)])).catch_up_seconds is None
    assert row([look(0.0, 5, 9)]).catch_up_seconds is None


def test_what_retention_cuts_off_is_not_taken_for_progress() -> None:
    cut = [look(2.0 * n, 5, 100, begin=20 * n) for n in range(4)]
    assert row(cut).catch_up_seconds is None


def test_retention_used_and_the_hours_until_data_is_lost() -> None:
    late = row([look(0.0, 5, 9, waiting_s=15 * 3_600.0)], retention_s=24 * 3_600.0)
    assert late.retention_used == pytest.approx(0.625)
    assert late.data_loss_in_seconds == pytest.approx(9 * 3_600.0)
    for_ever = row([look(0.0, 5, 9)])
    assert (for_ever.retention_used, for_ever.data_loss_in_seconds) == (None, None)


def test_whose_a_partition_is_stands_beside_it() -> None:
    owned, alone = row([look(0.0, 5, 5)]), row([look(0.0, 5, 5)], EMPTY)
    assert (owned.client_id, owned.host) == ("worker", "/127.0.0.1")
    assert (alone.client_id, alone.host) == (None, None)


LOGS = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (pair[0], pair[0] + pair[1]))
SAMPLES = st.builds(
    lambda log, committed, at_s, waiting_s: look(at_s, committed, log[1], begin=log[0], waiting_s=waiting_s),
    LOGS,
    st.none() | st.integers(0, 120),
    st.floats(0, 1e6),
    st.none() | st.floats(-1e4, 1e7),
)


@given(SAMPLES)
def test_the_age_is_exactly_zero_when_and_only_when_nothing_waits_or_it_came_this_moment(sample: Sample) -> None:
    age_s = age_seconds(sample)
    if sample.lag == 0:
        assert age_s == 0.0
    elif sample.oldest_us is not None and sample.oldest_us < sample.now_us:
        assert age_s is not None
        assert age_s > 0.0
        assert sample.position == max(sample.begin, sample.committed or 0)


@given(SAMPLES)
def test_the_lag_counts_only_what_can_be_read(sample: Sample) -> None:
    assert 0 <= sample.lag <= sample.end - sample.begin
    assert (sample.lost > 0) == (sample.committed is not None and sample.committed < sample.begin)


@given(st.lists(SAMPLES, min_size=1, max_size=20), st.sampled_from([OWNED, SHARING_OUT, EMPTY, None]))
def test_whatever_was_seen_has_a_word_and_no_number_below_zero(
    samples: list[Sample], membership: Membership | None
) -> None:
    seen = row(sorted(samples, key=lambda one: one.at_s), membership, retention_s=3_600.0)
    assert seen.status in STATUSES
    for number in (
        seen.oldest_age_seconds, seen.catch_up_seconds, seen.retention_used, seen.data_loss_in_seconds,
        seen.clock_skew_seconds, seen.lag, seen.data_lost_records,
    ):  # fmt: skip
        assert number is None or number >= 0
    if seen.status == "OK":
        assert seen.data_lost_records == 0


@given(st.lists(SAMPLES, min_size=2, max_size=50))
def test_a_history_remembers_a_window_and_one_look_before_it(samples: list[Sample]) -> None:
    ordered = sorted(samples, key=lambda one: one.at_s)
    history = history_of(ordered)
    kept = list(history._samples)
    assert kept == ordered[-len(kept) :]
    assert all(sample.at_s > ordered[-1].at_s - WINDOW_S for sample in kept[1:])
