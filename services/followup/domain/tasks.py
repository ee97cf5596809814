"""Follow-up tasks: what a task is, and what people may do with one.

A task is the follow-up work of one kind (`contact`, `visit`) for one episode. Its statuses are FHIR R4 Task codes;
four of them are open. Dates that a rule set (`due_on`, `last_on`, `due_at`) are moved by the reconciler only, with
history; people move the status, the owner and the attempts (promise P5). Pure: `now` and ids are arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Final, Literal

from services.followup.domain.attempts import Attempt, NotAllowed, Outcome, problem_of
from services.followup.domain.working_time import zone_named

Status = Literal[
    "requested", "accepted", "in-progress", "on-hold", "completed", "failed", "cancelled", "entered-in-error"
]
Priority = Literal["routine", "urgent", "asap", "stat"]

OPEN: Final[frozenset[Status]] = frozenset({"requested", "accepted", "in-progress", "on-hold"})

PROTOCOL_ACTOR: Final = "protocol"
"""Actor of every change that a rule made; a person's name never is this word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One row of follow-up work. `closed_by` is the actor who ended it, `None` while open."""

    id: str
    version: int
    episode_id: str
    stay_id: str
    patient_id: str
    kind: str
    status: Status
    status_reason_code: str | None
    status_reason_text: str | None
    priority: Priority
    discharged_on: date
    discharged_at: datetime | None
    due_on: date
    last_on: date
    due_at: datetime
    work_by: date
    zone: str
    protocol: str
    rule: str
    warnings: tuple[str, ...]
    owner: str | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    closed_by: str | None
    attempt_count: int
    last_attempt_at: datetime | None
    last_attempt_outcome: str | None

    @property
    def is_open(self) -> bool:
        """Whether the task is still work to do."""
        return self.status in OPEN

    @property
    def is_touched(self) -> bool:
        """Whether a person has claimed it or tried: then a withdrawal keeps what they did and tells them."""
        return self.owner is not None or self.attempt_count > 0


# --- what people do --------------------------------------------------------------------------------------------------

Action = Literal["claim", "attempt", "finish", "decline", "give-up", "stand-down", "record-death"]

TRANSITIONS: Final[Mapping[tuple[Status, Action], Status]] = MappingProxyType(
    {
        ("requested", "claim"): "accepted",
        ("accepted", "claim"): "accepted",
        ("in-progress", "claim"): "in-progress",
        ("on-hold", "claim"): "on-hold",
        ("requested", "attempt"): "in-progress",
        ("accepted", "attempt"): "in-progress",
        ("in-progress", "attempt"): "in-progress",
        ("on-hold", "attempt"): "on-hold",
        ("requested", "finish"): "completed",
        ("accepted", "finish"): "completed",
        ("in-progress", "finish"): "completed",
        ("requested", "decline"): "failed",
        ("accepted", "decline"): "failed",
        ("in-progress", "decline"): "failed",
        ("on-hold", "decline"): "failed",
        ("requested", "give-up"): "failed",
        ("accepted", "give-up"): "failed",
        ("in-progress", "give-up"): "failed",
        ("requested", "stand-down"): "cancelled",
        ("accepted", "stand-down"): "cancelled",
        ("in-progress", "stand-down"): "cancelled",
        ("requested", "record-death"): "cancelled",
        ("accepted", "record-death"): "cancelled",
        ("in-progress", "record-death"): "cancelled",
        ("on-hold", "record-death"): "cancelled",
    }
)
"""Every change of status that a person can make; whatever is not here is refused, so closed tasks refuse everything.

A hold says that the patient is where a call at home finds nobody (in hospital, in post-acute care). Work under a hold
may be claimed and recorded but not declared done: the task comes back when the hold ends. What ends all outreach ends
it under a hold too: a death, and a patient who does not want to be called.
"""

