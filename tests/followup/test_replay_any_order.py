"""P7 of a replay: simulated streams, told in pieces with people's work between, re-applied by other rules.

Goal: after a replay of the whole log the database says what one says that was told the rules of now from the start,
and what people did is still there. Method: the feeds that a simulation needs are the rules of now; before, some of
their words, senders or authorities were unknown or others.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec
import pytest
import sqlalchemy as sa

from schemas.events import AdtEvent, Finding
from services.followup.store import tables
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.feeds_file import read_feeds
from services.ingest.hl7.charset import resolve_charset
from services.simulator.simulation import Simulation, generate
from tests.followup.conftest import DATABASES
from tests.support.household import Household
from tests.support.postgres import PostgresServer
from tests.support.replays import HouseholdReader, everything, replay

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
PATIENTS = 45
DATABASE = "replay_any_order"


@pytest.fixture(scope="module")
def household(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    server: PostgresServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        server.create(DATABASE, request.getfixturevalue("migrated_template"))
    url = None if server is None else server.url(DATABASE)
    made = Household(tmp_path_factory.mktemp("replay"), now=NOW, url=url)
    yield made
    made.close()
    if server is not None:
        server.drop(DATABASE)


def told(simulation: Simulation, seed: int) -> list[tuple[bytes, datetime]]:
    """Return the messages with receipts in order of delivery, one a second; some come twice, out of order."""
    first = NOW - timedelta(seconds=len(simulation.messages))
    messages = [(one.payload, first + timedelta(seconds=at)) for at, one in enumerate(simulation.messages)]
    random = Random(seed)
    again = [(raw, at + timedelta(minutes=random.randint(-9, 9))) for raw, at in random.sample(messages, 20)]
    return [*messages, *random.sample(again, len(again))]


def feeds_of(simulation: Simulation) -> Feeds:
    return read_feeds(
        simulation.feeds_yaml.encode(),
        file=Path("feeds.yaml"),
        is_charset=lambda label: resolve_charset(label) is not None,
    )


def tell(household: Household, messages: list[tuple[bytes, datetime]], seed: int, *, work: bool) -> None:
    """Tell two thirds, have people work, tell the rest; in batches of any size."""
    random = Random(seed)
    cut = len(messages) * 2 // 3
    household.tell(messages[:cut], batch=random.choice([5, 80, 500]))
    if work:
        household.work_everything_open()
    household.tell(messages[cut:], batch=random.choice([5, 80, 500]))


def changed(feeds: Feeds, name: str, change: Callable[[FeedProfile], FeedProfile | None]) -> Feeds:
    """Return the feeds with one of them otherwise, or gone."""
    profiles = (change(one) if one.name == name else one for one in feeds.profiles)
    return Feeds(tuple(one for one in profiles if one is not None))


def other_authority(profile: FeedProfile) -> FeedProfile:
    facilities = {
        code: replace(facility, authority="ELSEWHERE", zone=profile.zone)
        for code, facility in profile.facilities.items()
    }
    return replace(profile, authority="ELSEWHERE", facilities=facilities)


BEFORE: dict[str, Callable[[Feeds], Feeds]] = {
    "a disposition word is mapped": lambda feeds: changed(
        feeds, "lakeside", lambda one: replace(one, dispositions={"HOME": "20"})
    ),
    "a class word is mapped": lambda feeds: changed(feeds, "lakeside", lambda one: replace(one, classes={})),
    "a feed is known": lambda feeds: changed(feeds, "sonora", lambda _: None),
    "an authority and a zone were others": lambda feeds: changed(feeds, "prairie-hie", other_authority),
}
ON_BOTH = ("a feed is known", "an authority and a zone were others")
CASES = [
    *((database, story, 1) for database in DATABASES for story in BEFORE if database == "sqlite" or story in ON_BOTH),
    *(
        pytest.param(database, story, seed, marks=pytest.mark.slow)
        for database in DATABASES
        for story in BEFORE
        for seed in range(2, 12)
    ),
]


def obligations(household: Household) -> list[str]:
    """Return open work without what people did with it."""
    columns = ("kind", "patient_id", "priority", "due_on", "last_on", "due_at", "work_by", "zone", "rule")
    return sorted(str([getattr(row, name) for name in columns]) for row in household.open_tasks())


@pytest.mark.parametrize(("household", "story", "seed"), CASES, indirect=["household"])
def test_a_replay_ends_as_the_rules_of_now_would_have_from_the_start(
    household: Household, story: str, seed: int
) -> None:
    simulation = generate(seed, now=NOW, patients=PATIENTS)
    messages, now = told(simulation, seed), feeds_of(simulation)
    household.reset(NOW, feeds=now, panel_csv=simulation.panel_csv)
    tell(household, messages, seed, work=False)
    expected, books = household.standing(), household.books()
    household.reset(NOW, feeds=BEFORE[story](now))
    tell(household, messages, seed, work=False)
    assert household.standing() != expected
    household.feeds = now

    report = replay(household)

    assert report.changed > 0
    assert household.standing() == expected
    assert household.books() == books
    before = everything(household)
    again = replay(household)
    assert (again.changed, again.people) == (0, 0)
    assert everything(household) == before


@pytest.mark.parametrize(("household", "story", "seed"), CASES, indirect=["household"])
def test_what_people_did_survives_a_replay(household: Household, story: str, seed: int) -> None:
    simulation = generate(seed, now=NOW, patients=PATIENTS)
    messages, now = told(simulation, seed), feeds_of(simulation)
    household.reset(NOW, feeds=now, panel_csv=simulation.panel_csv)
    tell(household, messages, seed, work=False)
    expected = obligations(household)
    household.reset(NOW, feeds=BEFORE[story](now))
    tell(household, messages, seed, work=True)
    worked = attempts_of(household)
    household.feeds = now
    untouched = everything(household)

    rehearsed = replay(household, dry_run=True)

    assert everything(household) == untouched
    assert replay(household).tasks == rehearsed.tasks
    assert obligations(household) == expected
    assert attempts_of(household) == worked
    assert not doubles_of_work(household)


@pytest.mark.parametrize("household", DATABASES, indirect=True)
def test_a_rebuild_of_everybody_leaves_every_row_but_the_marks_as_it_was(household: Household) -> None:
    seed = 1
    simulation = generate(seed, now=NOW, patients=PATIENTS)
    household.reset(NOW, feeds=feeds_of(simulation), panel_csv=simulation.panel_csv)
    tell(household, told(simulation, seed), seed, work=True)
    before = everything(household)

    def note(event: AdtEvent) -> AdtEvent:
        return msgspec.structs.replace(event, findings=(Finding(code="other-rules"),))

    report = replay(household, reader=HouseholdReader(household, change=note))

    assert report.changed > 100
    assert (report.stays, report.tasks) == (set(), set())
    after = everything(household)
    assert after.pop("event") != before.pop("event")
    assert after == before


@pytest.mark.parametrize("household", DATABASES, indirect=True)
def test_a_replay_by_the_same_rules_writes_nothing(household: Household) -> None:
    seed = 1
    simulation = generate(seed, now=NOW, patients=PATIENTS)
    household.reset(NOW, feeds=feeds_of(simulation), panel_csv=simulation.panel_csv)
    tell(household, told(simulation, seed), seed, work=True)
    before = everything(household)
    replay(household)
    assert everything(household) == before


def attempts_of(household: Household) -> set[tuple[object, ...]]:
    """Return what people did: attempts with the row they are on, and who owns the rows."""
    task, attempt = tables.task, tables.task_attempt
    statement = sa.select(attempt.c.id, attempt.c.task_id, attempt.c.outcome, task.c.owner, task.c.attempt_count)
    with household.engine.connect() as connection:
        return {tuple(row) for row in connection.execute(statement.join(task, attempt.c.task_id == task.c.id))}


def doubles_of_work(household: Household) -> list[tuple[object, ...]]:
    """Return work that was begun on one row, and is open on another for the same patient, kind and discharge."""
    begun, fresh = tables.task.alias(), tables.task.alias()
    statement = sa.select(begun.c.id, fresh.c.id).where(
        begun.c.attempt_count > 0,
        begun.c.status == "cancelled",
        fresh.c.attempt_count == 0,
        fresh.c.status.in_(tables.OPEN_STATUSES),
        *(begun.c[name] == fresh.c[name] for name in ("patient_id", "kind", "discharged_at")),
    )
    with household.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement)]
