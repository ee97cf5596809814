"""One hospital stay, told message by message.

Owns the telling: each statement is a snapshot with its changes, sent after what it tells and minutes after the one
before it, so that a stay's truth never hangs on the order of two statements within a minute (domain.md §2.5 rule 2).
Promise: nothing is stated later than `Cast.latest`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypedDict, Unpack

from services.simulator.cast import Cast, Subject
from services.simulator.statements import Bed, Draft, Null, Processing, Registration, Snapshot

_REASONS: Final = (
    ("chest pain & dyspnea", ("I50.9", "Heart failure, unspecified")),
    ("fall at home", ("S72.001A", "Fracture of unspecified part of neck of right femur")),
    ("fever, confusion", ("A41.9", "Sepsis, unspecified organism")),
    ("shortness of breath", ("J44.1", "Chronic obstructive pulmonary disease w acute exacerbation")),
    ("abdominal pain", ("K57.32", "Diverticulitis of large intestine w/o perforation")),
    ("weakness L side", ("I63.9", "Cerebral infarction, unspecified")),
    ("low mood", ("F32.9", "Major depressive disorder, single episode, unspecified")),
)
_DOCTORS: Final = ("D1043^NGUYEN^LINH^T^^DR", "D2207^ADEYEMI^BOLA^^^DR", "D3310^SORENSEN^KAI^M^^DR")
_UNITS: Final = ("3WEST", "4EAST", "ICU", "TELE", "ONC")
_APART: Final = timedelta(minutes=3)
"""Least time between two statements of a stay."""
_BEFORE: Final = timedelta(days=60)
"""How long before a stay something may be said of it."""


CANCELS: Final = frozenset({"A11", "A12", "A13"})


class Changes(TypedDict, total=False):
    """What a statement changes in the sender's view."""

    registration: Registration
    act_class: str
    visit_number: str
    bed: Bed
    admitted: datetime | None
    discharged: datetime | Null | None
    discharge_is_day: bool
    disposition: str
    expected_discharge: datetime | None
    processing: Processing


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long stays of a class last, in hours."""

    least_h: float
    most_h: float


_LENGTHS: Final = {
    "IMP": Length(least_h=22, most_h=150),
    "OBSENC": Length(least_h=9, most_h=40),
    "EMER": Length(least_h=2.5, most_h=9),
}
_OTHER_LENGTH: Final = Length(least_h=2, most_h=6)


class Stay:
    """A stay of a subject at the cast's hospital; every `say` is one message more."""

    def __init__(
        self, cast: Cast, subject: Subject, *, act_class: str, ends: datetime, begins: datetime | None = None
    ) -> None:
        """Plan a stay that ends, or would end, at ``ends``; without ``begins`` it has a usual length for its class."""
        rng = cast.rng
        length = _LENGTHS.get(act_class, _OTHER_LENGTH)
        hours = rng.uniform(length.least_h, length.most_h)
        reason, diagnosis = rng.choice(_REASONS)
        self.cast = cast
        self.subject = subject
        self.begins = begins or ends - timedelta(minutes=round(hours * 60))
        self.ends = ends
        self.drafts: list[Draft] = []
        self.now = self.begins - _BEFORE
        """Where the telling stands: when the last statement was sent."""
        self.view = Snapshot(
            registration=subject.registration,
            site=cast.site,
            act_class=act_class,
            visit_number=cast.population.number(prefix="V", digits=8) if cast.hospital.visit_numbers else "",
            bed=self.another_bed(),
            admitted=self.begins,
            reason=reason,
            diagnosis=diagnosis,
            attending=rng.choice(_DOCTORS),
        )

    def another_bed(self) -> Bed:
        """Return a bed."""
        rng = self.cast.rng
        return Bed(unit=rng.choice(_UNITS), room=str(rng.randint(301, 488)), bed=rng.choice("AB"))

    def say(self, trigger: str, at: datetime, *, names: datetime | None = None, **changes: Unpack[Changes]) -> None:
        """Tell, at ``at``, what just happened; ``names`` is when it happened where that was another time (EVN-6).

        A cancel names the time of what it cancels, or nothing.
        """
        cast = self.cast
        self.view = replace(self.view, **changes)
        told = at + timedelta(seconds=cast.rng.randint(60, 600))
        sent = max(told, self.now + _APART + timedelta(seconds=cast.rng.randint(0, 240)))
        assert sent <= cast.now, f"{cast.story}: a statement would lie in the future"
        happened = names if trigger in CANCELS else names or at
        self.drafts.append(
            Draft(
                hospital=cast.hospital,
                story=cast.story,
                patient_key=self.subject.key,
                trigger=trigger,
                sent=sent,
                recorded=sent - timedelta(seconds=cast.rng.randint(1, 45)),
                occurred=happened if cast.hospital.event_times else None,
                snapshot=self.view,
            )
        )
        self.now = sent

    def admit(self, trigger: str = "A01", **changes: Unpack[Changes]) -> None:
        """Tell the arrival."""
        self.say(trigger, self.begins, **changes)

    def go_on(self, *, until: datetime | None = None) -> None:
        """Tell of some days in the house: beds change, registration is updated."""
        rng = self.cast.rng
        span = (until or self.ends) - self.now
        moments = sorted(rng.uniform(0.1, 0.8) for _ in range(rng.randint(0, 3)))
        begin = self.now
        for share in moments:
            at = (begin + span * share).replace(second=0, microsecond=0)
            if rng.random() < 0.5:
                self.say("A02", at, bed=self.another_bed())
            else:
                self.say("A08", at)

    def discharge(self, code: str, **changes: Unpack[Changes]) -> None:
        """Tell that the stay ended when it was to end, and by its disposition where to."""
        told: Changes = {"discharged": self.ends, "disposition": code, **changes}
        self.say("A03", self.ends, **told)

    def later(self, least_h: float, most_h: float) -> datetime:
        """Return a full minute that many hours after the last statement."""
        minutes = self.cast.rng.randint(round(least_h * 60), round(most_h * 60))
        return (self.now + timedelta(minutes=minutes)).replace(second=0, microsecond=0)

    def paperwork(self, most: int = 3) -> None:
        """Tell of billing and coding after the stay: updates that say nothing new, some of them leaving fields out."""
        rng = self.cast.rng
        kept = self.view
        for _ in range(rng.randint(0, most)):
            at = self.later(0.3, 20)
            if at + timedelta(minutes=20) > self.cast.latest:
                break
            self.view = kept
            if rng.random() < 0.4:
                self.say("A08", at, discharged=None, disposition="")
            else:
                self.say("A08", at)
        self.view = kept

    def repeat_last(self) -> None:
        """Tell the last thing again, with a new control id and a new time of sending."""
        last = self.drafts[-1]
        at = self.now + timedelta(minutes=5)
        if at + timedelta(minutes=10) < self.cast.latest:
            self.say(last.trigger, at, names=last.occurred)
            self.drafts[-1] = replace(self.drafts[-1], recorded=last.recorded, snapshot=last.snapshot)
