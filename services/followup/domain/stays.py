"""The stay that people see: a view computed from its joined fragments, and for every field which message set it.

Nothing here is kept as state of its own: the same fragments give the same view, whatever came first (promise P7).
Sources: domain §2.0, §2.3 and §2.5; HL7 v2.5.1 ch. 3.4.3 (PV1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from services.followup.domain.discharges import (
    StandingDischarge,
    is_canceled,
    standing_discharge,
    standing_disposition,
)
from services.followup.domain.fragments import Fragment
from services.followup.domain.grouping import joined, zone_of
from services.followup.domain.statements import unpack
from services.followup.domain.times import StatedTime, from_microseconds, microseconds

STILL_A_PATIENT: Final = frozenset(str(code) for code in range(30, 40))
"""NUBC FL 17 dispositions that say the patient is still in: an interim bill, not a discharge (domain §2.3)."""

StayStatus = Literal["planned", "in-progress", "finished", "cancelled"]
Basis = Literal["explicit", "inferred"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StayView:
    """A stay computed from joined fragments.

    `discharged_at` is `None` while the patient is in, and where only the day is known; `discharged_on` is local to
    the facility. `said_by` names for every field the event that set it. Codes: class in HL7 v3 ActCode words,
    disposition in two-digit NUBC FL 17 codes; `raw` as sent.
    """

    fragment_keys: tuple[str, ...]
    status: StayStatus
    visit_authority: str | None = None
    visit_number: str | None = None
    class_code: str | None = None
    class_raw: str | None = None
    facility_code: str | None = None
    facility_name: str | None = None
    zone: str = "UTC"
    admitted_at: datetime | None = None
    discharged_at: datetime | None = None
    discharged_on: date | None = None
    discharge_basis: Basis | None = None
    disposition_code: str | None = None
    disposition_raw: str | None = None
    disposition_text: str | None = None
    learned_at: datetime | None = None
    makes_tasks: bool = False
    """Whether a message that the feed admits stated the discharge."""
    undischarged_reason: str | None = None
    """Why a stated discharge is not one (`still-a-patient`)."""
    deceased: bool = False
    reason: str | None = None
    location: str | None = None
    said_by: dict[str, str]


def view_stay(fragments: Sequence[Fragment]) -> StayView:
    """Compute the stay that a group of fragments tells."""
    state = joined(fragments)
    zone = zone_of(state)
    canceled = is_canceled(state)
    stated = None if canceled else standing_discharge(state, zone)
    disposition = _disposition_of(state, stated, zone)
    denied = stated is not None and disposition.code in STILL_A_PATIENT
    discharge = None if denied else stated
    numbered = next((one for one in fragments if one.visit_number), None)
    class_code, class_raw = _parts(state, "class", 2)
    facility_code, facility_name, _ = _parts(state, "facility", 3)
    return StayView(
        fragment_keys=tuple(sorted(fragment.key for fragment in fragments)),
        status=_status(state, discharge=discharge, canceled=canceled),
        visit_authority=numbered.visit_authority if numbered else None,
        visit_number=numbered.visit_number if numbered else None,
        class_code=class_code,
        class_raw=class_raw,
        facility_code=facility_code,
        facility_name=facility_name,
        zone=zone,
        admitted_at=_admitted_at(state, zone),
        discharged_at=None if discharge is None or discharge.time.is_day else discharge.time.instant(zone),
        discharged_on=discharge.time.day(zone) if discharge else None,
        discharge_basis=None if discharge is None else ("explicit" if discharge.explicit else "inferred"),
        disposition_code=disposition.code,
        disposition_raw=disposition.raw,
        disposition_text=disposition.text,
        learned_at=from_microseconds(discharge.learned_us) if discharge else None,
        makes_tasks=discharge is not None and discharge.makes_tasks,
        undischarged_reason="still-a-patient" if denied else None,
        deceased=_text(state, "deceased") == "1",
        reason=_text(state, "reason"),
        location=_text(state, "location"),
        said_by=_said_by(state, discharge),
    )


@dataclass(frozen=True, slots=True)
class _Disposition:
    code: str | None = None
    raw: str | None = None
    text: str | None = None


def _disposition_of(state: Fragment, discharge: StandingDischarge | None, zone: str) -> _Disposition:
    """Return the disposition of the discharge; "still a patient" only if stated at or after it (rule 4)."""
    said = standing_disposition(state)
    if said is None or said.value is None:
        return _Disposition()
    disposition = _Disposition(*unpack(said.value, 3))
    if disposition.code in STILL_A_PATIENT and discharge is not None:
        ended_us = microseconds(discharge.time.instant(zone))
        if said.order.sent_us < ended_us:
            return _Disposition()
    return disposition


def _parts(state: Fragment, name: str, width: int) -> tuple[str | None, ...]:
    text = _text(state, name)
    return unpack(text, width) if text else (None,) * width


def _text(state: Fragment, name: str) -> str | None:
    said = state.fields.get(name)
    return said.value if said else None


def _status(state: Fragment, *, discharge: StandingDischarge | None, canceled: bool) -> StayStatus:
    if canceled:
        return "cancelled"
    if discharge is not None:
        return "finished"
    planned = state.admissions and all(one.trigger == "A05" for one in state.admissions.values())
    return "planned" if planned else "in-progress"


def _admitted_at(state: Fragment, zone: str) -> datetime | None:
    stated = _text(state, "admitted_at")
    if stated is not None:
        local, offset = unpack(stated, 2)
        return StatedTime(local=local or "", offset_minutes=int(offset) if offset else None).instant(zone)
    arrivals = [one for one in state.admissions.values() if one.trigger != "A07"]
    return max(arrivals, key=lambda one: one.order).time.instant(zone) if arrivals else None


def _said_by(state: Fragment, discharge: StandingDischarge | None) -> dict[str, str]:
    said_by = {name: said.order.event_id for name, said in sorted(state.fields.items())}
    if discharge is not None:
        said_by["discharged_at"] = discharge.said_by
    return said_by
