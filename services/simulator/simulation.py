"""A simulation: hospitals, a panel, a stream of messages around now, and what should come of it.

Owns `generate`. Promise: the same seed, moment and number of people give the same bytes in the same order; within a
feed no two messages state the same MSH-7, so no truth hangs on a tie; every story is told at least once where there
are people enough. Reads no clock: `now` is an argument.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.simulator.cast import Cast, Clocks, PanelRow
from services.simulator.hl7_writer import write_message
from services.simulator.hospitals import LISTED, UNLISTED, Hospital, feeds_yaml
from services.simulator.panel import panel_csv
from services.simulator.people import Population
from services.simulator.statements import Draft
from services.simulator.stories.catalog import STORIES
from services.simulator.stories.telling import Story, Told
from services.simulator.streams import SimulatedMessage, deliver
from services.simulator.truth import ExpectedReview, ExpectedTask, StoryNote

DEFAULT_PATIENTS: Final = 120
_QUIET_PANEL_SHARE: Final = 0.3
"""People on the panel who stay at home, by people with a story."""
_REUSED_CONTROL_IDS: Final = 2
"""Messages of each feed that carry the control id of an earlier, different one."""
_PAST: Final = timedelta(days=130)
_FUTURE: Final = timedelta(days=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Everything that a receiver is given, in `messages` in order of delivery, and what should come of it."""

    seed: int
    now: datetime
    panel_csv: str
    feeds_yaml: str
    messages: tuple[SimulatedMessage, ...]
    expected: tuple[ExpectedTask, ...]
    expected_reviews: tuple[ExpectedReview, ...]
    expected_dead_letters: int
    """Frames from senders that no feed names, exact repeats not counted."""
    notes: tuple[StoryNote, ...]


def generate(seed: int, *, now: datetime, patients: int = DEFAULT_PATIENTS) -> Simulation:
    """Invent a simulation around ``now`` with ``patients`` people who have a story.

    Raises:
        ValueError: ``now`` has no zone, or there is nobody to tell of.
    """
    if now.utcoffset() is None:
        raise ValueError("now needs a time zone")
    if patients < 1:
        raise ValueError("a simulation needs at least one patient")
    rng = _rng(seed, "world")
    population = Population(_rng(seed, "people"), today=now.date())
    clocks = Clocks(first=now - _PAST, last=now + _FUTURE)
    panel: list[PanelRow] = []
    told: list[tuple[Cast, Told]] = []
    for index, story in enumerate(_stories(rng, patients)):
        cast = _cast(story, index=index, seed=seed, now=now, shared=(population, clocks, panel))
        told.append((cast, story.tell(cast)))
    _enroll_quiet_people(told[0][0], round(patients * _QUIET_PANEL_SHARE))
    stated = _stated_messages([draft for _, one in told for draft in one.drafts], clocks, rng)
    return Simulation(
        seed=seed,
        now=now,
        panel_csv=panel_csv(panel),
        feeds_yaml=feeds_yaml(),
        messages=deliver(stated, _rng(seed, "delivery")),
        expected=tuple(task for _, one in told for task in one.tasks),
        expected_reviews=tuple(review for _, one in told for review in one.reviews),
        expected_dead_letters=sum(message.feed == UNLISTED.feed for message in stated),
        notes=tuple(_note(cast, one) for cast, one in told),
    )


def _rng(seed: int, purpose: str) -> random.Random:
    return random.Random(f"{seed}/{purpose}")  # noqa: S311 - a seeded simulation keeps no secret


def _stories(rng: random.Random, patients: int) -> list[Story]:
    """Return a story for each person: all of them once, then more by weight; in random order, a good one first."""
    home = STORIES[0]
    once = list(STORIES[1:])
    rng.shuffle(once)
    chosen = [home, *once][:patients]
    chosen += rng.choices(STORIES, weights=[story.weight for story in STORIES], k=patients - len(chosen))
    return chosen


def _cast(
    story: Story, *, index: int, seed: int, now: datetime, shared: tuple[Population, Clocks, list[PanelRow]]
) -> Cast:
    population, clocks, panel = shared
    rng = _rng(seed, f"{index}/{story.name}")
    hospital = _hospital(story, index)
    return Cast(
        story=story.name,
        rng=rng,
        now=now,
        hospital=hospital,
        site=rng.choice(hospital.sites),
        population=population,
        clocks=clocks,
        panel=panel,
    )


def _hospital(story: Story, index: int) -> Hospital:
    if story.by_unlisted_sender:
        return UNLISTED
    able = [hospital for hospital in LISTED if hospital.visit_numbers or not story.needs_visit_numbers]
    return able[index % len(able)]


def _enroll_quiet_people(cast: Cast, count: int) -> None:
    for _ in range(count):
        cast.enroll(cast.population.person(), f"{cast.population.number()}^^^WESTSIDE_CLINIC^MR")


def _stated_messages(drafts: Iterable[Draft], clocks: Clocks, rng: random.Random) -> list[SimulatedMessage]:
    """Return the messages in the order they were stated, each feed with its own control ids and no two equal MSH-7."""
    by_feed: dict[str, list[Draft]] = {}
    for draft in sorted(drafts, key=lambda draft: (draft.sent, draft.patient_key)):
        by_feed.setdefault(draft.hospital.feed, []).append(draft)
    stated = []
    for feed_drafts in by_feed.values():
        apart = _apart(feed_drafts, clocks)
        control_ids = _control_ids(apart, rng)
        stated += [
            (draft.sent, _written(draft, control_id, clocks))
            for draft, control_id in zip(apart, control_ids, strict=True)
        ]
    return [message for _, message in sorted(stated, key=lambda pair: (pair[0], pair[1].feed))]


def _apart(drafts: Sequence[Draft], clocks: Clocks) -> list[Draft]:
    """Return the drafts of one feed with MSH-7 strictly increasing as it is shown, in whole seconds."""
    clock = clocks.of(drafts[0].hospital.zone)
    second = timedelta(seconds=1)
    apart: list[Draft] = []
    for draft in drafts:
        sent = clock.show(draft.sent).replace(microsecond=0).astimezone(draft.sent.tzinfo)
        if apart and sent <= apart[-1].sent:
            sent = apart[-1].sent + second
        apart.append(replace(draft, sent=sent))
    return apart


def _control_ids(drafts: Sequence[Draft], rng: random.Random) -> list[str]:
    hospital = drafts[0].hospital
    first = rng.randint(10_000, 60_000)
    ids = [f"{hospital.control_prefix}{first + place}" for place in range(len(drafts))]
    for place in rng.sample(range(1, len(ids)), min(_REUSED_CONTROL_IDS, len(ids) - 1)):
        ids[place] = ids[rng.randrange(place)]
    return ids


def _written(draft: Draft, control_id: str, clocks: Clocks) -> SimulatedMessage:
    hospital = draft.hospital
    payload = write_message(
        draft,
        control_id,
        feed_zone=clocks.of(hospital.zone).zone,
        site_clock=clocks.of(draft.snapshot.site.zone),
    )
    return SimulatedMessage(
        feed=hospital.feed,
        control_id=control_id,
        payload=payload,
        story=draft.story,
        patient_key=draft.patient_key,
    )


def _note(cast: Cast, told: Told) -> StoryNote:
    return StoryNote(
        patient_key=told.subject.key,
        patient_id=told.subject.patient_id,
        story=cast.story,
        feed=cast.hospital.feed,
        why=told.why,
    )
