"""What a hospital says in one message, before it is written as HL7.

Owns the values between the stories and the writer. Promise: moments are aware instants and everything else is in
words of the simulation's own (ActCode classes, NUBC dispositions) or in the sender's words where a story needs them;
local spelling, zones and field positions are the writer's business.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from services.simulator.hospitals import Hospital, Site
from services.simulator.people import Person

Null = Literal['""']
NULL: Final[Null] = '""'
"""HL7's explicit null: the sender deletes the value (v2.5.1 ch. 2.5.3)."""

Processing = Literal["P", "T", "D", "P^I"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A person as a hospital has them on file; `person` holds what the hospital believes."""

    person: Person
    record_number: str
    shows_birth_date: bool = True
    shows_ssn4: bool = True
    shows_mbi: bool = False
    placeholder_phone: str = ""
    """Written in place of the telephone where not empty."""
    placeholder_ssn: str = ""
    died_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """Where the patient lies."""

    unit: str
    room: str
    bed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The sender's view of a patient and a visit at the moment of sending (PV1 is a snapshot: domain.md §2.0)."""

    registration: Registration
    site: Site
    act_class: str
    """HL7 v3 ActCode, or a local word that stays as it is."""
    visit_number: str
    """Empty where the hospital has none or does not say."""
    bed: Bed
    admitted: datetime | None
    discharged: datetime | Null | None = None
    discharge_is_day: bool = False
    """Whether only the day of the discharge is written."""
    disposition: str = ""
    """NUBC code, or a local word that stays as it is."""
    expected_discharge: datetime | None = None
    """PV2-9."""
    reason: str
    diagnosis: tuple[str, str]
    """ICD-10-CM code and text."""
    attending: str
    """XCN as written."""
    processing: Processing = "P"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One message to be: what is said, by whom, and when it was sent, recorded and (EVN-6) happened."""

    hospital: Hospital
    story: str
    patient_key: str
    message_type: Literal["ADT", "ORU", "SIU"] = "ADT"
    trigger: str
    sent: datetime
    recorded: datetime
    occurred: datetime | None
    snapshot: Snapshot
    merged_number: str = ""
    """MRG-1 of an A40."""
