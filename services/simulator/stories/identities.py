"""Stories about who it is: strangers, twins, namesakes, shared and reused numbers.

Source: domain.md §2.4 (11, 15) and §2.5 rule 11. A task for the wrong person is the worst outcome there is: all of
these people went home, and for most of them nobody on the panel must be called.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.simulator.cast import Cast, Subject
from services.simulator.people import Person
from services.simulator.statements import Registration
from services.simulator.stays import Stay
from services.simulator.stories.telling import HOME, RECENT, Story, Told, asked, begin, followed, nothing

_FILLER_PHONES: Final = ("9999999999", "0000000000")
_FILLER_SSNS: Final = (("9999", "999-99-9999"), ("9999", "XXX-XX-9999"), ("0000", "000000000"), ("0000", "0000"))
"""What the panel has beside what the hospital writes."""


def tell_stranger(cast: Cast) -> Told:
    """Tell of somebody who is not on the panel."""
    return nothing(_went_home(cast, cast.stranger()), "Not on the panel.")


def tell_twin_off_the_panel(cast: Cast) -> Told:
    """Tell of a twin who went home while the other twin is on the panel."""
    subject = cast.member("record-number")
    twin = cast.stranger(cast.population.twin_of(subject.registration.person))
    return asked_or_nothing(_went_home(cast, twin), "Not on the panel; the twin who is there stayed at home.")


def tell_twins(cast: Cast) -> Told:
    """Tell of twins on the panel of whom one went home from the hospital."""
    subject = cast.member("record-number")
    cast.member("record-number", cast.population.twin_of(subject.registration.person))
    return followed(_went_home(cast, subject), "Of the twins on the panel, this one was in the hospital.")


def tell_namesake(cast: Cast) -> Told:
    """Tell of somebody with the name of a panel patient and another birth date."""
    person = _on_panel(cast)
    stranger = cast.stranger(cast.population.namesake_of(person))
    return asked_or_nothing(_went_home(cast, stranger), "Shares only the name with somebody on the panel.")


def tell_parent(cast: Cast) -> Told:
    """Tell of a parent with the name, the home and the telephone of a panel patient."""
    person = _on_panel(cast)
    stranger = cast.stranger(cast.population.parent_of(person))
    return asked_or_nothing(_went_home(cast, stranger), "The parent, of the same name, of somebody on the panel.")


def tell_double(cast: Cast) -> Told:
    """Tell of a stranger with the name and birth date of a panel patient, and nothing else of theirs."""
    person = _on_panel(cast)
    stranger = cast.stranger(cast.population.double_of(person))
    return asked_or_nothing(_went_home(cast, stranger), "Same name and birth date as somebody on the panel, no more.")


def tell_placeholders(cast: Cast) -> Told:
    """Tell of a double whose telephone and social security number are the same fillers as on the panel."""
    phone = cast.rng.choice(_FILLER_PHONES)
    ssn4, ssn = cast.rng.choice(_FILLER_SSNS)
    person = replace(cast.population.person(), phone=phone, ssn4=ssn4)
    cast.enroll(person)
    registration = Registration(
        person=cast.population.double_of(person),
        record_number=cast.population.number(),
        placeholder_phone=phone,
        placeholder_ssn=ssn,
    )
    stay = _went_home(cast, Subject(registration=registration, patient_id=None))
    return asked_or_nothing(stay, "Same name and birth date as somebody on the panel; what else agrees is filler.")


def tell_number_of_another(cast: Cast) -> Told:
    """Tell of a stranger under the record number of a panel patient whom name and birth date contradict."""
    subject = cast.member("record-number")
    stranger = replace(subject.registration, person=cast.population.person(), shows_mbi=False)
    stay = _went_home(cast, Subject(registration=stranger, patient_id=None))
    return asked(stay, "The number is a panel patient's, the person is not.", "whose record number is it?")


def tell_chart_of_a_relative(cast: Cast) -> Told:
    """Tell of a twin or a parent who was registered under the record number of a panel patient."""
    subject = cast.member("record-number")
    person = subject.registration.person
    relative = cast.rng.choice((cast.population.twin_of, cast.population.parent_of))(person)
    mixed_up = replace(subject.registration, person=relative, shows_mbi=False)
    stay = _went_home(cast, Subject(registration=mixed_up, patient_id=None))
    return asked(stay, "A relative was registered on a panel patient's chart.", "which of the two was it?")


def tell_same_number_elsewhere(cast: Cast) -> Told:
    """Tell of a stranger whose number at this hospital is a panel patient's number at another one."""
    number = cast.population.number()
    cast.enroll(cast.population.person(), f"{number}^^^WESTSIDE_CLINIC^MR")
    stranger = replace(cast.stranger().registration, record_number=number)
    stay = _went_home(cast, Subject(registration=stranger, patient_id=None))
    return nothing(stay, "Not on the panel; the number is somebody's at another hospital.")


def tell_left_the_panel(cast: Cast) -> Told:
    """Tell of somebody whose time on the panel ended before the discharge, or began after it."""
    person = cast.population.person()
    ends = cast.ago(6 * 24, 20 * 24)
    registration = Registration(person=person, record_number=cast.population.number())
    before, after = cast.day(ends) - timedelta(days=3), cast.day(ends) + timedelta(days=3)
    number = cast.record_number(registration)
    if cast.rng.random() < 0.5:
        patient_id = cast.enroll(person, number, effective_from=before - timedelta(days=400), effective_to=before)
    else:
        patient_id = cast.enroll(person, number, effective_from=after)
    stay = begin(cast, ends, subject=Subject(registration=registration, patient_id=patient_id))
    stay.discharge("01")
    return nothing(stay, "Was not on the panel on the day of the discharge.")


def tell_member_for_now(cast: Cast) -> Told:
    """Tell of somebody whose time on the panel has a beginning and an end, around the discharge."""
    person = cast.population.person()
    ends = cast.ago(*RECENT)
    registration = Registration(person=person, record_number=cast.population.number())
    patient_id = cast.enroll(
        person,
        cast.record_number(registration),
        effective_from=cast.day(ends) - timedelta(days=200),
        effective_to=cast.day(ends) + timedelta(days=100),
    )
    stay = begin(cast, ends, subject=Subject(registration=registration, patient_id=patient_id))
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "Was on the panel on the day of the discharge.")


def asked_or_nothing(stay: Stay, why: str) -> Told:
    """Return a story after which a person may be asked, and no task is right."""
    return asked(stay, why, "is this the person on the panel?", certain=False)


def _on_panel(cast: Cast) -> Person:
    """Put somebody on the panel who stays at home."""
    return cast.member().registration.person


def _went_home(cast: Cast, subject: Subject) -> Stay:
    stay = begin(cast, cast.ago(*RECENT), subject=subject)
    stay.discharge(cast.rng.choice(HOME))
    return stay


STORIES: Final = (
    Story(name="stranger", tell=tell_stranger, weight=12),
    Story(name="twin-off-the-panel", tell=tell_twin_off_the_panel, weight=2),
    Story(name="twins", tell=tell_twins),
    Story(name="namesake", tell=tell_namesake),
    Story(name="parent", tell=tell_parent),
    Story(name="double", tell=tell_double),
    Story(name="placeholders", tell=tell_placeholders),
    Story(name="number-of-another", tell=tell_number_of_another),
    Story(name="chart-of-a-relative", tell=tell_chart_of_a_relative, weight=2),
    Story(name="same-number-elsewhere", tell=tell_same_number_elsewhere),
    Story(name="left-the-panel", tell=tell_left_the_panel),
    Story(name="member-for-now", tell=tell_member_for_now),
)
