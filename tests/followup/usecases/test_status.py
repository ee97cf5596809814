"""The books against the log: balanced whatever is in flight, and never balanced once a count is off."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.usecases.status import EMPTY_BOOKS, NO_LOG, Books, Extent, status_of

OUTCOMES = (("effect", ""), ("no_effect", "duplicate"), ("no_effect", "not-on-panel"), ("review", "partly-agrees"))
DEAD = ("dead_letter", "feed-unknown")

position = st.tuples(st.sampled_from(("AA", "AE", "AR", "none")), st.sampled_from((*OUTCOMES, DEAD)))


@st.composite
def moments(draw: st.DrawFn) -> tuple[Books, Extent]:
    """Give books as of one moment and the log as of a later one, with more in it and its beginning perhaps cut."""
    log = draw(st.lists(st.lists(position, max_size=8), min_size=1, max_size=4))
    reached = [draw(st.integers(0, len(partition))) for partition in log]
    consumed = [one for partition, end in zip(log, reached, strict=True) for one in partition[:end]]
    waiting = [one for partition, end in zip(log, reached, strict=True) for one in partition[end:]]
    outcomes = Counter(outcome for _, outcome in consumed)
    firsts = [draw(st.integers(0, 3)) for _ in log]
    books = Books(
        positions={index: firsts[index] + end for index, end in enumerate(reached)},
        firsts=dict(enumerate(firsts)),
        outcomes=outcomes,
        acks=Counter(code for code, _ in consumed),
        events=len(consumed),
        open_letters=outcomes[DEAD],
        tasks={},
    )
    extent = Extent(
        begins={index: first + draw(st.integers(0, reached[index])) for index, first in enumerate(firsts)},
        ends={index: firsts[index] + len(partition) for index, partition in enumerate(log)},
        pending_acks=Counter(code for code, _ in waiting),
    )
    return books, extent


@given(moments())
def test_what_is_in_flight_never_unbalances_the_books(moment: tuple[Books, Extent]) -> None:
    books, extent = moment

    status = status_of(books, extent)

    outcomes = status.outcomes
    ended = outcomes.effect + sum(outcomes.no_effect.values()) + outcomes.review + outcomes.dead_letter
    assert status.problems == ()
    assert status.balanced
    assert status.received == ended + status.pending == sum(status.acknowledged.values())
    assert sum(status.dead_letters.values()) == outcomes.dead_letter


@given(moments(), st.sampled_from((*OUTCOMES, DEAD)), st.sampled_from((-1, 1)))
def test_a_count_that_is_off_by_one_is_found(moment: tuple[Books, Extent], outcome: tuple[str, str], by: int) -> None:
    books, extent = moment
    counts = Counter(books.outcomes)
    counts[outcome] += by

    status = status_of(replace(books, outcomes=counts), extent)

    assert not status.balanced
    assert status.problems


@given(moments(), st.data())
def test_an_acknowledgement_that_is_not_counted_is_found(moment: tuple[Books, Extent], data: st.DataObject) -> None:
    books, extent = moment
    if not extent.pending_acks:
        return
    lost = data.draw(st.sampled_from(sorted(extent.pending_acks)))

    assert not status_of(books, replace(extent, pending_acks=Counter(extent.pending_acks) - Counter([lost]))).balanced


@pytest.mark.parametrize(
    ("books", "extent"),
    [
        (replace(EMPTY_BOOKS, positions={0: 3}), NO_LOG),
        (replace(EMPTY_BOOKS, positions={2: 1}), Extent(begins={0: 0}, ends={0: 0}, pending_acks={})),
        (replace(EMPTY_BOOKS, open_letters=1), NO_LOG),
        (replace(EMPTY_BOOKS, acks={"AA": -1}), NO_LOG),
        (replace(EMPTY_BOOKS, outcomes={("effect", ""): 1, ("effect", "odd"): -1}), NO_LOG),
        (replace(EMPTY_BOOKS, outcomes={("joined", ""): 1}), NO_LOG),
    ],
)
def test_what_cannot_be_is_found(books: Books, extent: Extent) -> None:
    assert not status_of(books, extent).balanced


def test_nothing_at_all_balances() -> None:
    status = status_of(EMPTY_BOOKS, NO_LOG)

    assert status.balanced
    assert (status.received, status.pending, status.tasks) == (0, 0, {})


def test_tasks_are_counted_by_kind_and_status() -> None:
    tasks = {("visit", "requested"): 2, ("contact", "completed"): 1, ("contact", "requested"): 3}

    found = status_of(replace(EMPTY_BOOKS, tasks=tasks), NO_LOG).tasks

    assert found == {"contact": {"completed": 1, "requested": 3}, "visit": {"requested": 2}}
