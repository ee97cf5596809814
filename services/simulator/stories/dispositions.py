"""Stories that differ in where the person went.

Source: NUBC FL17 patient status codes and HL7 table 0112 as tabled in domain.md §2.3; CMS TCM on where to.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.simulator.cast import Cast
from services.simulator.hospitals import UNMAPPED_DISPOSITION
from services.simulator.stories.telling import (
    DAY_H,
    HOME,
    RECENT,
    ROOMY,
    Story,
    Told,
    asked,
    begin,
    followed,
    nothing,
)

_TRANSFER: Final = ("02", "05", "65", "66")
_POST_ACUTE: Final = ("03", "61", "62", "63")
_CUSTODIAL: Final = ("04", "64")
_TRANSFER_FRESH: Final = (3.0, 18.0)
_TRANSFER_STALE: Final = ((28.0, 44.0), (44.0, 26 * DAY_H))
"""A transfer waits 24 hours for an arrival elsewhere: both sides keep hours away from that edge."""
_POST_ACUTE_FRESH: Final = (6.0, 12 * DAY_H)
_POST_ACUTE_STALE: Final = (16 * DAY_H, 26 * DAY_H)
"""Post-acute care is looked after at 14 days: both sides keep days away from that edge."""


def _ended(code: str, why: str) -> Callable[[Cast], Told]:
    """Return the telling of a stay whose disposition leaves nothing to follow up."""

    def tell(cast: Cast) -> Told:
        stay = begin(cast, cast.ago(*RECENT))
        stay.discharge(code)
        stay.paperwork()
        return nothing(stay, why)

    return tell


def tell_custodial(cast: Cast) -> Told:
    """Tell of a stay that ends in custodial care."""
    stay = begin(cast, cast.ago(*RECENT))
    stay.discharge(cast.rng.choice(_CUSTODIAL))
    return followed(stay, "Went to a custodial facility, which counts as going home.")


def tell_against_advice(cast: Cast) -> Told:
    """Tell of somebody who left against advice."""
    stay = begin(cast, cast.ago(*RECENT))
    stay.discharge("07")
    return followed(stay, "Left against medical advice: call the same day.", priority="urgent")


def tell_transferred(cast: Cast) -> Told:
    """Tell of a transfer to another hospital within the last day."""
    stay = begin(cast, cast.ago(*_TRANSFER_FRESH))
    stay.discharge(cast.rng.choice(_TRANSFER))
    return followed(stay, "Was taken to another hospital: wait a day for the arrival there.", status="on-hold")


def tell_transferred_and_lost(cast: Cast) -> Told:
    """Tell of a transfer after which nobody was seen to arrive."""
    stay = begin(cast, cast.ago(*cast.rng.choice(_TRANSFER_STALE)))
    stay.discharge(cast.rng.choice(_TRANSFER))
    return followed(stay, "Was taken to another hospital more than a day ago and arrived nowhere: find out.")


def tell_post_acute(cast: Cast) -> Told:
    """Tell of a stay that goes on in skilled nursing or rehabilitation."""
    stay = begin(cast, cast.ago(*_POST_ACUTE_FRESH))
    stay.discharge(cast.rng.choice(_POST_ACUTE))
    return followed(stay, "Went on to post-acute care: wait for the discharge from there.", status="on-hold")


def tell_post_acute_long_ago(cast: Cast) -> Told:
    """Tell of somebody who went to post-acute care more than two weeks ago."""
    stay = begin(cast, cast.ago(*_POST_ACUTE_STALE))
    stay.discharge(cast.rng.choice(_POST_ACUTE))
    return followed(stay, "Went to post-acute care more than 14 days ago: check where they are.")


def tell_died_of_record(cast: Cast) -> Told:
    """Tell of a discharge home after which the hospital reports the death."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge("01")
    died_at = stay.later(10, 40)
    stay.say("A08", died_at, registration=replace(stay.view.registration, died_at=died_at))
    return nothing(stay, "Went home and died there, which the hospital recorded: nobody is called.")


def tell_court(cast: Cast) -> Told:
    """Tell of a disposition that means police to some and death to others."""
    stay = begin(cast, cast.ago(*RECENT))
    stay.discharge("21")
    return asked(stay, "21 is police custody or death, depending on whom one asks.", "custody, or died?")


def tell_interim_bill(cast: Cast) -> Told:
    """Tell of an interim bill sent as a discharge, and of the real discharge days later."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge("30")
    stay.ends += timedelta(minutes=cast.rng.randint(1500, 4000))
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "The first was an interim bill; went home days later.")


def tell_unknown_destination(cast: Cast) -> Told:
    """Tell of a discharge that does not say where to."""
    stay = begin(cast, cast.ago(*RECENT))
    stay.discharge(cast.rng.choice(("", "", UNMAPPED_DISPOSITION)))
    stay.paperwork()
    return followed(stay, "Left, and nobody says where to: call, and verify.")


def tell_admitted_here(cast: Cast) -> Told:
    """Tell of a discharge into the same hospital after which no admission was seen."""
    stay = begin(cast, cast.ago(*cast.rng.choice(_TRANSFER_STALE)))
    stay.discharge("09")
    return asked(stay, "Said to be admitted to the same hospital, and was not.", "admitted here, or gone?")


STORIES: Final = (
    Story(name="custodial", tell=tell_custodial, weight=2),
    Story(name="against-advice", tell=tell_against_advice, weight=3),
    Story(name="transferred", tell=tell_transferred, weight=2),
    Story(name="transferred-and-lost", tell=tell_transferred_and_lost),
    Story(name="post-acute", tell=tell_post_acute, weight=3),
    Story(name="post-acute-long-ago", tell=tell_post_acute_long_ago),
    Story(name="died", tell=_ended("20", "Died in the hospital: nobody is called."), weight=2),
    Story(name="died-in-hospice", tell=_ended("41", "Died in hospice care: nobody is called.")),
    Story(name="hospice-home", tell=_ended("50", "Went home with hospice: left in peace.")),
    Story(name="hospice-facility", tell=_ended("51", "Went to a hospice: left in peace.")),
    Story(name="still-a-patient", tell=_ended("30", "Still a patient: an interim bill is no discharge."), weight=2),
    Story(name="died-after-discharge", tell=tell_died_of_record),
    Story(name="court", tell=tell_court),
    Story(name="interim-bill", tell=tell_interim_bill),
    Story(name="unknown-destination", tell=tell_unknown_destination, weight=2),
    Story(name="admitted-here", tell=tell_admitted_here),
)
