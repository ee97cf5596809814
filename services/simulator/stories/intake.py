"""Stories about messages that intake must tell apart: tests, initial loads, unknown senders, other message types.

Source: HL7 table 0103 (processing id), 0207 (processing mode), v2.5.1 ch. 3.3.28 and 3.3.31 (A28, A31), 3.3.40 (A40).
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

from services.simulator.cast import Cast
from services.simulator.hospitals import UNMAPPED_CLASS
from services.simulator.stays import Stay
from services.simulator.stories.telling import (
    COVERED,
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

_OTHER_TYPES: Final[tuple[tuple[Literal["ADT", "ORU", "SIU"], str], ...]] = (
    ("ORU", "R01"),
    ("SIU", "S12"),
    ("ADT", "A54"),
)


def tell_test_patient(cast: Cast) -> Told:
    """Tell of a stay that was sent for training or testing."""
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), ends=cast.ago(*RECENT))
    stay.admit(processing=cast.rng.choice(("T", "D")))
    stay.go_on()
    stay.discharge("01")
    return nothing(stay, "Sent for training or testing: nobody was in a hospital.")


def tell_initial_load(cast: Cast) -> Told:
    """Tell of a past stay that arrives with a hospital's initial load."""
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), ends=cast.ago(*RECENT))
    stay.admit(processing="P^I")
    stay.discharge("01")
    return nothing(stay, "Part of an initial load: somebody else has followed it up.")


def tell_initial_load_then_live(cast: Cast) -> Told:
    """Tell of a stay that was under way at the initial load and ended afterwards."""
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), ends=cast.ago(*RECENT))
    stay.admit(processing="P^I")
    stay.discharge(cast.rng.choice(HOME), processing="P")
    return followed(stay, "Was in the hospital at the initial load and went home afterwards.")


def tell_unmapped_class(cast: Cast) -> Told:
    """Tell of a stay whose class word no profile knows."""
    stay = begin(cast, cast.ago(*RECENT), act_class=UNMAPPED_CLASS)
    stay.discharge("01")
    return asked(stay, "Nobody knows what the class means: a person decides.", "what kind of stay was it?")


def tell_unknown_sender(cast: Cast) -> Told:
    """Tell of a stay at a hospital that no feed names."""
    stay = begin(cast, cast.ago(*RECENT))
    stay.discharge("01")
    return nothing(stay, "The hospital is not set up as a feed: its messages wait until it is.")


def tell_other_types(cast: Cast) -> Told:
    """Tell of results, appointments and changes of doctor, which are not for us."""
    stay = begin(cast, cast.ago(1 * DAY_H, 9 * DAY_H), act_class="IMP")
    for message_type, trigger in cast.rng.sample(_OTHER_TYPES, 2):
        at = stay.later(0.3, 3)
        stay.say("A08", at)
        stay.drafts[-1] = replace(stay.drafts[-1], message_type=message_type, trigger=trigger)
    return nothing(stay, "Still in the hospital; results and appointments say nothing of a discharge.")


def tell_person_messages(cast: Cast) -> Told:
    """Tell of changes to a person's record without any stay."""
    stay = Stay(cast, cast.member(), act_class="N", ends=cast.ago(*ROOMY))
    stay.view = replace(stay.view, visit_number="", admitted=None)
    stay.say("A28", stay.begins)
    stay.say("A31", stay.later(1, 48))
    return nothing(stay, "Only the person's record changed: nobody was in the hospital.")


def tell_records_merged(cast: Cast) -> Told:
    """Tell of two records of one stranger that were merged."""
    stay = Stay(cast, cast.stranger(), act_class="AMB", ends=cast.ago(*ROOMY))
    stay.say("A40", stay.ends)
    stay.drafts[-1] = replace(stay.drafts[-1], merged_number=cast.population.number())
    return nothing(stay, "Two records of somebody who is not on the panel became one.")


def tell_home_and_record_changed(cast: Cast) -> Told:
    """Tell of a stay that ends at home, and of a change to the person's record some days later."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge(cast.rng.choice(HOME))
    told = followed(stay, "Went home; a change to the record changes nothing.")
    stay.say("A31", stay.now + timedelta(hours=cast.rng.randint(5, 60)))
    return replace(told, drafts=tuple(stay.drafts))


STORIES: Final = (
    Story(name="test-patient", tell=tell_test_patient, weight=2),
    Story(name="initial-load", tell=tell_initial_load),
    Story(name="initial-load-then-live", tell=tell_initial_load_then_live),
    Story(name="unmapped-class", tell=tell_unmapped_class),
    Story(name="unknown-sender", tell=tell_unknown_sender, by_unlisted_sender=True),
    Story(name="other-types", tell=tell_other_types, weight=2),
    Story(name="person-messages", tell=tell_person_messages),
    Story(name="records-merged", tell=tell_records_merged),
    Story(name="home-and-record-changed", tell=tell_home_and_record_changed),
)
