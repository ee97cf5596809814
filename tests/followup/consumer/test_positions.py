"""The comparison of the database's positions with the log, and the pieces of a batch without holes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import ADT_EVENTS
from services.followup.consumer.positions import Lost, resume, runs
from tests.support.kept_log import garbage


def test_a_partition_goes_on_where_the_database_is() -> None:
    found = resume(ADT_EVENTS, {0: 5, 1: 9}, {0: 0, 1: 9}, {0: 8, 1: 9})
    assert found.starts == {0: 5, 1: 9}
    assert (found.new, found.lost, found.replaced) == ({}, (), {})


def test_a_partition_that_was_never_consumed_begins_where_the_log_does_and_nothing_is_lost() -> None:
    found = resume(ADT_EVENTS, {0: 5}, {0: 0, 1: 40}, {0: 8, 1: 41})
    assert found.starts == {0: 5, 1: 40}
    assert found.new == {1: 40}
    assert found.lost == ()


def test_what_retention_took_is_named_exactly() -> None:
    found = resume(ADT_EVENTS, {0: 5, 1: 0}, {0: 8, 1: 3}, {0: 8, 1: 3})
    assert found.starts == {0: 8, 1: 3}
    assert [str(lost) for lost in found.lost] == [
        "adt.events.v1 partition 0 offsets 5 to 7",
        "adt.events.v1 partition 1 offsets 0 to 2",
    ]
    assert found.lost[0] == Lost(topic=ADT_EVENTS, partition=0, first=5, next=8)


def test_a_log_that_ends_below_a_position_is_another_one() -> None:
    found = resume(ADT_EVENTS, {0: 5, 1: 2}, {0: 0, 1: 0}, {0: 4, 1: 2})
    assert found.replaced == {0: (5, 4)}


def test_a_batch_is_one_piece_when_nothing_is_left_out() -> None:
    records = [garbage(1, 4), garbage(0, 7), garbage(0, 8), garbage(1, 5)]
    assert runs(records) == [[garbage(0, 7), garbage(0, 8), garbage(1, 4), garbage(1, 5)]]


def test_a_batch_is_cut_where_offsets_are_left_out_and_holds_each_once() -> None:
    offered = [garbage(0, offset) for offset in (1, 2, 9, 10, 1, 2, 3)]
    assert runs(offered) == [[garbage(0, 1), garbage(0, 2), garbage(0, 3)], [garbage(0, 9), garbage(0, 10)]]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30))))
def test_pieces_hold_everything_once_in_order_and_without_holes(offered: list[tuple[int, int]]) -> None:
    pieces = runs([garbage(partition, offset) for partition, offset in offered])
    places = [(record.partition, record.offset) for piece in pieces for record in piece]
    assert sorted(places) == sorted(set(offered))
    for partition in range(3):
        assert [offset for place, offset in places if place == partition] == sorted(
            {offset for place, offset in offered if place == partition}
        )
    for piece in pieces:
        for before, after in itertools.pairwise(piece):
            assert before.partition != after.partition or before.offset + 1 == after.offset
