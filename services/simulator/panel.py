"""The practice's panel as the CSV file that `afterstay panel import` reads.

Owns the file. Promise: the columns that the product documents, every value as a practice would write it: names with
accents and hyphens, telephones with brackets, identifiers in CX notation (HL7 v2.5.1 ch. 2.A.14).
"""

import csv
import io
from collections.abc import Iterable
from typing import Final

from services.simulator.cast import PanelRow

COLUMNS: Final = (
    "patient_id", "family", "given", "birth_date", "middle", "suffix", "sex", "street", "city", "state", "zip",
    "phone", "ssn4", "language", "interpreter", "pcp", "practice", "program", "guardian_name", "guardian_relation",
    "guardian_phone", "identifiers", "effective_from", "effective_to",
)  # fmt: skip
_RELATIONS: Final = {"MTH": "mother", "FTH": "father"}


def panel_csv(rows: Iterable[PanelRow]) -> str:
    """Return the panel file, with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_values(row) for row in rows)
    return text.getvalue()


def _values(row: PanelRow) -> dict[str, str]:
    person = row.person
    values = {
        "patient_id": row.patient_id,
        "family": person.family,
        "given": person.given,
        "birth_date": person.birth_date.isoformat(),
        "middle": person.middle,
        "suffix": person.suffix,
        "sex": person.sex,
        "street": person.street,
        "city": person.city,
        "state": person.state,
        "zip": person.zip,
        "phone": _phone(person.phone),
        "ssn4": person.ssn4,
        "language": person.language,
        "interpreter": "no" if person.language == "en" else "yes",
        "pcp": "Ingrid Halvorsen",
        "practice": "Plains Family Medicine",
        "program": "transitional-care",
        "identifiers": "~".join(row.identifiers),
        "effective_from": row.effective_from.isoformat() if row.effective_from else "",
        "effective_to": row.effective_to.isoformat() if row.effective_to else "",
    }
    if person.minor:
        values["guardian_name"] = f"{person.kin.given} {person.kin.family}"
        values["guardian_relation"] = _RELATIONS[person.kin.relation]
        values["guardian_phone"] = _phone(person.kin.phone)
    return values


def _phone(digits: str) -> str:
    return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}"
