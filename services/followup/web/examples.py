"""One task as an example, for the interface's own documentation. The people in it are invented."""

from datetime import UTC, date, datetime
from typing import Final

from services.followup.usecases.worklist_items import (
    AttemptSummary,
    ContactPerson,
    EncounterClass,
    ItemDisposition,
    ItemFacility,
    ItemPatient,
    ItemStay,
    MatchBasis,
    WorklistItem,
)

EXAMPLE_ITEM: Final = WorklistItem(
    id="0b8f6c1e-6a52-5f0e-9c40-2f7a1d1c9e01",
    version=3,
    episode_id="4a7d9b22-1c33-5d1f-8a6e-90b1f2c3d4e5",
    kind="contact",
    status="in-progress",
    status_reason=None,
    priority="routine",
    due_on=date(2026, 11, 24),
    last_on=date(2026, 11, 24),
    due_at=datetime(2026, 11, 25, 5, tzinfo=UTC),
    work_by=date(2026, 11, 24),
    zone="America/New_York",
    protocol="transitional-care/1",
    owner="Kim Lee",
    created_at=datetime(2026, 11, 20, 19, 31, 30, tzinfo=UTC),
    attempts=AttemptSummary(count=1, last_at=datetime(2026, 11, 23, 15, 10, tzinfo=UTC), last_outcome="voicemail"),
    warnings=(),
    match=MatchBasis(rule="identifier"),
    patient=ItemPatient(
        id="P-1001",
        family="Ruiz",
        given="Ana",
        birth_date=date(1952, 3, 9),
        sex="F",
        deceased=False,
        language="Spanish",
        phones=("212-555-0147",),
        contact=ContactPerson(name="Ana Ruiz", relation="self", phone="212-555-0147"),
    ),
    stay=ItemStay(
        facility=ItemFacility(code="MERCY", name="Mercy Hospital"),
        visit_number="V20261117",
        class_=EncounterClass(code="IMP", raw="I"),
        admitted_at=datetime(2026, 11, 17, 13, 5, tzinfo=UTC),
        discharged_at=datetime(2026, 11, 20, 19, 30, tzinfo=UTC),
        discharged_on=date(2026, 11, 20),
        discharge_basis="explicit",
        disposition=ItemDisposition(code="01", raw="01", text="home"),
    ),
)
