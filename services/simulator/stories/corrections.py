"""Stories in which the hospital corrects what it said after the discharge.

Source: domain.md §2.0 (the last statement wins, what happened when is content) and §2.3 (dispositions).
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from services.simulator.cast import Cast
from services.simulator.hospitals import UNMAPPED_CLASS
from services.simulator.stays import Stay
from services.simulator.stories.telling import DAY_H, HOME, ROOMY, Story, Told, begin, followed, nothing

_TELLABLE: Final = (5 * DAY_H, 12 * DAY_H)
"""Like `ROOMY`, and recent enough for a hold of 14 days to be running."""


def tell_time_corrected(cast: Cast) -> Told:
    """Tell of a discharge whose day was wrong, corrected by a second A03 or by an update."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge(cast.rng.choice(HOME))
    earlier = cast.rng.random() < 0.4
    stay.ends += timedelta(minutes=cast.rng.randint(1500, 2600)) * (-1 if earlier and _lasts_days(stay) else 1)
    at = max(stay.ends, stay.later(1, 10))
    stay.say(cast.rng.choice(("A03", "A08")), at, names=stay.ends, discharged=stay.ends)
    stay.paperwork()
    return followed(stay, "The date of the discharge was corrected: the corrected one counts.")


def tell_admission_time_corrected(cast: Cast) -> Told:
    """Tell of an admission whose time was wrong by some minutes."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.say("A08", stay.later(0.1, 0.3), admitted=stay.begins + timedelta(minutes=cast.rng.randint(-40, 40)))
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "The time of the admission was corrected by some minutes: it is one stay all the same.")


def tell_class_to_observation(cast: Cast) -> Told:
    """Tell of an inpatient stay that billing made an observation stay afterwards, or the other way round."""
    first, second = cast.rng.choice((("IMP", "OBSENC"), ("OBSENC", "IMP")))
    stay = begin(cast, cast.ago(*ROOMY), act_class=first)
    stay.discharge("01")
    stay.say("A08", stay.later(2, 40), act_class=second)
    return followed(stay, "Inpatient or observation was settled after the discharge: both are followed.")


def tell_class_to_outpatient(cast: Cast) -> Told:
    """Tell of a stay that billing made outpatient afterwards."""
    stay = begin(cast, cast.ago(*ROOMY), act_class=cast.rng.choice(("IMP", "OBSENC")))
    stay.discharge("01")
    stay.say("A08", stay.later(2, 40), act_class="AMB")
    return nothing(stay, "Was made an outpatient visit after the discharge: not transitional care.")


def tell_class_learned(cast: Cast) -> Told:
    """Tell of a class word that nobody knows, replaced by a known one after the discharge."""
    stay = begin(cast, cast.ago(*ROOMY), act_class=UNMAPPED_CLASS)
    stay.discharge("01")
    stay.say("A08", stay.later(1, 20), act_class="IMP")
    return followed(stay, "The class was unclear until the hospital corrected it to inpatient.")


def _disposition_changed(first: str, second: str, why: str) -> Callable[[Cast], Told]:
    """Return the telling of a disposition that was corrected to one that leaves nothing to follow up."""

    def tell(cast: Cast) -> Told:
        return nothing(_corrected(cast, first, second), why)

    return tell


def _disposition_settled(first: str, second: str, why: str) -> Callable[[Cast], Told]:
    """Return the telling of a disposition that was corrected to one after which the person is followed up."""

    def tell(cast: Cast) -> Told:
        return followed(_corrected(cast, first, second), why)

    return tell


def tell_home_was_skilled_nursing(cast: Cast) -> Told:
    """Tell of a discharge home that was one to skilled nursing."""
    return followed(_corrected(cast, "01", "03"), "Went to skilled nursing, not home: wait.", status="on-hold")


def tell_left_against_advice_after_all(cast: Cast) -> Told:
    """Tell of a discharge home that was one against advice."""
    return followed(_corrected(cast, "01", "07"), "Left against advice, as was entered later.", priority="urgent")


def _corrected(cast: Cast, first: str, second: str) -> Stay:
    stay = begin(cast, cast.ago(*_TELLABLE))
    stay.discharge(first)
    stay.say(cast.rng.choice(("A08", "A08", "A03")), stay.later(0.5, 48), names=stay.ends, disposition=second)
    stay.paperwork()
    return stay


def _lasts_days(stay: Stay) -> bool:
    return stay.ends - stay.begins > timedelta(days=3)


STORIES: Final = (
    Story(name="time-corrected", tell=tell_time_corrected, weight=4),
    Story(name="admission-time-corrected", tell=tell_admission_time_corrected, weight=2),
    Story(name="class-to-observation", tell=tell_class_to_observation),
    Story(name="class-to-outpatient", tell=tell_class_to_outpatient),
    Story(name="class-learned", tell=tell_class_learned),
    Story(
        name="home-was-death",
        tell=_disposition_changed("01", "20", "Died in the hospital, as was entered later: nobody is called."),
        weight=2,
    ),
    Story(
        name="home-was-hospice",
        tell=_disposition_changed("01", "50", "Went home with hospice, as was entered later: left in peace."),
    ),
    Story(name="home-was-skilled-nursing", tell=tell_home_was_skilled_nursing, weight=2),
    Story(name="left-against-advice-after-all", tell=tell_left_against_advice_after_all),
    Story(
        name="destination-told-later",
        tell=_disposition_settled("", "01", "Went home, as was entered later."),
        weight=2,
    ),
    Story(
        name="death-was-home",
        tell=_disposition_settled("20", "01", "Went home; the death was a mistake of entry."),
    ),
    Story(
        name="skilled-nursing-was-home",
        tell=_disposition_settled("03", "06", "Went home with home health, not to skilled nursing."),
    ),
)
