"""A replay beside a consumer that goes on, and beside dead letters that come to life: nothing is lost or doubled."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from schemas.topics import ADT_EVENTS
from services.ingest.feeds import Feeds
from services.simulator.simulation import generate
from tests.followup.conftest import DATABASES
from tests.followup.test_replay_any_order import BEFORE, feeds_of
from tests.support.household import Household
from tests.support.replays import everything, replay

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
PATIENTS = 45
BATCH = 5


@pytest.fixture(params=DATABASES)
def household(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Household]:
    url = request.getfixturevalue("empty_postgres") if request.param == "postgresql" else None
    made = Household(tmp_path, now=NOW, url=url)
    yield made
    made.close()


@pytest.mark.parametrize("story", ["a disposition word is mapped", "a feed is known"])
def test_a_consumer_that_goes_on_and_a_replay_end_as_if_one_came_after_the_other(
    household: Household, story: str
) -> None:
    simulation = generate(3, now=NOW, patients=PATIENTS)
    first = NOW - timedelta(seconds=len(simulation.messages))
    messages = [(one.payload, first + timedelta(seconds=at)) for at, one in enumerate(simulation.messages)]
    now = feeds_of(simulation)
    household.reset(NOW, feeds=now, panel_csv=simulation.panel_csv)
    household.tell([*messages, *messages[::3]])
    expected, books = household.standing(), household.books()
    cut = len(messages) // 2
    household.reset(NOW, feeds=BEFORE[story](now))
    household.tell(messages[:cut])
    household.feeds = now
    rest = household.records([*messages[cut:], *messages[::3]])  # of the first half some come again, read by the new

    def consume() -> None:
        for start in range(0, len(rest), BATCH):
            household.apply.handle(ADT_EVENTS, rest[start : start + BATCH])

    together(consume, lambda: replay(household), lambda: replay(household))

    assert household.standing() == expected
    assert sum(household.books().values()) == sum(books.values())
    assert min(household.books().values()) > 0
    twice = [household.books().get(("no_effect", reason), 0) for reason in ("duplicate", "superseded")]
    assert sum(twice) == books["no_effect", "duplicate"]
    before = everything(household)
    assert replay(household).people == 0
    assert everything(household) == before


def test_two_replays_at_once_give_what_one_does(household: Household) -> None:
    simulation = generate(4, now=NOW, patients=PATIENTS)
    messages = [(one.payload, NOW) for one in simulation.messages]
    now = feeds_of(simulation)
    household.reset(NOW, feeds=now, panel_csv=simulation.panel_csv)
    household.tell(messages)
    expected, books = household.standing(), household.books()
    household.reset(NOW, feeds=Feeds())
    household.tell(messages)
    household.feeds = now

    together(lambda: replay(household), lambda: replay(household))

    assert household.standing() == expected
    assert household.books() == books
    assert all(letter.resolved_at is not None for letter in household.letters() if letter.reason == "feed-unknown")


def together(*works: Callable[[], object]) -> None:
    """Run works at the same time, each in a thread; what one raises is raised."""
    barrier = Barrier(len(works))

    def begin(work: Callable[[], object]) -> None:
        barrier.wait()
        work()

    with ThreadPoolExecutor(len(works)) as executor:
        for done in [executor.submit(begin, work) for work in works]:
            done.result()
