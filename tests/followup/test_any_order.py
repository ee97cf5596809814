"""P7: any order, any duplication and any split into batches ends in the same stays and open work, people's included.

Goal: a simulated stream of hospitals, told in another order to an empty database, leaves what the stream as delivered
leaves. Method: some of the messages are told, somebody claims and tries every task that is open then, the rest is
told; both halves in any order, with repeats, in batches of any size. What people did must still be there.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from services.ingest.feeds_file import read_feeds
from services.ingest.hl7.charset import resolve_charset
from services.simulator.simulation import Simulation, generate
from tests.support.household import Household

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
PATIENTS = 45
SEEDS = [1, 2, 3]


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    made = Household(tmp_path_factory.mktemp("any-order"), now=NOW)
    yield made
    made.close()


def told(simulation: Simulation) -> list[tuple[bytes, datetime]]:
    """Return the messages with receipts in order of delivery, one a second, the last one now."""
    first = NOW - timedelta(seconds=len(simulation.messages))
    return [(one.payload, first + timedelta(seconds=at)) for at, one in enumerate(simulation.messages)]


def begin(household: Household, simulation: Simulation) -> None:
    feeds = read_feeds(
        simulation.feeds_yaml.encode(),
        file=Path("feeds.yaml"),
        is_charset=lambda label: resolve_charset(label) is not None,
    )
    household.reset(NOW, feeds=feeds, panel_csv=simulation.panel_csv)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_duplication_and_batching_ends_the_same(household: Household, seed: int) -> None:
    simulation = generate(seed, now=NOW, patients=PATIENTS)
    messages = told(simulation)
    begin(household, simulation)
    household.tell(messages)
    expected = household.standing()
    assert len(household.open_tasks()) == len(simulation.expected)
    for variant in range(3):
        random = Random(f"{seed} {variant}")
        again = [*messages, *random.choices(messages, k=len(messages) // 4)]
        random.shuffle(again)
        begin(household, simulation)
        household.tell(again, batch=random.choice([1, 7, 60, 500]))
        assert household.standing() == expected
        assert sum(household.books().values()) == len(again)


@pytest.mark.parametrize("seed", SEEDS)
def test_human_work_between_messages_is_kept_in_any_order(household: Household, seed: int) -> None:
    simulation = generate(seed, now=NOW, patients=PATIENTS)
    messages = told(simulation)
    cut = len(messages) * 2 // 3
    ends = set()
    for variant in range(3):
        random = Random(f"{seed} {variant}")
        begin(household, simulation)
        for part in (messages[:cut], messages[cut:]):
            household.tell(random.sample(part, len(part)), batch=random.choice([5, 80, 500]))
            if part == messages[:cut]:
                worked = household.work_everything_open()
        ends.add(household.standing())
        assert household.attempts() == worked
    assert len(ends) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_telling_everything_again_changes_nothing(household: Household, seed: int) -> None:
    simulation = generate(seed, now=NOW, patients=PATIENTS)
    begin(household, simulation)
    household.tell(told(simulation))
    before, history = household.standing(), household.history_length()
    household.tell(reversed(told(simulation)))
    assert (household.standing(), household.history_length()) == (before, history)
