"""Replay: what reads otherwise now is rebuilt, what people did stays, and twice changes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from schemas.events import AdtEvent, Coded
from schemas.topics import ADT_EVENTS
from services.followup.store import tables
from services.followup.usecases import replay_window
from services.followup.usecases.replay_range import Range
from services.ingest.feeds import Feeds
from services.ingest.normalize import NORMALIZER
from services.runtime.errors import Permanent
from tests.followup.conftest import DATABASES
from tests.support.adt import adt
from tests.support.household import FEEDS, MERCY, Household, local
from tests.support.replays import HouseholdReader, everything, replay

NOW = local("2026-11-19 12:00")
ADMIT = adt("A01", sent="20261116080500", control_id="M1", admitted="202611160800")
DISCHARGE = adt(
    "A03", sent="20261118140500", control_id="M2", admitted="202611160800", discharged="202611181400", disposition="HSP"
)
"""Its disposition is no word of the table, until the feed maps it."""


def mapped(code: str) -> Feeds:
    """Return the feeds with the disposition HSP mapped."""
    return Feeds((replace(MERCY, dispositions={"HSP": code}),))


@pytest.fixture(params=DATABASES)
def household(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Household]:
    url = None if request.param == "sqlite" else request.getfixturevalue("empty_postgres")
    made = Household(tmp_path, now=NOW, url=url)
    yield made
    made.close()


def received(*messages: bytes, at: datetime = NOW) -> list[tuple[bytes, datetime]]:
    return [(raw, at) for raw in messages]


def rows_of(household: Household, statement: sa.Select[tuple[object, ...]]) -> list[tuple[object, ...]]:
    with household.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def test_with_unchanged_rules_nothing_is_written(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE, DISCHARGE))
    household.work_everything_open()
    before = everything(household)

    report = replay(household)

    assert (report.read, report.changed, report.people, report.finished) == (3, 0, 0, True)
    assert everything(household) == before


def test_a_word_that_is_mapped_now_changes_the_stay_and_its_tasks(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    assert len(household.open_tasks()) == 2
    household.feeds = mapped("50")  # hospice: no follow-up

    report = replay(household)

    assert (report.changed, report.people, len(report.stays)) == (1, 1, 1)
    assert report.fields == {"visit.disposition.code": 1, "findings": 1}
    assert {(one.task, one.change) for one in report.tasks} == {("contact", "withdrawn"), ("visit", "withdrawn")}
    assert household.open_tasks() == []
    assert household.books() == {("effect", ""): 2}


def test_the_second_time_changes_nothing(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.feeds = mapped("50")
    replay(household)
    before = everything(household)

    report = replay(household)

    assert (report.changed, report.people, report.stays) == (0, 0, set())
    assert everything(household) == before


def test_a_rehearsal_says_the_same_and_writes_nothing(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.work_everything_open()
    before = everything(household)
    household.feeds = mapped("50")

    rehearsed = replay(household, dry_run=True)

    assert everything(household) == before
    assert rehearsed == replay(household)


def test_a_map_that_is_taken_back_brings_back_the_very_tasks_with_what_people_did(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.work_everything_open()
    before = {(row.id, row.owner, row.attempt_count, row.status) for row in household.open_tasks()}
    household.feeds = mapped("50")
    replay(household)
    assert household.open_tasks() == []
    household.feeds = FEEDS

    report = replay(household)

    assert report.fields == {"(reading in force unknown)": 1}
    assert {(row.id, row.owner, row.attempt_count, row.status) for row in household.open_tasks()} == before
    assert household.attempts() == 2


def test_a_stay_that_no_message_tells_of_any_more_is_kept_untold_and_comes_back(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.work_everything_open()
    standing, tasks = household.standing(), {row.id for row in household.open_tasks()}
    household.feeds = Feeds()

    report = replay(household)

    assert (report.buried, household.open_tasks(), household.stays()) == (2, [], [])
    assert household.books() == {("dead_letter", "feed-unknown"): 2}
    assert [letter.resolved_at for letter in household.letters()] == [None, None]
    reasons = rows_of(household, sa.select(tables.stay.c.follow_up_reason))
    assert reasons == [("untold",)]
    household.feeds = FEEDS
    report = replay(household)
    assert report.revived == 2
    assert household.standing() == standing
    assert {row.id for row in household.open_tasks()} == tasks
    assert household.books() == {("effect", ""): 2}
    assert all(letter.resolution == "replayed" for letter in household.letters())


def test_another_source_patient_keeps_the_row_and_what_people_did(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.work_everything_open()
    rows = rows_of(household, sa.select(tables.stay.c.id))
    tasks = {(row.id, row.owner) for row in household.open_tasks()}

    def renumber(event: AdtEvent) -> AdtEvent:
        numbers = tuple(msgspec.structs.replace(one, authority="MERCY2") for one in event.patient.identifiers)
        return msgspec.structs.replace(event, patient=msgspec.structs.replace(event.patient, identifiers=numbers))

    reader = HouseholdReader(household, change=renumber)
    replay(household, reader=reader)

    assert rows_of(household, sa.select(tables.stay.c.id)) == rows
    keys = rows_of(
        household,
        sa.select(tables.source_patient.c.key).join(
            tables.fragment, tables.fragment.c.source_patient_id == tables.source_patient.c.id
        ).distinct(),
    )  # fmt: skip
    assert keys == [("MERCY2|record|1001",)]
    assert household.attempts() == 2
    before = everything(household)
    replay(household, reader=reader)
    assert everything(household) == before
    assert {(row.id, row.owner) for row in household.open_tasks()} <= tasks


def test_messages_outside_the_range_are_rebuilt_with_those_of_the_same_people(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))

    def expect(event: AdtEvent) -> AdtEvent:
        visit = msgspec.structs.replace(event.visit, class_=Coded(raw="I", code="EMER"))
        return msgspec.structs.replace(event, visit=visit)

    report = replay(household, Range(places={0: 1}), reader=HouseholdReader(household, change=expect))

    assert (report.read, report.people) == (1, 1)
    readings = rows_of(household, sa.select(tables.event.c.reading))
    assert all(reading is not None for (reading,) in readings)
    ((view, *_),) = household.stays()
    assert view.class_code == "EMER"


def test_a_higher_revision_with_the_same_readings_only_says_so(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    standing, history = household.standing(), household.history_length()

    report = replay(household, reader=HouseholdReader(household, revision=NORMALIZER + 1))

    assert report.changed == 0
    assert (household.standing(), household.history_length()) == (standing, history)
    assert set(rows_of(household, sa.select(tables.event.c.normalizer))) == {(NORMALIZER + 1,)}


def test_rules_older_than_those_in_force_are_refused(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    replay(household, reader=HouseholdReader(household, revision=NORMALIZER + 1))
    with pytest.raises(Permanent) as refused:
        replay(household)
    assert refused.value.code == "normalizer-outdated"


def test_a_message_that_comes_again_read_by_newer_rules_awaits_a_replay(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    before = household.standing()

    def hospice(event: AdtEvent) -> AdtEvent:
        visit = msgspec.structs.replace(event.visit, disposition=Coded(raw="HSP", code="50"))
        return msgspec.structs.replace(event, visit=visit) if event.trigger == "A03" else event

    newer = HouseholdReader(household, revision=NORMALIZER + 1, change=hospice)
    again = household.records(received(DISCHARGE, DISCHARGE))
    read_newer = [msgspec.structs.replace(record, value=msgspec.json.encode(newer.read(record))) for record in again]
    household.apply.handle(ADT_EVENTS, read_newer)

    assert household.books() == {("effect", ""): 2, ("no_effect", "awaits-replay"): 2}
    assert household.standing() == before

    assert replay(household, None, reader=newer).people == 1

    assert household.books() == {("effect", ""): 2, ("no_effect", "duplicate"): 2}
    assert household.open_tasks() == []
    assert replay(household, None, reader=newer).read == 0


def test_a_range_that_holds_a_message_that_came_again_takes_it_up(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    newer = HouseholdReader(household, revision=NORMALIZER + 1)
    again = [
        msgspec.structs.replace(one, value=msgspec.json.encode(newer.read(one)))
        for one in household.records(received(DISCHARGE))
    ]
    household.apply.handle(ADT_EVENTS, again)
    standing = household.standing()

    replay(household, Range(places={0: 2}), reader=newer)

    assert household.books() == {("effect", ""): 2, ("no_effect", "duplicate"): 1}
    assert household.standing() == standing


def test_the_earlier_receipt_of_a_duplicate_outlives_a_rebuild(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.tell(received(DISCHARGE, at=NOW - timedelta(hours=5)))
    household.feeds = mapped("01")

    assert replay(household).changed == 1

    ((view, *_),) = household.stays()
    assert (view.learned_at, view.disposition_code) == (NOW - timedelta(hours=5), "01")


def test_a_stay_whose_records_are_gone_is_kept_as_it_is(household: Household) -> None:
    later = adt("A08", sent="20261118150500", control_id="M3", admitted="202611160800", discharged="202611181400")
    household.tell(received(ADMIT, DISCHARGE, later))
    standing = household.standing()
    household.log.cut(0, 1)
    household.feeds = mapped("50")

    report = replay(household)

    assert (report.read, report.changed, report.kept) == (2, 1, 3)
    assert household.standing() == standing
    before = everything(household)
    replay(household)
    assert everything(household) == before


def test_another_stay_of_a_person_is_rebuilt_though_one_is_kept(household: Household) -> None:
    first = adt("A03", sent="20261001140500", control_id="M0", number="V1", discharged="202610011400")
    household.tell(received(first, ADMIT, DISCHARGE))
    household.log.cut(0, 1)
    household.feeds = mapped("50")

    report = replay(household)

    assert (report.changed, report.kept) == (1, 1)
    assert len(household.stays()) == 2
    assert household.open_tasks() == []


def test_a_sender_that_is_named_now_takes_effect_and_its_letters_close(household: Household) -> None:
    household.reset(NOW, feeds=Feeds())
    household.tell(received(ADMIT, DISCHARGE, DISCHARGE))
    household.feeds = FEEDS

    report = replay(household)

    assert (report.changed, report.revived) == (2, 2)
    assert household.books() == {("effect", ""): 2, ("no_effect", "duplicate"): 1}
    assert len(household.open_tasks()) == 2
    assert all(letter.resolution == "replayed" for letter in household.letters())
    before = everything(household)
    assert replay(household).changed == 0
    assert everything(household) == before


def test_a_letter_that_stays_dead_for_another_reason_says_so(household: Household) -> None:
    nobody = adt("A03", sent="20261118140500", control_id="M3", mrn="", name="", birth_date="")
    household.reset(NOW, feeds=Feeds())
    household.tell(received(nobody))
    household.feeds = FEEDS

    report = replay(household)

    assert (report.revived, report.buried) == (0, 0)
    assert household.books() == {("dead_letter", "patient-not-identified"): 1}
    ((letter),) = household.letters()
    assert (letter.reason, letter.resolved_at) == ("patient-not-identified", None)


def test_a_record_without_an_event_takes_effect_from_its_bytes(household: Household) -> None:
    whole = household.records(received(ADMIT, DISCHARGE))
    household.apply.handle(ADT_EVENTS, [whole[0], msgspec.structs.replace(whole[1], value=b"{")])
    assert household.books() == {("effect", ""): 1, ("dead_letter", "event-undecodable"): 1}

    rehearsed = replay(household, dry_run=True)
    report = replay(household)

    assert (report.revived, rehearsed.revived) == (1, 1)
    assert household.books() == {("effect", ""): 2}
    assert len(household.open_tasks()) == 2
    before = everything(household)
    assert replay(household).revived == 0
    assert everything(household) == before


def test_only_messages_of_a_feed(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.feeds = mapped("50")
    assert replay(household, feed="other").read == 0
    assert replay(household, feed="mercy").changed == 1


def test_what_is_not_consumed_yet_is_left_to_the_consumer(household: Household) -> None:
    household.tell(received(ADMIT))
    household.records(received(DISCHARGE))
    assert replay(household).read == 1
    assert household.books() == {("effect", ""): 1}


def test_a_damaged_record_is_counted_and_passed(household: Household) -> None:
    household.tell(received(ADMIT, DISCHARGE))
    household.log.records[0][0] = msgspec.structs.replace(
        household.log.records[0][0], damaged=True, value=b"", headers=()
    )
    report = replay(household)
    assert (report.read, report.unreadable) == (1, 1)


def test_people_with_too_many_messages_are_left_alone_and_counted(
    household: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_window, "MESSAGES_MAX", 1)
    household.tell(received(ADMIT, DISCHARGE))
    before = everything(household)
    household.feeds = mapped("50")
    report = replay(household)
    assert (report.left, report.changed) == (1, 0)
    assert everything(household) == before
