"""The same seed tells the same stories; every story is told, and told unambiguously."""

import csv
import io
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from services.simulator.hospitals import ALL, LISTED, UNLISTED
from services.simulator.simulation import DEFAULT_PATIENTS, generate
from services.simulator.stories.catalog import STORIES
from services.simulator.streams import SimulatedMessage
from tests.simulator.simulations import NOW, SEEDS, field, once_each, read, simulation

ZONES = {hospital.feed: ZoneInfo(hospital.zone) for hospital in ALL}


def sent_at(message: SimulatedMessage) -> datetime:
    text = message.payload.split(b"|", 7)[6].decode()
    if len(text) > 14:
        return datetime.strptime(text, "%Y%m%d%H%M%S%z")
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=ZONES[message.feed])


def test_the_same_seed_and_moment_give_the_same_simulation() -> None:
    assert generate(7, now=NOW) == generate(7, now=NOW)
    assert generate(7, now=NOW).messages != generate(8, now=NOW).messages
    assert generate(7, now=NOW).messages != generate(7, now=NOW + timedelta(hours=1)).messages


def test_another_process_tells_the_same_stories() -> None:
    program = (
        "import hashlib; from tests.simulator.simulations import simulation;"
        "print(hashlib.sha256(repr(simulation(3)).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_every_story_is_told(seed: int) -> None:
    told = simulation(seed)
    assert {note.story for note in told.notes} == {story.name for story in STORIES}
    assert len(told.notes) == DEFAULT_PATIENTS
    assert 400 <= len(told.messages) <= 900


def test_names_of_stories_are_unique() -> None:
    assert len({story.name for story in STORIES}) == len(STORIES)


@pytest.mark.parametrize("patients", [1, 2, 5, len(STORIES), 400])
def test_a_simulation_has_as_many_people_with_a_story_as_asked_for(patients: int) -> None:
    told = generate(1, now=NOW, patients=patients)
    assert len(told.notes) == patients
    assert len({note.patient_key for note in told.notes}) == patients
    assert told.notes[0].story == "home"


def test_a_simulation_of_nobody_or_at_no_certain_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        generate(1, now=NOW, patients=0)
    with pytest.raises(ValueError, match="time zone"):
        generate(1, now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize("seed", SEEDS)
def test_within_a_feed_no_two_statements_are_made_in_the_same_second(seed: int) -> None:
    by_feed = defaultdict(list)
    for message in once_each(simulation(seed)):
        by_feed[message.feed].append(field(read(message), "MSH", 7))
    assert all(len(set(times)) == len(times) for times in by_feed.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_statements_of_one_person_are_more_than_a_minute_apart_and_none_is_in_the_future(seed: int) -> None:
    by_person = defaultdict(list)
    for message in once_each(simulation(seed)):
        by_person[message.patient_key].append(sent_at(message))
    for times in by_person.values():
        ordered = sorted(times)
        assert ordered[-1] <= NOW
        assert all(later - earlier > timedelta(minutes=1) for earlier, later in pairwise(ordered))


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 1, 4, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 7, 59, 59, tzinfo=UTC),
        datetime(2026, 11, 20, tzinfo=UTC),
        datetime(2027, 3, 14, 9, tzinfo=UTC),
        datetime(2027, 3, 31, 23, 59, tzinfo=UTC),
        datetime(2028, 2, 29, 12, tzinfo=UTC),
        datetime(2026, 7, 4, 12, tzinfo=ZoneInfo("Asia/Tokyo")),
    ],
)
def test_stories_can_be_told_at_any_moment(now: datetime) -> None:
    for seed in range(2):
        told = generate(seed, now=now)
        latest = max(sent_at(message) for message in told.messages)
        assert latest <= now


@pytest.mark.parametrize("seed", SEEDS)
def test_messages_arrive_late_repeated_and_under_reused_control_ids(seed: int) -> None:
    messages = simulation(seed).messages
    bodies = defaultdict(set)
    for message in messages:
        bodies[message.feed, message.control_id].add(message.payload)
    assert any(len(payloads) > 1 for payloads in bodies.values())
    assert any(message.copy for message in messages)
    firsts = [sent_at(message) for message in once_each(simulation(seed))]
    assert firsts != sorted(firsts)


def test_some_discharges_arrive_before_their_admission() -> None:
    before = 0
    for seed in SEEDS:
        admitted: set[str] = set()
        for message in once_each(simulation(seed)):
            trigger = field(read(message), "MSH", 9).split("^")[1]
            before += trigger == "A03" and message.story == "home" and message.patient_key not in admitted
            if trigger == "A01":
                admitted.add(message.patient_key)
    assert before > 5


def test_the_feeds_file_names_every_sender_but_the_unlisted_one_and_every_word_they_use() -> None:
    feeds = {entry["name"]: entry for entry in yaml.safe_load(simulation(1).feeds_yaml)["feeds"]}
    assert set(feeds) == {hospital.feed for hospital in LISTED}
    for hospital in LISTED:
        entry = feeds[hospital.feed]
        assert {site.code for site in hospital.sites} == set(entry["facilities"])
        assert {word: code for code, word in hospital.classes.items()} == entry["classes"]
        assert {word: code for code, word in hospital.dispositions.items()} == entry.get("dispositions", {})
    assert UNLISTED.facility not in simulation(1).feeds_yaml


@pytest.mark.parametrize("seed", SEEDS)
def test_the_panel_holds_the_people_of_the_stories_and_people_who_stay_at_home(seed: int) -> None:
    told = simulation(seed)
    rows = list(csv.DictReader(io.StringIO(told.panel_csv)))
    ids = [row["patient_id"] for row in rows]
    assert len(set(ids)) == len(ids)
    assert {note.patient_id for note in told.notes if note.patient_id} < set(ids)
    assert all(row[column] for row in rows for column in ("patient_id", "family", "given", "birth_date"))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_hospital_tells_of_many_people(seed: int) -> None:
    feeds = {note.feed for note in simulation(seed).notes}
    assert feeds == {hospital.feed for hospital in ALL}
    for hospital in LISTED:
        people = {note.patient_key for note in simulation(seed).notes if note.feed == hospital.feed}
        assert len(people) > DEFAULT_PATIENTS / 10
