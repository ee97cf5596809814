"""Stories in which the hospital takes something back.

Source: HL7 v2.5.1 ch. 3.3.11 (A11), 3.3.13 (A13); domain.md §2.1 and §2.5 rule 2. EVN-6 of a cancel is the time of
what it cancels; some senders leave it out, some leave PV1-45 filled, some say it with an emptied PV1-45 on an A08.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.simulator.cast import Cast
from services.simulator.statements import NULL, Null
from services.simulator.stays import Stay
from services.simulator.stories.telling import HOME, ROOMY, Story, Told, begin, followed, nothing


def tell_discharge_canceled(cast: Cast) -> Told:
    """Tell of a discharge that was canceled; the person is still in."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge(cast.rng.choice((*HOME, "20", "03")))
    _cancel_discharge(stay)
    return nothing(stay, "The discharge was canceled: the person is still in the hospital.")


def tell_discharge_emptied(cast: Cast) -> Told:
    """Tell of a discharge that an update deleted."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge(cast.rng.choice(HOME))
    stay.say("A08", stay.later(0.3, 20), discharged=NULL, disposition="")
    return nothing(stay, "The hospital deleted the discharge: the person is still in.")


def tell_discharged_again(cast: Cast) -> Told:
    """Tell of a discharge that was canceled and of the real one a day or two later."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge(cast.rng.choice((*HOME, "03")))
    _cancel_discharge(stay)
    stay.ends += timedelta(minutes=cast.rng.randint(1800, 3400))
    stay.discharge(cast.rng.choice(HOME))
    stay.paperwork()
    return followed(stay, "The first discharge was canceled; the second one counts.")


def tell_cancel_was_wrong(cast: Cast) -> Told:
    """Tell of a discharge that was canceled by mistake and stated again with the same time."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge("01")
    _cancel_discharge(stay)
    stay.say("A03", stay.later(0.2, 2), names=stay.ends, discharged=stay.ends, disposition="01")
    return followed(stay, "Canceled by mistake and stated again: the person did go home.")


def tell_death_canceled(cast: Cast) -> Told:
    """Tell of a death that was a mistake: the person left later."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge("20")
    _cancel_discharge(stay)
    stay.ends += timedelta(minutes=cast.rng.randint(1600, 3000))
    stay.discharge("")
    return followed(stay, "The death was canceled as a mistake; the person left later, nobody says where to.")


def tell_admission_canceled(cast: Cast) -> Told:
    """Tell of an admission that was canceled."""
    stay = begin(cast, cast.ago(*ROOMY))
    _cancel_admission(stay)
    return nothing(stay, "The admission was canceled: there was no stay.")


def tell_visit_canceled_after_discharge(cast: Cast) -> Told:
    """Tell of a whole visit, discharge included, that was entered for the wrong person and canceled."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge("01")
    _cancel_admission(stay)
    return nothing(stay, "The whole visit was canceled after its discharge: there was no stay.")


def tell_admitted_again(cast: Cast) -> Told:
    """Tell of an admission that was canceled and entered again with the right time."""
    ends = cast.ago(*ROOMY)
    begins = ends - timedelta(minutes=cast.rng.randint(2800, 6000))
    stay = Stay(cast, cast.member(), act_class="IMP", begins=begins, ends=ends)
    stay.admit()
    _cancel_admission(stay)
    stay.begins = stay.later(2, 6)
    stay.admit(admitted=stay.begins)
    stay.go_on()
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "The admission was canceled and entered again; the person went home.")


def _cancel_discharge(stay: Stay) -> None:
    """Tell an A13 in one of the ways that senders have."""
    rng = stay.cast.rng
    left: datetime | Null | None = rng.choice((None, None, stay.ends, NULL))
    names = stay.ends if rng.random() < 0.7 else None
    stay.say("A13", stay.later(0.2, 12), names=names, discharged=left, disposition="")
    stay.view = replace(stay.view, discharged=None)


def _cancel_admission(stay: Stay) -> None:
    """Tell an A11, naming the admission or not."""
    names = stay.begins if stay.cast.rng.random() < 0.7 else None
    stay.say("A11", stay.later(0.2, 3), names=names)


STORIES: Final = (
    Story(name="discharge-canceled", tell=tell_discharge_canceled, weight=3),
    Story(name="discharge-emptied", tell=tell_discharge_emptied),
    Story(name="discharged-again", tell=tell_discharged_again, weight=3),
    Story(name="cancel-was-wrong", tell=tell_cancel_was_wrong),
    Story(name="death-canceled", tell=tell_death_canceled),
    Story(name="admission-canceled", tell=tell_admission_canceled, weight=2),
    Story(name="visit-canceled-after-discharge", tell=tell_visit_canceled_after_discharge),
    Story(name="admitted-again", tell=tell_admitted_again, needs_visit_numbers=True),
)
