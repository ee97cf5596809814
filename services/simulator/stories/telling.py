"""What a story is, and the words that all stories are told with.

Owns `Story` and `Told`. Promise: the expected tasks of a story are stated by the story itself, next to the messages
it sends, from what happened to the person: nothing here asks the product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.simulator.cast import Cast, Subject
from services.simulator.statements import Draft
from services.simulator.stays import Stay
from services.simulator.truth import KINDS, ExpectedReview, ExpectedTask, TaskPriority, TaskStatus

HOME: Final = ("01", "01", "01", "06", "81")
"""Home, home with home health, home with a planned readmission (domain.md §2.3)."""
COVERED: Final = ("IMP", "IMP", "OBSENC")
"""Classes whose discharge is followed up."""

DAY_H: Final = 24.0
RECENT: Final = (4.0, 26 * DAY_H)
"""Ends of ordinary stays: in the service period of 30 days, with room for what comes after."""
ROOMY: Final = (5 * DAY_H, 26 * DAY_H)
"""Ends of stays about which more is said for some days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A story as told: its messages, and what should come of them."""

    subject: Subject
    drafts: tuple[Draft, ...]
    tasks: tuple[ExpectedTask, ...] = ()
    reviews: tuple[ExpectedReview, ...] = ()
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A kind of story; `weight` says how often it is told beyond the once that every simulation owes it."""

    name: str
    tell: Callable[[Cast], Told]
    weight: int = 1
    needs_visit_numbers: bool = False
    by_unlisted_sender: bool = False


def begin(cast: Cast, ends: datetime, *, act_class: str | None = None, subject: Subject | None = None) -> Stay:
    """Tell of a stay from arrival until shortly before it ends; the person is on the panel unless given."""
    stay = Stay(cast, subject or cast.member(), act_class=act_class or cast.rng.choice(COVERED), ends=ends)
    stay.admit("A04" if stay.view.act_class in {"EMER", "AMB"} else "A01")
    stay.go_on()
    return stay


def nothing(stay: Stay, why: str) -> Told:
    """Return a story of which no task should come."""
    return Told(subject=stay.subject, drafts=tuple(stay.drafts), why=why)


def asked(stay: Stay, why: str, question: str, *, certain: bool = True) -> Told:
    """Return a story of which no task should come, but a question to a person."""
    review = ExpectedReview(patient_key=stay.subject.key, story=stay.cast.story, question=question, certain=certain)
    return Told(subject=stay.subject, drafts=tuple(stay.drafts), reviews=(review,), why=why)


def followed(
    stay: Stay,
    why: str,
    *,
    discharged: datetime | None = None,
    status: TaskStatus = "requested",
    priority: TaskPriority = "routine",
) -> Told:
    """Return a story after which the person should be called and seen."""
    patient_id = stay.subject.patient_id
    assert patient_id is not None, f"{stay.cast.story}: nobody follows up a stranger"
    tasks = tuple(
        ExpectedTask(
            patient_id=patient_id,
            kind=kind,
            status=status,
            facility_code=stay.cast.site.code,
            discharged_on=stay.cast.day(discharged or stay.ends),
            priority=priority,
            story=stay.cast.story,
        )
        for kind in KINDS
    )
    return Told(subject=stay.subject, drafts=tuple(stay.drafts), tasks=tasks, why=why)
