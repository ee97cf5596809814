"""Discharge dispositions in words: where a patient went, for the person who is going to call.

Codes are the two digits of NUBC FL 17 (patient discharge status); the words are our own. What a code asks for is the
protocol's business (`services/followup/protocols`); here is only what it says. 81 to 95 say the same as another code,
with a readmission planned. 21 means court or law enforcement to NUBC and death to some state tables (HL7 table 0112):
the words say both, because nobody should call on either guess (domain.md §2.3).
"""

from types import MappingProxyType
from typing import Final

_WORDS: Final = MappingProxyType(
    {
        "01": "home",
        "02": "transferred to another hospital",
        "03": "skilled nursing facility",
        "04": "custodial or supportive care facility",
        "05": "cancer center or children's hospital",
        "06": "home with home health care",
        "07": "left against medical advice",
        "08": "home with home infusion",
        "09": "admitted to this hospital as an inpatient",
        "20": "died",
        "21": "court or law enforcement, or died (codes differ by state)",
        "30": "still a patient",
        "40": "died at home",
        "41": "died in a medical facility",
        "42": "died, place unknown",
        "43": "federal hospital",
        "50": "hospice at home",
        "51": "hospice in a facility",
        "61": "swing bed of this hospital",
        "62": "inpatient rehabilitation",
        "63": "long-term care hospital",
        "64": "nursing facility under Medicaid",
        "65": "psychiatric hospital or unit",
        "66": "critical access hospital",
        "69": "disaster alternative care site",
        "70": "another kind of health care institution",
    }
)

_PLANNED_READMISSION: Final = MappingProxyType(
    {
        "81": "01",
        "82": "02",
        "83": "03",
        "84": "04",
        "85": "05",
        "86": "06",
        "87": "21",
        "88": "43",
        "89": "61",
        "90": "62",
        "91": "63",
        "92": "64",
        "93": "65",
        "94": "66",
        "95": "70",
    }
)
_STILL_IN: Final = frozenset(str(code) for code in range(31, 40))
_UNASSIGNED: Final = frozenset(str(code) for code in range(10, 20))
_STATE_DEFINED: Final = frozenset(str(code) for code in range(22, 30))


def disposition_words(code: str | None) -> str | None:
    """Return what a disposition code says, or `None` for a code that means nothing to us."""
    if code is None:
        return None
    planned = _PLANNED_READMISSION.get(code)
    if planned is not None:
        return f"{_WORDS[planned]}, readmission planned"
    if code in _WORDS:
        return _WORDS[code]
    if code in _STILL_IN:
        return _WORDS["30"]
    if code in _STATE_DEFINED:
        return "defined by the state, or died"
    return "destination unknown" if code in _UNASSIGNED else None
