"""What a coordinator sees of a task: the worklist item, its page and its details, as they go over the wire.

These structs are the published shape (`GET /api/v1/tasks`, `afterstay tasks ls --json`): names and nesting do not
change without a new version of the interface. JSON by msgspec: instants RFC 3339 in UTC with `Z`, dates ISO 8601.
`worklist_rows.py` makes them from what is kept.
"""

from datetime import date, datetime
from typing import Any

import msgspec

from services.followup.domain.attempts import Mode, Outcome, Reached
from services.followup.domain.stays import Basis
from services.followup.domain.tasks import Priority, Status


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an item. Every field is always there; what is not known is null."""


class StatusReason(_Part, frozen=True, kw_only=True):
    """Why the task has its status."""

    code: str
    text: str


class AttemptSummary(_Part, frozen=True, kw_only=True):
    """What has been tried so far. `last_at` is when the latest attempt was made."""

    count: int
    last_at: datetime | None
    last_outcome: str | None


class MatchBasis(_Part, frozen=True, kw_only=True):
    """Which rule linked the stay to the panel patient."""

    rule: str | None


class ContactPerson(_Part, frozen=True, kw_only=True):
    """The person to call: the patient (`relation` is `self`), or the guardian of a patient under 18 at discharge."""

    name: str
    relation: str
    phone: str | None


class ItemPatient(_Part, frozen=True, kw_only=True):
    """The patient, as the panel knows them; `deceased` as the hospital says."""

    id: str
    family: str
    given: str
    birth_date: date
    sex: str | None
    deceased: bool
    language: str | None
    phones: tuple[str, ...]
    contact: ContactPerson


class ItemFacility(_Part, frozen=True, kw_only=True):
    """The discharging facility."""

    code: str | None
    name: str | None


class EncounterClass(_Part, frozen=True, kw_only=True):
    """The class of the stay: HL7 v3 ActCode word (IMP, OBSENC, EMER …) and as sent."""

    code: str | None
    raw: str | None


class ItemDisposition(_Part, frozen=True, kw_only=True):
    """Where the patient went: NUBC FL 17 code, as sent, and in words."""

    code: str | None
    raw: str | None
    text: str | None


class ItemStay(_Part, frozen=True, kw_only=True):
    """The stay that the task follows up. `discharged_at` is null when only the day is known."""

    facility: ItemFacility
    visit_number: str | None
    class_: EncounterClass = msgspec.field(name="class")
    admitted_at: datetime | None
    discharged_at: datetime | None
    discharged_on: date | None
    discharge_basis: Basis | None
    disposition: ItemDisposition


class WorklistItem(_Part, frozen=True, kw_only=True):
    """One task. `due_on` and `last_on` are dates at the facility; `due_at` is the instant the day `due_on` ends."""

    id: str
    version: int
    episode_id: str
    kind: str
    status: Status
    status_reason: StatusReason | None
    priority: Priority
    due_on: date
    last_on: date
    due_at: datetime
    work_by: date
    zone: str
    protocol: str
    owner: str | None
    created_at: datetime
    attempts: AttemptSummary
    warnings: tuple[str, ...]
    match: MatchBasis
    patient: ItemPatient
    stay: ItemStay


class Message(_Part, frozen=True, kw_only=True):
    """One HL7 message behind the task: when it was sent and received, and what became of it."""

    event_id: str
    feed: str | None
    trigger: str | None
    kind: str
    control_id: str | None
    sent_at: datetime | None
    received_at: datetime
    outcome: str
    reason: str


class AttemptEntry(_Part, frozen=True, kw_only=True):
    """One recorded attempt: made `at`, written down at `recorded_at`."""

    at: datetime
    recorded_at: datetime
    actor: str
    mode: Mode
    reached: Reached | None
    outcome: Outcome
    note: str | None


class HistoryEntry(_Part, frozen=True, kw_only=True):
    """One change of the task: the changed fields before and after."""

    at: datetime
    actor: str
    change: str
    before: dict[str, Any]
    after: dict[str, Any]
    reason: str | None


class WorklistDetail(WorklistItem, frozen=True, kw_only=True):
    """One task with the messages behind it, its attempts and its history, each in order of time."""

    messages: tuple[Message, ...]
    attempt_log: tuple[AttemptEntry, ...]
    history: tuple[HistoryEntry, ...]


class WorklistPage(_Part, frozen=True, kw_only=True):
    """A page of tasks by deadline; `next_cursor` is null on the last one."""

    items: tuple[WorklistItem, ...]
    next_cursor: str | None
