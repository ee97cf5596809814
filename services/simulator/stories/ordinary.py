"""Stories without a hitch: people come, stay and go.

Source: HL7 v2.5.1 ch. 3.3 (A01 to A08), CMS TCM on which stays are followed (domain.md §1.1, §2.1).
"""

from datetime import timedelta
from typing import Final

from services.simulator.cast import Cast
from services.simulator.stays import Stay
from services.simulator.stories.telling import COVERED, HOME, RECENT, ROOMY, Story, Told, begin, followed, nothing


def tell_home(cast: Cast) -> Told:
    """Tell of a stay that ends at home."""
    stay = begin(cast, cast.ago(*RECENT))
    stay.discharge(cast.rng.choice(HOME))
    stay.paperwork()
    if cast.rng.random() < 0.2:
        stay.repeat_last()
    return followed(stay, "Went home after an inpatient or observation stay.")


def tell_home_long_paperwork(cast: Cast) -> Told:
    """Tell of a stay about which billing and coding go on for days."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge(cast.rng.choice(HOME))
    for _ in range(3):
        stay.paperwork(4)
    return followed(stay, "Went home; the many updates afterwards say nothing new.")


def tell_planned_admission(cast: Cast) -> Told:
    """Tell of a planned admission: expected, come, gone home."""
    stay = Stay(cast, cast.member(), act_class="PRENC", ends=cast.ago(*RECENT))
    planned_for = stay.begins + timedelta(minutes=cast.rng.randint(-90, 90))
    stay.say("A05", stay.begins - timedelta(days=cast.rng.randint(2, 6)), admitted=planned_for)
    stay.admit(act_class="IMP", admitted=stay.begins)
    stay.go_on()
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "Came as planned and went home.")


def tell_planned_only(cast: Cast) -> Told:
    """Tell of an admission that is planned and has not taken place."""
    stay = Stay(cast, cast.member(), act_class="PRENC", ends=cast.ago(4, 72))
    stay.say("A05", stay.begins - timedelta(days=2))
    return nothing(stay, "Was expected and has not come: nobody was discharged.")


def tell_still_in(cast: Cast) -> Told:
    """Tell of somebody who is still in the hospital, expected to leave soon."""
    stay = begin(cast, cast.ago(3, 12))
    tomorrow = cast.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=30)
    stay.say("A08", stay.later(0.1, 0.2), expected_discharge=tomorrow)
    return nothing(stay, "Is still in the hospital; a date on which they should leave is no discharge.")


def tell_emergency_only(cast: Cast) -> Told:
    """Tell of an emergency visit."""
    stay = begin(cast, cast.ago(*RECENT), act_class="EMER")
    stay.discharge("01")
    return nothing(stay, "An emergency visit alone is not transitional care.")


def tell_emergency_to_inpatient(cast: Cast) -> Told:
    """Tell of an emergency visit that became an inpatient stay under the same visit number."""
    ends = cast.ago(*RECENT)
    begins = ends - timedelta(minutes=cast.rng.randint(1700, 8000))
    stay = Stay(cast, cast.member(), act_class="EMER", begins=begins, ends=ends)
    stay.admit("A04")
    stay.say("A06", stay.later(1.5, 5), act_class="IMP", bed=stay.another_bed())
    stay.go_on()
    stay.discharge(cast.rng.choice(HOME))
    stay.paperwork()
    return followed(stay, "Was admitted from the emergency room and went home: the inpatient discharge counts.")


def tell_emergency_to_observation(cast: Cast) -> Told:
    """Tell of an emergency visit that became an observation stay by an update."""
    ends = cast.ago(*RECENT)
    begins = ends - timedelta(minutes=cast.rng.randint(700, 2000))
    stay = Stay(cast, cast.member(), act_class="EMER", begins=begins, ends=ends)
    stay.admit("A04")
    stay.say("A08", stay.later(1.5, 5), act_class="OBSENC")
    stay.go_on()
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "Was kept for observation after the emergency room and went home.")


def tell_observation_and_inpatient(cast: Cast) -> Told:
    """Tell of a change between observation and inpatient in either direction; both are followed."""
    first, trigger, second = cast.rng.choice((("OBSENC", "A06", "IMP"), ("IMP", "A07", "OBSENC")))
    ends = cast.ago(*RECENT)
    begins = ends - timedelta(minutes=cast.rng.randint(1700, 4000))
    stay = Stay(cast, cast.member(), act_class=first, begins=begins, ends=ends)
    stay.admit()
    stay.say(trigger, stay.later(4, 12), act_class=second)
    stay.go_on()
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "Changed between observation and inpatient, and went home: both are followed.")


def tell_became_outpatient(cast: Cast) -> Told:
    """Tell of a stay that turned out to be outpatient before it ended."""
    ends = cast.ago(*RECENT)
    begins = ends - timedelta(minutes=cast.rng.randint(1500, 2500))
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), begins=begins, ends=ends)
    stay.admit()
    stay.say("A07", stay.later(4, 12), act_class="AMB")
    stay.discharge("01")
    return nothing(stay, "Was an outpatient when leaving: outpatient visits are not transitional care.")


def tell_clinic_visit(cast: Cast) -> Told:
    """Tell of a visit to the hospital's clinic."""
    stay = begin(cast, cast.ago(*RECENT), act_class="AMB")
    if cast.rng.random() < 0.6:
        stay.discharge("01")
    return nothing(stay, "A clinic visit is not transitional care.")


def tell_transfer_canceled(cast: Cast) -> Told:
    """Tell of a transfer to another bed that was taken back."""
    ends = cast.ago(*RECENT)
    begins = ends - timedelta(minutes=cast.rng.randint(1500, 5000))
    stay = Stay(cast, cast.member(), act_class="IMP", begins=begins, ends=ends)
    stay.admit()
    bed = stay.view.bed
    stay.say("A02", stay.later(2, 4), bed=stay.another_bed())
    stay.say("A12", stay.later(0.2, 1), bed=bed)
    stay.go_on()
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "Changed beds and back, and went home.")


STORIES: Final = (
    Story(name="home", tell=tell_home, weight=14),
    Story(name="home-long-paperwork", tell=tell_home_long_paperwork, weight=2),
    Story(name="planned-admission", tell=tell_planned_admission, weight=2, needs_visit_numbers=True),
    Story(name="planned-only", tell=tell_planned_only),
    Story(name="still-in", tell=tell_still_in, weight=2),
    Story(name="emergency-only", tell=tell_emergency_only, weight=4),
    Story(name="emergency-to-inpatient", tell=tell_emergency_to_inpatient, weight=3),
    Story(name="emergency-to-observation", tell=tell_emergency_to_observation, weight=2),
    Story(name="observation-and-inpatient", tell=tell_observation_and_inpatient, weight=2),
    Story(name="became-outpatient", tell=tell_became_outpatient),
    Story(name="clinic-visit", tell=tell_clinic_visit, weight=3),
    Story(name="transfer-canceled", tell=tell_transfer_canceled),
)
