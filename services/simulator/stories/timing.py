"""Stories about when: unstated, early, late and odd times.

Source: domain.md §2.0 (inferred discharge), §2.5 rules 1, 3 and 9; CMS TCM service period of 30 days (§1.1).
"""

from datetime import datetime, timedelta
from typing import Final

from services.simulator.cast import Cast
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


def tell_update_only(cast: Cast) -> Told:
    """Tell of a hospital that sends no A03: an update has the time of discharge."""
    stay = begin(cast, cast.ago(*RECENT))
    stay.say("A08", stay.ends, discharged=stay.ends, disposition=cast.rng.choice(HOME))
    stay.paperwork()
    return followed(stay, "The discharge came only with an update.")


def tell_expected_only(cast: Cast) -> Told:
    """Tell of a time of discharge that was an expectation and is still on file when it has passed."""
    stay = begin(cast, cast.ago(5 * DAY_H, 10 * DAY_H), act_class="IMP")
    planned = stay.later(30, 60)
    stay.say(cast.rng.choice(("A08", "A02")), stay.later(0.2, 2), discharged=planned)
    if cast.rng.random() < 0.7:
        stay.say("A08", planned + timedelta(minutes=cast.rng.randint(60, 1200)))
    return nothing(stay, "A planned time of discharge passed, and nobody said that the person left: still in.")


def tell_expected_then_left(cast: Cast) -> Told:
    """Tell of an admission with an expected discharge, and of a discharge at another time."""
    ends = cast.ago(*RECENT)
    begins = ends - timedelta(minutes=cast.rng.randint(3000, 7000))
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), begins=begins, ends=ends)
    expected = begins + timedelta(hours=60)
    stay.admit(discharged=expected, expected_discharge=expected)
    stay.go_on(until=begins + timedelta(hours=40))
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "Left at another time than expected at admission: the real one counts.")


def tell_not_yet(cast: Cast) -> Told:
    """Tell of a discharge stated some hours before it takes place."""
    stay = begin(cast, cast.ago(2, 3))
    stay.ends = _ahead(cast, 4, 20)
    stay.say("A03", stay.later(0.1, 0.3), discharged=stay.ends, disposition="01")
    return nothing(stay, "Will leave in some hours: there is nobody to call yet.")


def tell_far_ahead(cast: Cast) -> Told:
    """Tell of a discharge stated days before it takes place."""
    stay = begin(cast, cast.ago(2, 3))
    stay.ends = _ahead(cast, 60, 200)
    stay.say("A03", stay.later(0.1, 0.3), discharged=stay.ends, disposition="01")
    return asked(stay, "A discharge stated days ahead is a slip of the pen.", "when does the person leave?")


def tell_window_closed(cast: Cast) -> Told:
    """Tell of a stay that the hospital sends when its service period is over."""
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), ends=cast.ago(33 * DAY_H, 50 * DAY_H))
    stay.say("A01", cast.ago(2, 30), names=stay.begins)
    stay.discharge("01")
    return nothing(stay, "Learned more than 30 days after the discharge: too late for transitional care.")


def tell_admission_told_late(cast: Cast) -> Told:
    """Tell of a stay whose admission the hospital enters after its discharge."""
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), ends=cast.ago(*RECENT))
    stay.discharge(cast.rng.choice(HOME))
    stay.say("A01", stay.later(0.2, 2), names=stay.begins, discharged=None, disposition="")
    return followed(stay, "The admission was entered after the discharge; the person is at home.")


def tell_day_only(cast: Cast) -> Told:
    """Tell of a discharge of which only the day is stated."""
    stay = begin(cast, cast.ago(*ROOMY))
    stay.discharge(cast.rng.choice(HOME), discharge_is_day=True)
    return followed(stay, "The hospital states the day of the discharge and not the hour.")


def tell_discharge_only(cast: Cast) -> Told:
    """Tell of a stay of which the hospital sends nothing but the discharge."""
    stay = Stay(cast, cast.member(), act_class=cast.rng.choice(COVERED), ends=cast.ago(*RECENT))
    stay.discharge(cast.rng.choice(HOME))
    return followed(stay, "Only the discharge was sent, and it says enough.")


def tell_time_from_event(cast: Cast) -> Told:
    """Tell of an A03 without PV1-45: EVN-6, where EVN has it, or the time of recording says when."""
    stay = begin(cast, cast.ago(*ROOMY))
    noon = stay.ends.astimezone(cast.clocks.of(cast.site.zone).zone).replace(hour=12)
    stay.ends = noon.astimezone(stay.ends.tzinfo) + timedelta(days=1)
    stay.discharge(cast.rng.choice(HOME), discharged=None)
    return followed(stay, "The discharge does not say when, only the event does.")


def _ahead(cast: Cast, least_h: float, most_h: float) -> datetime:
    minutes = cast.rng.randint(round(least_h * 60), round(most_h * 60))
    return (cast.now + timedelta(minutes=minutes)).replace(second=0, microsecond=0)


STORIES: Final = (
    Story(name="update-only", tell=tell_update_only, weight=3),
    Story(name="expected-only", tell=tell_expected_only),
    Story(name="expected-then-left", tell=tell_expected_then_left, weight=2),
    Story(name="not-yet", tell=tell_not_yet),
    Story(name="far-ahead", tell=tell_far_ahead),
    Story(name="window-closed", tell=tell_window_closed),
    Story(name="admission-told-late", tell=tell_admission_told_late),
    Story(name="day-only", tell=tell_day_only),
    Story(name="discharge-only", tell=tell_discharge_only),
    Story(name="time-from-event", tell=tell_time_from_event),
)
