"""A task as a value, for tests that need no database: Ana Ruiz's contact, as in `rows.py`."""

from typing import Any

from services.followup.domain.tasks import Task
from tests.support.rows import DISCHARGED_AT, DISCHARGED_ON, DUE_AT, DUE_ON, LEARNED_AT, ZONE


def a_task(**fields: Any) -> Task:
    """Return a task that nobody has touched, with some fields otherwise."""
    values = {
        "id": "T1",
        "version": 1,
        "episode_id": "E1",
        "stay_id": "S1",
        "patient_id": "P1",
        "kind": "contact",
        "status": "requested",
        "status_reason_code": None,
        "status_reason_text": None,
        "priority": "routine",
        "discharged_on": DISCHARGED_ON,
        "discharged_at": DISCHARGED_AT,
        "due_on": DUE_ON,
        "last_on": DUE_ON,
        "due_at": DUE_AT,
        "work_by": DUE_ON,
        "zone": ZONE,
        "protocol": "transitional-care/1",
        "rule": "transitional-care/1 contact home",
        "warnings": (),
        "owner": None,
        "created_at": LEARNED_AT,
        "updated_at": LEARNED_AT,
        "completed_at": None,
        "closed_by": None,
        "attempt_count": 0,
        "last_attempt_at": None,
        "last_attempt_outcome": None,
        **fields,
    }
    return Task(**values)
