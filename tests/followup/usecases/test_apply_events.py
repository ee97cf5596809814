"""The consumer's use case: exactly-once effect, balanced books, dead letters, timers and panel loads."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from schemas.events import AdtEvent
from schemas.topics import ADT_EVENTS
from services.followup.usecases.ports import DeadLetter
from services.followup.usecases.sorting import Unusable
from services.ingest.feeds import Feeds
from services.runtime.eventlog.port import Record
from tests.followup.conftest import DATABASES
from tests.support.adt import adt
from tests.support.household import FEEDS, PANEL, Household, local

NOW = local("2026-11-19 12:00")
ADMIT = adt("A01", sent="20261116080500", control_id="M1", admitted="202611160800")
DISCHARGE = adt(
    "A03", sent="20261118140500", control_id="M2", admitted="202611160800", discharged="202611181400", disposition="01"
)


@pytest.fixture(params=DATABASES)
def household(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Household]:
    url = request.getfixturevalue("empty_postgres") if request.param == "postgresql" else None
    made = Household(tmp_path, now=NOW, url=url)
    yield made
    made.close()


def received(*messages: bytes, at: datetime = NOW) -> list[tuple[bytes, datetime]]:
    return [(raw, at) for raw in messages]


def read_anew(household: Household, *messages: bytes) -> list[tuple[DeadLetter, AdtEvent, str]]:
    """Return the dead letters with the events of the messages they are about."""
    kept = [
        DeadLetter(
            topic=one.topic,
            partition=one.partition,
            offset=one.offset,
            event_id=one.event_id,
            reason=one.reason,
            text=one.text,
            at=one.at,
        )
        for one in household.letters()
    ]
    events = [household.event_of(raw, NOW) for raw in messages]
    return [(letter, event, "AA") for letter, event in zip(kept, events, strict=True)]


def test_a_batch_that_is_delivered_again_changes_nothing(household: Household) -> None:
    records = household.records(received(ADMIT, DISCHARGE))
    assert household.apply.handle(ADT_EVENTS, records) == 2
    standing, books = household.standing(), household.books()
    assert household.apply.handle(ADT_EVENTS, records) == 0
    assert (household.standing(), household.books()) == (standing, books)


def test_a_batch_that_overlaps_what_was_applied_applies_the_rest(household: Household) -> None:
    records = household.records(received(ADMIT, DISCHARGE))
    household.apply.handle(ADT_EVENTS, records[:1])
    assert household.apply.handle(ADT_EVENTS, records) == 1
    assert household.books() == {("effect", ""): 2}


def test_the_same_bytes_again_are_a_duplicate_also_within_a_batch(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE, DISCHARGE))
    household.tell(received(DISCHARGE))
    assert household.books() == {("effect", ""): 2, ("no_effect", "duplicate"): 2}
    assert len(household.open_tasks()) == 2


def test_a_reused_control_id_with_another_body_is_another_event(household: Household) -> None:
    other = DISCHARGE.replace(b"202611181400", b"202611181500")
    household.tell(received(ADMIT, DISCHARGE, other))
    assert household.books() == {("effect", ""): 3}


def test_a_duplicate_that_was_received_earlier_is_learned_earlier(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE, at=NOW))
    household.tell(received(DISCHARGE, at=NOW - timedelta(hours=5)))
    ((view, *_),) = household.stays()
    assert view.learned_at == NOW - timedelta(hours=5)


def test_what_cannot_be_read_or_used_is_a_dead_letter_that_says_what_to_do(household: Household) -> None:
    nobody = adt("A03", sent="20261118140500", control_id="M3", mrn="", name="", birth_date="")
    damaged = Record(
        topic=ADT_EVENTS, partition=0, offset=90, key=b"", value=b"", headers=(), timestamp_us=0, damaged=True
    )
    garbage = Record(topic=ADT_EVENTS, partition=0, offset=91, key=b"", value=b"{", headers=(), timestamp_us=0)
    household.tell(received(nobody))
    household.apply.handle(ADT_EVENTS, [damaged, garbage])
    assert household.books() == {
        ("dead_letter", "patient-not-identified"): 1,
        ("dead_letter", "record-damaged"): 1,
        ("dead_letter", "event-undecodable"): 1,
    }
    assert all(len(letter.text) > 20 for letter in household.letters())


def test_a_sender_that_no_feed_names_is_parked_and_takes_effect_when_sent_again(household: Household) -> None:
    household.reset(NOW, feeds=Feeds())
    household.tell(received(ADMIT, DISCHARGE))
    assert household.books() == {("dead_letter", "feed-unknown"): 2}
    household.feeds = FEEDS
    household.tell(received(ADMIT, DISCHARGE))
    assert household.books() == {("effect", ""): 2, ("no_effect", "superseded"): 2}
    assert len(household.open_tasks()) == 2
    assert all(letter.resolved_at for letter in household.letters())


def test_a_sender_named_within_one_backlog_takes_effect_too(household: Household) -> None:
    household.reset(NOW, feeds=Feeds())
    parked = household.records(received(ADMIT, DISCHARGE))
    household.feeds = FEEDS
    household.apply.handle(ADT_EVENTS, [*parked, *household.records(received(ADMIT, DISCHARGE))])
    assert household.books() == {("effect", ""): 2, ("no_effect", "superseded"): 2}
    assert all(letter.resolved_at for letter in household.letters())


def test_a_dead_letter_takes_effect_when_it_is_replayed_and_once_only(household: Household) -> None:
    household.reset(NOW, feeds=Feeds())
    household.tell(received(ADMIT, DISCHARGE))
    household.feeds = FEEDS
    replacements = read_anew(household, ADMIT, DISCHARGE)
    assert household.apply.replay(replacements) == 2
    assert household.apply.replay(replacements) == 0
    assert household.books() == {("effect", ""): 2}
    assert len(household.open_tasks()) == 2


def test_a_hold_ends_by_itself_when_its_time_has_come(household: Household) -> None:
    transferred = DISCHARGE.replace(b"|01|", b"|02|")
    household.reset(local("2026-11-18 20:00"))
    household.tell(received(ADMIT, transferred, at=local("2026-11-18 14:06")))
    assert {row.status for row in household.open_tasks()} == {"on-hold"}
    assert household.apply.wake() == 0
    household.clock.jump(timedelta(hours=18, minutes=1))
    assert household.apply.wake() == 1
    assert {row.status for row in household.open_tasks()} == {"requested"}
    assert {str(row.due_on) for row in household.open_tasks()} == {"2026-11-20", "2026-11-25"}


def test_a_discharge_a_little_ahead_becomes_a_task_when_its_time_comes(household: Household) -> None:
    household.reset(local("2026-11-18 10:10"))
    household.tell(received(ADMIT, DISCHARGE, at=local("2026-11-18 10:10")))
    assert [reason for _, _, reason in household.stays()] == ["not-yet"]
    household.clock.jump(timedelta(hours=4))
    assert household.apply.wake() == 1
    assert len(household.open_tasks()) == 2


def test_a_panel_loaded_after_the_messages_has_the_same_effect(household: Household) -> None:
    empty = PANEL.splitlines()[0] + "\nP9,Other,Olga,1980-01-01,,,,\n"
    household.reset(NOW, panel_csv=empty)
    household.tell(received(ADMIT, DISCHARGE))
    assert household.books() == {("no_effect", "not-on-panel"): 2}
    household.load_panel(PANEL)
    assert household.apply.wake() > 0
    assert len(household.open_tasks()) == 2
    assert household.books() == {("effect", ""): 2}


def test_who_was_not_on_the_panel_on_the_day_of_discharge_is_not_called(household: Household) -> None:
    header, row = PANEL.splitlines()
    household.reset(NOW, panel_csv=f"{header},effective_to\n{row},2026-11-17\n")
    household.tell(received(ADMIT, DISCHARGE))
    assert [reason for _, _, reason in household.stays()] == ["not-a-member"]
    assert not household.open_tasks()


def test_a_record_buried_by_our_own_bug_takes_effect_when_replayed(household: Household) -> None:
    why = Unusable(reason="apply-failed", text="applying it failed: report this, mend, then replay")
    (admit, discharge) = household.records(received(ADMIT, DISCHARGE))
    household.apply.bury(admit, why)
    household.apply.handle(ADT_EVENTS, [discharge])
    assert household.books() == {("dead_letter", "apply-failed"): 1, ("effect", ""): 1}
    assert household.apply.replay(read_anew(household, ADMIT)) == 1
    assert household.books() == {("effect", ""): 2}


def test_a_dead_letter_whose_message_was_sent_again_is_closed_without_a_second_effect(household: Household) -> None:
    why = Unusable(reason="apply-failed", text="applying it failed: report this, mend, then replay")
    household.apply.bury(household.records(received(ADMIT))[0], why)
    household.tell(received(ADMIT, DISCHARGE))
    assert household.apply.replay(read_anew(household, ADMIT)) == 1
    assert household.books() == {("effect", ""): 2, ("no_effect", "superseded"): 1}
