"""What should come of a simulation, as its own script tells it.

Owns the golden outcomes. Promise: they follow from what happened to the simulated people, and from nothing that the
product computes; every outcome names its story and says why in words that a nurse can check (domain.md §1.1, §2.3).
Due dates are left to the tests' own implementation of the CMS rule.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

ContactOrVisit = Literal["contact", "visit"]
KINDS: Final[tuple[ContactOrVisit, ...]] = ("contact", "visit")
TaskStatus = Literal["requested", "on-hold"]
TaskPriority = Literal["routine", "urgent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTask:
    """An open task that should exist; `patient_id` is the panel's, `discharged_on` local to the facility."""

    patient_id: str
    kind: ContactOrVisit
    status: TaskStatus
    facility_code: str
    discharged_on: date
    priority: TaskPriority
    story: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedReview:
    """A question that a person should be asked; where not `certain`, silence is right too, and a task never is."""

    patient_key: str
    story: str
    question: str
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryNote:
    """What happened to one person and what should come of it, in plain words."""

    patient_key: str
    patient_id: str | None
    """The panel's id; `None` for somebody who is not on the panel."""
    story: str
    feed: str
    why: str


def task_counts(tasks: Iterable[ExpectedTask]) -> dict[str, dict[str, int]]:
    """Count tasks by kind and status, as `afterstay status` does."""
    counted = Counter((task.kind, task.status) for task in tasks)
    return {
        kind: {status: count for (of_kind, status), count in sorted(counted.items()) if of_kind == kind}
        for kind in KINDS
    }
