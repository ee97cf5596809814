"""Follow-up tasks: what a task is, and what people may do with one.

A task is the follow-up work of one kind (`contact`, `visit`) for one episode. Its statuses are FHIR R4 Task codes;
four of them are open. Dates that a rule set (`due_on`, `last_on`, `due_at`) are moved by the reconciler only, with
history; people move the status, the owner and the attempts (promise P5). Pure: `now` and ids are arguments.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

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
