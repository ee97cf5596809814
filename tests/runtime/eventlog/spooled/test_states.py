"""The table of states is whole, and the documentation draws the same one."""

from pathlib import Path
from typing import get_args

from services.runtime.eventlog.spooled.states import STATES, TRANSITIONS, State, Trigger

GUARANTEES = "docs/adr/0012-spool.md"


def test_the_words_are_those_of_the_metrics() -> None:
    assert get_args(State) == STATES == ("direct", "spooling", "draining", "full")


def test_every_state_is_reached_and_left_and_every_trigger_leads_somewhere() -> None:
    moves = {(before, after) for (before, _trigger), after in TRANSITIONS.items() if before != after}
    assert {before for before, _after in moves} == set(STATES)
    assert {after for _before, after in moves} == set(STATES)
    assert {trigger for _before, trigger in TRANSITIONS} == set(get_args(Trigger))


def test_the_decision_record_shows_the_table() -> None:
    text = (Path(__file__).parents[4] / GUARANTEES).read_text(encoding="utf-8")
    for (before, trigger), after in TRANSITIONS.items():
        assert f"| `{before}` | `{trigger}` | `{after}` |" in text
