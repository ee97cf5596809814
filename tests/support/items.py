"""Worklist items as values, for tests that need no database: Ana Ruiz's contact, as in `rows.py`."""

from datetime import date
from typing import Any

from services.followup.usecases.worklist_items import WorklistItem
from services.followup.usecases.worklist_rows import Person, WorklistRow, item_of
from tests.support.rows import a_view
from tests.support.tasks import a_task


def a_person(**fields: Any) -> Person:
    """Return a panel patient, with some fields otherwise."""
    values = {
        "id": "P1",
        "family": "Ruiz",
        "given": "Ana",
        "birth_date": date(1952, 3, 9),
        "sex": "F",
        "phone": "212-555-0147",
        "language": "Spanish",
        "guardian_name": None,
        "guardian_relation": None,
        "guardian_phone": None,
        **fields,
    }
    return Person(**values)


def an_item(*, task: dict[str, Any] | None = None, stay: dict[str, Any] | None = None, **person: Any) -> WorklistItem:
    """Return an item, with some fields of its task, its stay's view and its patient otherwise."""
    view = a_view(**(stay or {}))
    row = WorklistRow(task=a_task(**(task or {})), person=a_person(**person), stay=view, match_rule="identifier")
    return item_of(row)
