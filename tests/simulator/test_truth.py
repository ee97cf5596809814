"""What the simulator expects, held against a table that a nurse can read and against what was really sent."""

import csv
import io
from collections import defaultdict
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from services.simulator.hospitals import ALL, PRAIRIE, UNLISTED
from services.simulator.stories.catalog import STORIES
from services.simulator.streams import SimulatedMessage
from services.simulator.truth import KINDS, ExpectedTask
from tests.simulator.simulations import NOW, SEEDS, field, once_each, read, simulation

CALL = {("requested", "routine")}
HURRY = {("requested", "urgent")}
WAIT = {("on-hold", "routine")}
NOBODY: set[tuple[str, str]] = set()

OUTCOMES = {
    # ordinary
    "home": CALL,
    "home-long-paperwork": CALL,
    "planned-admission": CALL,
    "planned-only": NOBODY,
    "still-in": NOBODY,
    "emergency-only": NOBODY,
    "emergency-to-inpatient": CALL,
    "emergency-to-observation": CALL,
    "observation-and-inpatient": CALL,
    "became-outpatient": NOBODY,
    "clinic-visit": NOBODY,
    "transfer-canceled": CALL,
    # where to
    "custodial": CALL,
    "against-advice": HURRY,
    "transferred": WAIT,
    "transferred-and-lost": CALL,
    "post-acute": WAIT,
    "post-acute-long-ago": CALL,
    "died": NOBODY,
    "died-in-hospice": NOBODY,
    "hospice-home": NOBODY,
    "hospice-facility": NOBODY,
    "still-a-patient": NOBODY,
    "died-after-discharge": NOBODY,
    "court": NOBODY,
    "interim-bill": CALL,
    "unknown-destination": CALL,
    "admitted-here": NOBODY,
    # taken back
    "discharge-canceled": NOBODY,
    "discharge-emptied": NOBODY,
    "discharged-again": CALL,
    "cancel-was-wrong": CALL,
    "death-canceled": CALL,
    "admission-canceled": NOBODY,
    "visit-canceled-after-discharge": NOBODY,
    "admitted-again": CALL,
    # corrected
    "time-corrected": CALL,
    "admission-time-corrected": CALL,
    "class-to-observation": CALL,
    "class-to-outpatient": NOBODY,
    "class-learned": CALL,
    "home-was-death": NOBODY,
    "home-was-hospice": NOBODY,
    "home-was-skilled-nursing": WAIT,
    "left-against-advice-after-all": HURRY,
    "destination-told-later": CALL,
    "death-was-home": CALL,
    "skilled-nursing-was-home": CALL,
    # when
    "update-only": CALL,
    "expected-only": NOBODY,
    "expected-then-left": CALL,
    "not-yet": NOBODY,
    "far-ahead": NOBODY,
    "window-closed": NOBODY,
    "admission-told-late": CALL,
    "day-only": CALL,
    "discharge-only": CALL,
    "time-from-event": CALL,
    # who
    "stranger": NOBODY,
    "twin-off-the-panel": NOBODY,
    "twins": CALL,
    "namesake": NOBODY,
    "parent": NOBODY,
    "double": NOBODY,
    "placeholders": NOBODY,
    "number-of-another": NOBODY,
    "chart-of-a-relative": NOBODY,
    "same-number-elsewhere": NOBODY,
    "left-the-panel": NOBODY,
    "member-for-now": CALL,
    # for us at all
    "test-patient": NOBODY,
    "initial-load": NOBODY,
    "initial-load-then-live": CALL,
    "unmapped-class": NOBODY,
    "unknown-sender": NOBODY,
    "other-types": NOBODY,
    "person-messages": NOBODY,
    "records-merged": NOBODY,
    "home-and-record-changed": CALL,
}
ASKS = {"court", "admitted-here", "far-ahead", "number-of-another", "chart-of-a-relative", "unmapped-class"}
MAY_ASK = {"twin-off-the-panel", "namesake", "parent", "double", "placeholders"}


def test_the_table_has_every_story() -> None:
    assert set(OUTCOMES) == {story.name for story in STORIES}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_story_comes_to_what_the_table_says(seed: int) -> None:
    told = simulation(seed)
    tasks = defaultdict(list)
    for task in told.expected:
        tasks[task.patient_id].append(task)
    for note in told.notes:
        own = tasks.get(note.patient_id or "", [])
        assert {(task.status, task.priority) for task in own} == OUTCOMES[note.story], note
        assert sorted(task.kind for task in own) == (sorted(KINDS) if OUTCOMES[note.story] else [])
        assert all(task.story == note.story for task in own)
        assert note.why