ENDINGS: Final[Mapping[Outcome, Action]] = MappingProxyType(
    {
        "reached": "finish",
        "refused": "decline",
        "voicemail": "give-up",
        "no-answer": "give-up",
        "wrong-number": "give-up",
        "call-back": "give-up",
        "language-barrier": "give-up",
        "in-facility": "stand-down",
        "died": "record-death",
    }
)
"""What completing a task with an outcome means. A patient whom nobody reached leaves the task `failed` and never
`completed`, so that nobody counts the two as one; what has no object any more is `cancelled`."""

ENDING_TEXTS: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        "reached": "reached",
        "refused": "does not want follow-up",
        "voicemail": "not reached: voicemail",
        "no-answer": "not reached: no answer",
        "wrong-number": "not reached: wrong number",
        "call-back": "not reached: asked for a call back",
        "language-barrier": "not reached: language barrier",
        "in-facility": "is in a facility",
        "died": "has died",
    }
)

UNREACHED_ATTEMPTS_MIN: Final = 2
"""CMS TCM: two separate documented attempts before giving up counts as having tried (domain.md §1.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Somebody else was first."""

    winner: str


def claim(task: Task, actor: str, now: datetime) -> Task | Conflict | NotAllowed:
    """Take a task that nobody has; claiming one's own again gives it back unchanged."""
    after = _move(task, "claim", actor, now)
    if isinstance(after, NotAllowed) or task.owner is None:
        return after
    return task if task.owner == actor else Conflict(winner=task.owner)


def record_attempt(task: Task, attempt: Attempt, now: datetime) -> Task | NotAllowed:
    """Count an attempt. Who makes the first one on a task nobody has, has it; a colleague's does not take it over."""
    after = _move(task, "attempt", attempt.actor, now)
    if isinstance(after, NotAllowed):
        return after
    problem = problem_of(
        attempt,
        discharged_on=task.discharged_on,
        discharged_at=task.discharged_at,
        zone=zone_named(task.zone),
        now=now,
    )
    if problem is not None:
        return problem
    after = replace(after, attempt_count=task.attempt_count + 1)
    if task.last_attempt_at is not None and attempt.at < task.last_attempt_at:
        return after  # written down late: what was tried last is still the last
    return replace(after, last_attempt_at=attempt.at, last_attempt_outcome=attempt.outcome)


def complete(task: Task, actor: str, outcome: Outcome, now: datetime) -> Task | NotAllowed:
    """End a task with what came of it (`ENDINGS`)."""
    action = ENDINGS[outcome]
    after = _move(task, action, actor, now)
    if isinstance(after, NotAllowed):
        return after
    if action == "give-up" and task.attempt_count < UNREACHED_ATTEMPTS_MIN:
        return NotAllowed(
            code="attempts-missing",
            text=f"Nobody was reached yet: it takes {UNREACHED_ATTEMPTS_MIN} recorded attempts before giving up, "
            f"and there {'is' if task.attempt_count == 1 else 'are'} {task.attempt_count or 'none'}.",
        )
    return replace(
        after,
        status_reason_code=outcome,
        status_reason_text=ENDING_TEXTS[outcome],
        completed_at=now,
        closed_by=actor,
    )


def _move(task: Task, action: Action, actor: str, now: datetime) -> Task | NotAllowed:
    """Return the task one version on, in its next status and with an owner, if the table has that step."""
    status = TRANSITIONS.get((task.status, action))
    if status is None:
        return _not_in_table(task)
    return replace(task, version=task.version + 1, status=status, owner=task.owner or actor, updated_at=now)


def _not_in_table(task: Task) -> NotAllowed:
    if not task.is_open:
        return NotAllowed(code="task-closed", text=f"The task is {task.status}; nothing more can be done on it.")
    return NotAllowed(
        code="task-on-hold",
        text="The task is on hold and comes back by itself. Until then record attempts; it can be ended only "
        "because the patient has died or does not want follow-up.",
    )
