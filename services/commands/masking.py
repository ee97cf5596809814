"""What is hidden of a worklist item where nobody asked to see it: who the patient is and how to reach them.

Ids stay, so that the masked output is enough to work by script; shapes stay, so that one script reads both
(product.md §4: masked unless `--show-phi`, which is audited).
"""

from typing import Any, Final

import msgspec

from services.followup.usecases.worklist_items import WorklistItem

MASK: Final = "***"

_PATIENT: Final = ("family", "given", "sex", "language")
_CONTACT: Final = ("name", "phone")


def item_fields(item: WorklistItem, *, show_phi: bool) -> dict[str, Any]:
    """Return an item (or detail) as JSON values, masked unless `show_phi`."""
    fields: dict[str, Any] = msgspec.to_builtins(item)
    if show_phi:
        return fields
    patient, stay = fields["patient"], fields["stay"]
    _mask(patient, _PATIENT)
    patient["birth_date"] = None
    patient["phones"] = [MASK for _ in patient["phones"]]
    _mask(patient["contact"], _CONTACT)
    _mask(stay, ("visit_number",))
    for attempt in fields.get("attempt_log", ()):
        _mask(attempt, ("note",))
    return fields


def _mask(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if fields[name] is not None:
            fields[name] = MASK