@pytest.mark.parametrize("seed", SEEDS)
def test_questions_are_asked_where_the_story_leaves_one(seed: int) -> None:
    reviews = simulation(seed).expected_reviews
    assert {review.story for review in reviews if review.certain} == ASKS
    assert {review.story for review in reviews if not review.certain} == MAY_ASK


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_expected_to_be_called_who_is_not_on_the_panel(seed: int) -> None:
    told = simulation(seed)
    panel = {row["patient_id"] for row in csv.DictReader(io.StringIO(told.panel_csv))}
    assert {task.patient_id for task in told.expected} <= panel


ZONES = {site.code: ZoneInfo(site.zone) for hospital in ALL for site in hospital.sites}


def discharge_days(message: SimulatedMessage) -> set[date]:
    """Return the days that a message says the person left on: PV1-45, else EVN-6, else EVN-2."""
    parsed = read(message)
    if field(parsed, "EVN", 1) not in {"A03", "A08"}:
        return set()
    texts = [field(parsed, "PV1", 45)]
    if field(parsed, "EVN", 1) == "A03" and not texts[0]:
        texts = [field(parsed, "EVN", 6) or field(parsed, "EVN", 2)]
    return {local_day(text, message) for text in texts if text[:1].isdigit()}


def local_day(text: str, message: SimulatedMessage) -> date:
    """Return the date, at the message's site, of a time that may have a UTC offset."""
    if "+" not in text and "-" not in text:
        return date.fromisoformat(text[:8])
    site = field(read(message), "PV1", 3).split("^")[3]
    return datetime.strptime(text, "%Y%m%d%H%M%S%z").astimezone(ZONES[site]).date()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_expected_discharge_was_stated_by_that_hospital_of_that_person(seed: int) -> None:
    told = simulation(seed)
    sites = {hospital.feed: {site.code for site in hospital.sites} for hospital in ALL}
    key_of = {note.patient_id: note.patient_key for note in told.notes}
    messages = defaultdict(list)
    for message in once_each(told):
        messages[message.patient_key].append(message)
    for task in told.expected:
        own = messages[key_of[task.patient_id]]
        assert all(task.facility_code in sites[message.feed] for message in own)
        assert task.discharged_on in set().union(*map(discharge_days, own)), task


def ages_days(tasks: list[ExpectedTask]) -> list[int]:
    return [(NOW.date() - task.discharged_on).days for task in tasks]


def test_outcomes_that_depend_on_time_keep_away_from_its_edges() -> None:
    tasks = [task for seed in SEEDS for task in simulation(seed).expected]
    assert max(ages_days(tasks)) < 29
    by_story = defaultdict(list)
    for task in tasks:
        by_story[task.story].append(task)
    assert max(ages_days(by_story["post-acute"])) <= 13
    assert max(ages_days(by_story["home-was-skilled-nursing"])) <= 13
    assert min(ages_days(by_story["post-acute-long-ago"])) >= 15
    assert max(ages_days(by_story["transferred"])) <= 1
    assert min(ages_days(by_story["transferred-and-lost"])) >= 1


def test_discharges_in_different_stories_are_spread_over_the_service_period() -> None:
    days = {age for seed in SEEDS for age in ages_days(list(simulation(seed).expected))}
    assert days >= set(range(1, 27))


def test_some_days_at_the_site_are_other_days_in_utc_and_in_the_feeds_zone() -> None:
    """Else nobody would notice a date taken in the wrong zone."""
    texts = [
        (field(read(message), "PV1", 45), local_day(field(read(message), "PV1", 45), message))
        for seed in SEEDS
        for message in once_each(simulation(seed))
        if message.feed == PRAIRIE.feed and "+0000" in field(read(message), "PV1", 45)
    ]
    assert any(date.fromisoformat(text[:8]) != day for text, day in texts)
    assert any(date.fromisoformat(text[:8]) == day for text, day in texts)


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_letters_are_the_frames_of_the_unlisted_sender(seed: int) -> None:
    told = simulation(seed)
    unlisted = [message for message in once_each(told) if message.feed == UNLISTED.feed]
    assert told.expected_dead_letters == len(unlisted) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_stated_order_of_a_stay_tells_its_story_alone(seed: int) -> None:
    """The last statement of a discharged stay that has a time is the one that counts; a sanity check of the scripts."""
    told = simulation(seed)
    tasks = {task.patient_id: task for task in told.expected}
    by_key = {note.patient_key: tasks[note.patient_id] for note in told.notes if note.patient_id in tasks}
    last: dict[str, tuple[str, set[date]]] = {}
    for message in once_each(told):
        days = discharge_days(message)
        sent = field(read(message), "MSH", 7)[:14]
        if message.patient_key in by_key and days and sent > last.get(message.patient_key, ("", set()))[0]:
            last[message.patient_key] = (sent, days)
    for key, (_, days) in last.items():
        assert by_key[key].discharged_on in days, by_key[key]
