"""Stories that a nurse can read (`tests/golden/stays/*.yaml`): messages in, what should stand, and why.

Each is told as written, reversed, shuffled and doubled, in one batch and message by message: the same must stand.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from services.followup.domain.stays import StayView
from tests.support.adt import adt
from tests.support.household import ZONE, Household, local

FOLDER = Path(__file__).parents[1] / "golden" / "stays"
STORIES = sorted(FOLDER.glob("*.yaml"))
ORDERS = ["as told", "reversed", "shuffled 1", "shuffled 2", "doubled", "one by one", "reversed one by one"]


@lru_cache
def read_story(path: Path) -> dict[str, Any]:
    """Return a story; times stay text."""
    story: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # only text comes out
    unknown = story.keys() - {"title", "why", "now", "messages", "expect"}
    assert not unknown, f"{path.name}: {unknown}"
    return story


def messages_of(story: dict[str, Any]) -> list[tuple[bytes, datetime]]:
    """Return the messages of a story with their receipts (by default a minute after they were sent)."""
    told = []
    for number, written in enumerate(story["messages"], start=1):
        said = dict(written)
        event, sent = said.pop("event"), said.pop("sent")
        received = said.pop("received", None)
        times = {name: _hl7_time(said.pop(name)) for name in ("admitted", "discharged", "occurred") if name in said}
        raw = adt(event, sent=_hl7_time(sent), control_id=f"M{number}", **times, **said)
        told.append((raw, local(received) if received else local(sent) + timedelta(minutes=1)))
    return told


def _hl7_time(text: str) -> str:
    return text if text == '""' else "".join(letter for letter in text if letter.isdigit())


def told_in(order: str, messages: list[tuple[bytes, datetime]], seed: str) -> list[tuple[bytes, datetime]]:
    """Return messages in another order."""
    if order.startswith("reversed"):
        return messages[::-1]
    if order.startswith("shuffled"):
        return Random(f"{seed} {order}").sample(messages, len(messages))
    return messages * 2 if order == "doubled" else messages


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """Give one household to all stories; each telling begins with an empty one."""
    made = Household(tmp_path_factory.mktemp("stories"), now=local("2026-11-20 12:00"))
    yield made
    made.close()


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, household: Household) -> None:
    story = read_story(path)
    messages = messages_of(story)
    now = local(story["now"]) if "now" in story else max(at for _, at in messages) + timedelta(hours=1)
    stood = ""
    for order in ORDERS:
        household.reset(now)
        household.tell(told_in(order, messages, path.stem), batch=1 if "one by one" in order else 500)
        if order == ORDERS[0]:
            check(story["expect"], household)
            stood = household.standing()
        assert household.standing() == stood, f"told {order}, another end"
        assert sum(household.books().values()) == len(messages) * (2 if order == "doubled" else 1)


def check(expect: dict[str, Any], household: Household) -> None:
    """Compare what stands with what a story expects."""
    stays = household.stays()
    assert [_shown(*stay, wanted) for stay, wanted in zip(stays, expect.get("stays", []), strict=True)] == expect.get(
        "stays", []
    )
    tasks = household.open_tasks()
    assert [_task(row, wanted) for row, wanted in zip(tasks, expect.get("tasks", []), strict=True)] == [
        {name: value for name, value in wanted.items() if name != "warning"} for wanted in expect.get("tasks", [])
    ]
    for row, wanted in zip(tasks, expect.get("tasks", []), strict=True):
        assert wanted.get("warning", "") in row.warnings
    reviews = household.reviews()
    wanted_reviews = expect.get("reviews", [])
    assert len(reviews) == len(wanted_reviews) if wanted_reviews == ["any"] else reviews == wanted_reviews


def _shown(view: StayView, follow_up: str, reason: str | None, wanted: dict[str, str]) -> dict[str, str | None]:
    at = view.discharged_at
    facts: dict[str, str | None] = {
        "status": view.status,
        "class": view.class_code,
        "discharged": at.astimezone(ZoneInfo(ZONE)).strftime("%Y-%m-%d %H:%M") if at else None,
        "discharged_on": str(view.discharged_on),
        "basis": view.discharge_basis,
        "disposition": view.disposition_code,
        "follow_up": follow_up,
        "reason": reason,
    }
    return {name: facts[name] for name in wanted}


def _task(row: Any, wanted: dict[str, str]) -> dict[str, str | None]:
    facts = {
        "kind": row.kind,
        "status": row.status,
        "hold": row.status_reason_code,
        "due": str(row.due_on),
        "last": str(row.last_on),
        "work_by": str(row.work_by),
        "priority": row.priority,
    }
    return {name: facts[name] for name in wanted if name != "warning"}


def test_there_are_enough_stories_and_each_says_why() -> None:
    assert len(STORIES) >= 30
    assert all(read_story(path)["why"].strip() for path in STORIES)
