"""What came of it, held against what should have.

Owns the comparison of tasks and the balance of the books. Promise: pure; an empty result means that exactly the
expected tasks are open and that every frame sent is answered, logged and in exactly one outcome.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from services.simulator.truth import ExpectedTask

ACCEPTED: Final = "AA"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTask:
    """What there is to compare of a task on the worklist; `discharged_on` in ISO 8601."""

    patient_id: str
    kind: str
    status: str
    facility_code: str
    discharged_on: str
    priority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One task that is missing, that should not be, or that is other than it should be."""

    problem: Literal["missing", "unexpected", "different"]
    story: str | None
    expected: OpenTask | None
    found: OpenTask | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What `afterstay status` counted."""

    received: int
    acknowledged: Mapping[str, int]
    pending: int
    effect: int
    no_effect: int
    review: int
    dead_letter: int


def compare_tasks(
    expected: Iterable[ExpectedTask], found: Iterable[OpenTask], *, stories: Mapping[str, str]
) -> tuple[Difference, ...]:
    """Return how the open tasks differ from the expected ones; every task counts as often as it is there.

    ``stories`` names the story of each panel patient who has one.
    """
    should_be, there_is = Counter(map(_open_task, expected)), Counter(found)
    missing, extra = should_be - there_is, there_is - should_be
    differences = []
    for task in sorted(missing.elements(), key=_key):
        twin = next((other for other in sorted(extra, key=_key) if _same_work(task, other)), None)
        if twin is not None:
            extra -= Counter([twin])
        differences.append(
            Difference(
                problem="missing" if twin is None else "different",
                story=stories.get(task.patient_id),
                expected=task,
                found=twin,
            )
        )
    return (
        *differences,
        *(
            Difference(problem="unexpected", story=stories.get(task.patient_id), expected=None, found=task)
            for task in sorted(extra.elements(), key=_key)
        ),
    )


def balance(books: Books, *, sent: int, answered: Mapping[str, int], dead_letters: int) -> tuple[str, ...]:
    """Return what is wrong with the books, in words; nothing when every frame sent is accounted for once."""
    outcomes = books.effect + books.no_effect + books.review + books.dead_letter
    checks = (
        (books.received, sent, "received", "sent"),
        (sum(books.acknowledged.values()), sent, "acknowledged", "sent"),
        (books.acknowledged.get(ACCEPTED, 0), answered.get(ACCEPTED, 0), "acknowledged AA", "answered AA"),
        (answered.get(ACCEPTED, 0), sent, "answered AA", "sent"),
        (books.pending, 0, "pending", "that should be"),
        (outcomes, sent, "with an outcome", "sent"),
        (books.dead_letter, dead_letters, "dead letters", "from senders that no feed names"),
    )
    return tuple(f"{count} {what}, {wanted} {against}" for count, wanted, what, against in checks if count != wanted)


def _open_task(task: ExpectedTask) -> OpenTask:
    return OpenTask(
        patient_id=task.patient_id,
        kind=task.kind,
        status=task.status,
        facility_code=task.facility_code,
        discharged_on=task.discharged_on.isoformat(),
        priority=task.priority,
    )


def _same_work(task: OpenTask, other: OpenTask) -> bool:
    return (task.patient_id, task.kind) == (other.patient_id, other.kind)


def _key(task: OpenTask) -> tuple[str, ...]:
    return (
        task.patient_id, task.kind, task.status, task.facility_code, task.discharged_on, task.priority
    )  # fmt: skip
