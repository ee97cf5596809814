"""What a story may use: a hospital, people, a panel to put them on, and the time.

Owns the enrollment of people on the panel and the ways in which a hospital's record of a person can be recognized as
theirs. Promise: whoever is enrolled with a `Link` has exactly the evidence that the link names, no less: a record
number or a Medicare number that name or birth date confirms, or name, birth date and one more of telephone, home and
the last four of the social security number. Source: the matching rule of the product's description, not its code.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final, Literal

from services.simulator.hospitals import Hospital, Site
from services.simulator.people import Person, Population
from services.simulator.statements import Registration
from services.simulator.wall_time import WallClock

Link = Literal["record-number", "record-number-and-name", "medicare", "phone", "home", "ssn4"]
LINKS: Final[tuple[Link, ...]] = (
    "record-number", "record-number", "record-number", "record-number-and-name", "medicare", "phone", "home", "ssn4",
)  # fmt: skip
"""Ways to be recognized; most are by record number."""

_MIDDLE_LEFT_OUT: Final = 0.3
_JUST_NOW: Final = timedelta(minutes=5)
"""Nothing is stated later than this before now, so that no statement lies in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelRow:
    """A row of the practice's panel."""

    patient_id: str
    person: Person
    identifiers: tuple[str, ...]
    effective_from: date | None
    effective_to: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A person as a hospital has them on file, and their panel id if they are on the panel."""

    registration: Registration
    patient_id: str | None

    @property
    def key(self) -> str:
        """Return the key of the person."""
        return self.registration.person.key


@dataclass(slots=True, kw_only=True)
class Clocks:
    """The wall clocks of the simulation, by zone."""

    first: datetime
    last: datetime
    _by_zone: dict[str, WallClock] = field(default_factory=dict)

    def of(self, zone: str) -> WallClock:
        """Return the clock of a zone."""
        if zone not in self._by_zone:
            self._by_zone[zone] = WallClock(zone, first=self.first, last=self.last)
        return self._by_zone[zone]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everything that one story may use."""

    story: str
    rng: random.Random
    now: datetime
    hospital: Hospital
    site: Site
    population: Population
    clocks: Clocks
    panel: list[PanelRow]
    """Grows as people are enrolled."""

    def ago(self, least_h: float, most_h: float) -> datetime:
        """Return a full minute between two numbers of hours before now."""
        minutes = self.rng.randint(round(least_h * 60), round(most_h * 60))
        return (self.now - timedelta(minutes=minutes)).replace(second=0, microsecond=0)

    @property
    def latest(self) -> datetime:
        """Return the last moment at which something may be stated."""
        return self.now - _JUST_NOW

    def day(self, moment: datetime) -> date:
        """Return the date on the calendar at the site."""
        return self.clocks.of(self.site.zone).show(moment).date()

    def stranger(self, person: Person | None = None) -> Subject:
        """Register somebody at the hospital who is not on the panel."""
        registration = Registration(
            person=person or self.population.person(), record_number=self.population.number(), shows_mbi=True
        )
        return Subject(registration=registration, patient_id=None)

    def member(self, link: Link | None = None, person: Person | None = None) -> Subject:
        """Register somebody at the hospital who is on the panel and can be recognized by ``link``."""
        person = person or self.population.person()
        chosen: Link = self.rng.choice(LINKS) if link is None else link
        if chosen == "medicare" and not person.mbi:
            chosen = "record-number"
        registration = _registered(person, chosen, self)
        identifiers = _known_identifiers(registration, chosen, self)
        return Subject(registration=registration, patient_id=self.enroll(person, *identifiers))

    def enroll(
        self,
        person: Person,
        *identifiers: str,
        effective_from: date | None = None,
        effective_to: date | None = None,
    ) -> str:
        """Put a person on the panel and return the panel's id."""
        row = PanelRow(
            patient_id=f"P{len(self.panel) + 1:05d}",
            person=person,
            identifiers=identifiers,
            effective_from=effective_from,
            effective_to=effective_to,
        )
        self.panel.append(row)
        return row.patient_id

    def record_number(self, registration: Registration) -> str:
        """Return the registration's record number as the panel writes it (CX)."""
        return f"{registration.record_number}^^^{self.site.authority}^MR"


def _registered(person: Person, link: Link, cast: Cast) -> Registration:
    """Return the hospital's record of a person, with nothing but the link's evidence where it has no number."""
    believed = replace(person, middle="") if cast.rng.random() < _MIDDLE_LEFT_OUT else person
    if link in ("phone", "ssn4"):
        believed = cast.population.moved(believed)
    if link in ("home", "ssn4"):
        believed = cast.population.with_other_phone(believed)
    return Registration(
        person=believed,
        record_number=cast.population.number(),
        shows_birth_date=link != "record-number-and-name",
        shows_ssn4=link not in ("phone", "home"),
        shows_mbi=link == "medicare" or (link.startswith("record-number") and cast.rng.random() < 0.5),
    )


def _known_identifiers(registration: Registration, link: Link, cast: Cast) -> tuple[str, ...]:
    """Return what the panel knows the person by."""
    person = registration.person
    elsewhere = f"{cast.population.number()}^^^WESTSIDE_CLINIC^MR"
    if link == "medicare":
        return (elsewhere, f"{person.mbi}^^^CMS^MC")
    if link.startswith("record-number"):
        return (cast.record_number(registration),)
    return (elsewhere,) if cast.rng.random() < 0.5 else ()
