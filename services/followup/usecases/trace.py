"""Where is message X: everything known of the messages under one control id, from the socket to the task.

Shows ids, codes, times and places; never a name or another demographic. Every look leaves an audit row (promise P6).
The time of the answer itself is not kept: it left right after the record was durable, which is what it says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, Protocol

from schemas.events import AdtEvent
from services.followup.usecases.sorting import Unusable, decode
from services.followup.usecases.status import ack_of
from services.runtime.clock import from_timestamp_us
from services.runtime.eventlog.port import Record

MESSAGES_MAX: Final = 100
"""Of one control id; senders that start again at 1 each day reuse them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedTask:
    """A task made for the stay that a message is part of."""

    id: str
    kind: str
    status: str
    status_reason_code: str | None
    created_at: datetime
    updated_at: datetime
    due_on: date
    last_on: date
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStay:
    """The stay that a message is part of: its link to the panel and what follows from it, as of `updated_at`.

    `sets` names the fields of the stay that stand by this very message. `patient_id` is the panel's.
    """

    id: str
    status: str
    match_state: str
    match_rule: str | None
    match_reason: str | None
    patient_id: str | None
    follow_up: str
    follow_up_reason: str | None
    updated_at: datetime
    sets: tuple[str, ...]
    tasks: tuple[TracedTask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedLetter:
    """The dead letter of a message that could not take effect."""

    reason: str
    text: str
    at: datetime
    resolved_at: datetime | None
    resolution: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """One message. `consumed_at` is `None` while it waits; so are the outcome and all that follows."""

    event_id: str
    feed: str | None
    control_id: str | None
    trigger: str | None
    kind: str
    sent_at: datetime | None
    received_at: datetime
    acknowledged: str
    topic: str
    partition: int
    offset: int
    consumed_at: datetime | None = None
    outcome: str | None = None
    outcome_reason: str | None = None
    stay: TracedStay | None = None
    dead_letter: TracedLetter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the way: whether it was reached, when (where a time is kept), and what there is to say."""

    name: Literal["received", "published", "acknowledged", "consumed", "matched", "task"]
    reached: bool
    at: datetime | None
    text: str


class TraceStore(Protocol):
    """Finds messages that were consumed, and keeps the audit of looking."""

    def find(self, control_id: str, feed: str | None, limit: int) -> Sequence[Traced]:
        """Return the messages under a control id, latest received first, and of their tasks the oldest first."""

    def audit(self, *, actor: str, at: datetime, control_id: str, event_ids: Sequence[str]) -> None:
        """Keep that somebody looked."""


def traced_pending(record: Record, control_id: str, feed: str | None) -> Traced | None:
    """Return what is known of a record that waits to be consumed, if it is a message that is looked for."""
    event = decode(record)
    if isinstance(event, Unusable) or event.control_id != control_id or feed not in (None, event.feed):
        return None
    return _pending(record, event)


def steps_of(traced: Traced) -> tuple[Step, ...]:
    """Return the way of a message, step by step."""
    return (
        Step(name="received", reached=True, at=traced.received_at, text=f"by feed {traced.feed or '(none)'}"),
        Step(
            name="published",
            reached=True,
            at=None,
            text=f"{traced.topic}, partition {traced.partition}, offset {traced.offset}",
        ),
        Step(name="acknowledged", reached=True, at=None, text=f"{traced.acknowledged}, once it was durable"),
        _consumed(traced),
        _matched(traced),
        _task(traced),
    )


def _pending(record: Record, event: AdtEvent) -> Traced:
    return Traced(
        event_id=event.event_id,
        feed=event.feed,
        control_id=event.control_id,
        trigger=event.trigger,
        kind=event.kind,
        sent_at=event.sent_at.at if event.sent_at else None,
        received_at=from_timestamp_us(record.timestamp_us),
        acknowledged=ack_of(record),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )


def _consumed(traced: Traced) -> Step:
    if traced.consumed_at is None:
        text = "not yet: it waits in the log; `afterstay run` consumes it"
        return Step(name="consumed", reached=False, at=None, text=text)
    text = _with_reason(traced.outcome or "", traced.outcome_reason)
    if traced.dead_letter is not None and traced.dead_letter.resolved_at is None:
        text += f": {traced.dead_letter.text}"
    return Step(name="consumed", reached=True, at=traced.consumed_at, text=text)


def _matched(traced: Traced) -> Step:
    stay = traced.stay
    if stay is None:
        text = "part of no stay" if traced.consumed_at else "not yet"
        return Step(name="matched", reached=False, at=None, text=text)
    reason = stay.match_rule or stay.match_reason
    text = " ".join(
        filter(
            None,
            (
                stay.match_state,
                f"({reason})" if reason else "",
                f"to patient {stay.patient_id}" * bool(stay.patient_id),
            ),
        )
    )
    return Step(name="matched", reached=stay.match_state == "linked", at=stay.updated_at, text=text)


def _task(traced: Traced) -> Step:
    stay = traced.stay
    if stay is None:
        reason = traced.outcome_reason or traced.outcome or "it is not consumed yet"
        return Step(name="task", reached=False, at=None, text=f"none: {reason}")
    if not stay.tasks:
        return Step(name="task", reached=False, at=None, text=f"none: {stay.follow_up_reason or stay.follow_up}")
    text = "; ".join(_task_text(task) for task in stay.tasks)
    if stay.follow_up_reason:
        text += f"; now {stay.follow_up}: {stay.follow_up_reason}"
    return Step(name="task", reached=True, at=min(task.created_at for task in stay.tasks), text=text)


def _task_text(task: TracedTask) -> str:
    return f"{task.kind} {task.id} {_with_reason(task.status, task.status_reason_code)}, due {task.due_on}"


def _with_reason(word: str, reason: str | None) -> str:
    return f"{word} ({reason})" if reason else word
