"""What the handler does with a batch that fails: isolate, bury, hand back what is not the records' fault."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import ADT_EVENTS
from services.followup.consumer.handler import BURIED_IN_A_ROW_MAX, Handler
from services.followup.usecases.apply_events import Applied, Gap
from services.runtime.errors import AfterstayError, Ambiguous, Defect, Transient
from services.runtime.log import get_logger
from tests.support.adt import adt
from tests.support.household import Household, local

NOW = local("2026-11-19 12:00")
ADMIT = adt("A01", sent="20261116080500", control_id="M1", admitted="202611160800")
POISON = adt("A08", sent="20261119080000", control_id="M9", number="poison")
DISCHARGE = adt(
    "A03", sent="20261118140500", control_id="M2", admitted="202611160800", discharged="202611181400", disposition="01"
)


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    made = Household(tmp_path, now=NOW)
    yield made
    made.close()


def handler(household: Household) -> Handler:
    return Handler(household.apply, get_logger("test"))


def break_settling(household: Household, error: Exception, *, on: str = "") -> Callable[[], None]:
    """Let what concerns `on` fail; returns what mends it."""
    follow_up: Any = household.apply._follow_up
    settle = follow_up.settle

    def broken(unit: object, pieces: object, now: datetime) -> object:
        if on in str(pieces):
            raise error
        return settle(unit, pieces, now)

    def mend() -> None:
        follow_up.settle = settle

    follow_up.settle = broken
    return mend


def test_a_batch_is_applied_and_says_what_came_of_it(household: Household) -> None:
    records = household.records([(ADMIT, NOW), (DISCHARGE, NOW), (DISCHARGE, NOW)])
    applied = handler(household).handle(ADT_EVENTS, records, {})
    assert isinstance(applied, Applied)
    assert applied.fresh == 3
    assert dict(applied.outcomes) == {("effect", ""): 2, ("no_effect", "duplicate"): 1}
    assert applied.effects == (("mercy", NOW), ("mercy", NOW))


def test_a_record_that_fails_alone_is_buried_and_the_rest_takes_effect(household: Household) -> None:
    break_settling(household, ZeroDivisionError(), on="poison")
    records = household.records([(ADMIT, NOW), (POISON, NOW), (DISCHARGE, NOW)])
    applied = handler(household).handle(ADT_EVENTS, records, {})
    assert isinstance(applied, Applied)
    assert dict(applied.outcomes) == household.books() == {("effect", ""): 2, ("dead_letter", "apply-failed"): 1}
    assert applied.fresh == 3
    assert len(household.open_tasks()) == 2


@pytest.mark.parametrize(
    "error",
    [
        Transient("database-busy", "another process holds the database"),
        Ambiguous("database-write-unknown", "the connection was lost at the commit"),
    ],
)
def test_what_is_not_the_records_fault_is_handed_back_and_nothing_is_buried(
    household: Household, error: AfterstayError
) -> None:
    mend = break_settling(household, error)
    records = household.records([(ADMIT, NOW), (DISCHARGE, NOW)])
    with pytest.raises(type(error)):
        handler(household).handle(ADT_EVENTS, records, {})
    assert household.books() == {}
    mend()
    handler(household).handle(ADT_EVENTS, records, {})
    assert household.books() == {("effect", ""): 2}


def test_a_commit_whose_answer_was_lost_is_recognized_when_it_is_run_again(household: Household) -> None:
    records = household.records([(ADMIT, NOW), (DISCHARGE, NOW)])
    handler(household).handle(ADT_EVENTS, records, {})
    again = handler(household).handle(ADT_EVENTS, records, {})
    assert again == Applied()
    assert household.books() == {("effect", ""): 2}


def test_records_behind_a_gap_are_not_applied(household: Household) -> None:
    first, second, third = household.records([(ADMIT, NOW), (POISON, NOW), (DISCHARGE, NOW)])
    handler(household).handle(ADT_EVENTS, [first], {})
    assert handler(household).handle(ADT_EVENTS, [third], {}) == Gap(positions={0: 1})
    assert household.books() == {("effect", ""): 1}
    handler(household).handle(ADT_EVENTS, [second, third], {})
    assert household.books() == {("effect", ""): 3}


def test_offsets_that_no_record_has_are_no_gap_when_nothing_was_left_out(household: Household) -> None:
    first, _, third = household.records([(ADMIT, NOW), (POISON, NOW), (DISCHARGE, NOW)])
    handler(household).handle(ADT_EVENTS, [first], {})
    assert isinstance(handler(household).handle(ADT_EVENTS, [third], {0: 1}), Applied)


def test_when_one_record_after_the_other_fails_the_consumer_stops_instead_of_burying_all(household: Household) -> None:
    break_settling(household, ZeroDivisionError())
    told = [
        (adt("A08", sent="20261119080000", control_id=f"M{n}", number=f"V{n}"), NOW)
        for n in range(BURIED_IN_A_ROW_MAX + 5)
    ]
    with pytest.raises(Defect) as caught:
        handler(household).handle(ADT_EVENTS, household.records(told), {})
    assert caught.value.code == "records-all-fail"
    assert household.books() == {("dead_letter", "apply-failed"): BURIED_IN_A_ROW_MAX}
