"""The shipped protocol applied to discharges: what makes tasks, what makes none, what waits, what people decide."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.domain.protocols import (
    PRACTICE_CLOSED,
    Discharge,
    NeedsReview,
    NoTask,
    PlanItem,
    Planned,
    plan,
    task_dates,
)
from services.followup.domain.working_time import Calendar, zone_named
from services.followup.protocols.calendars import calendar_for
from services.followup.protocols.loading import load_protocol

PROTOCOL = load_protocol("transitional-care")
FEDERAL = calendar_for(PROTOCOL.business_days)
ZONE = "America/New_York"

TUESDAY = date(2026, 11, 17)
LEFT_AT = datetime(2026, 11, 17, 13, 0, tzinfo=UTC)  # 08:00 in New York
DISCHARGE = Discharge(
    discharged_on=TUESDAY,
    discharged_at=LEFT_AT,
    zone=ZONE,
    class_code="IMP",
    disposition="01",
    learned_at=LEFT_AT + timedelta(minutes=2),
    basis="explicit",
    deceased=False,
)
DAY_ONLY = replace(DISCHARGE, discharged_at=None)

TRANSFERS = ("02", "05", "43", "65", "66", "69", "70", "82", "85", "88", "93", "94", "95")
POST_ACUTE = ("03", "61", "62", "63", "83", "89", "90", "91")
PLANNED_READMISSION = frozenset(str(code) for code in range(81, 96))


def outcome_of(
    discharge: Discharge, now: datetime | None = None, calendar: Calendar = FEDERAL
) -> Planned | NoTask | NeedsReview:
    return plan(discharge, PROTOCOL, calendar, now or discharge.learned_at)


def items_of(discharge: Discharge, now: datetime | None = None, calendar: Calendar = FEDERAL) -> dict[str, PlanItem]:
    outcome = outcome_of(discharge, now, calendar)
    assert isinstance(outcome, Planned), outcome
    return {item.kind: item for item in outcome.items}


def test_a_discharge_home_gets_a_contact_and_a_visit() -> None:
    assert outcome_of(DISCHARGE) == Planned(
        items=(
            PlanItem(
                kind="contact",
                due_on=date(2026, 11, 19),
                last_on=date(2026, 11, 19),
                due_at=datetime(2026, 11, 20, 5, tzinfo=UTC),
                work_by=date(2026, 11, 19),
                priority="routine",
                status="requested",
                hold_reason=None,
                check_on=None,
                check_at=None,
                warnings=(),
                rule="transitional-care/1 contact home",
            ),
            PlanItem(
                kind="visit",
                due_on=date(2026, 11, 24),
                last_on=date(2026, 12, 1),
                due_at=datetime(2026, 11, 25, 5, tzinfo=UTC),
                work_by=date(2026, 11, 24),
                priority="routine",
                status="requested",
                hold_reason=None,
                check_on=None,
                check_at=None,
                warnings=(),
                rule="transitional-care/1 visit home",
            ),
        )
    )


# code: what becomes of it (status and hold reason, or the kind of outcome and its reason), and the warnings
DISPOSITIONS: dict[str | None, tuple[str, str | None, tuple[str, ...]]] = {
    "01": ("requested", None, ()),
    "02": ("on-hold", "transferred", ()),
    "03": ("on-hold", "post-acute", ()),
    "04": ("requested", None, ("custodial facility: ask for its nurse",)),
    "05": ("on-hold", "transferred", ()),
    "06": ("requested", None, ()),
    "07": ("requested", None, ("left against advice: call the same day",)),
    "08": ("requested", None, ()),
    "09": ("no-task", "admitted-here", ()),
    **{str(code): ("requested", None, ("verify destination",)) for code in range(10, 20)},
    "20": ("no-task", "died", ()),
    **{str(code): ("review", "disposition-ambiguous", ()) for code in range(21, 30)},
    **{str(code): ("no-task", "not-a-discharge", ()) for code in range(30, 40)},
    "40": ("no-task", "died", ()),
    "41": ("no-task", "died", ()),
    "42": ("no-task", "died", ()),
    "43": ("on-hold", "transferred", ()),
    "50": ("no-task", "hospice", ()),
    "51": ("no-task", "hospice", ()),
    "61": ("on-hold", "post-acute", ()),
    "62": ("on-hold", "post-acute", ()),
    "63": ("on-hold", "post-acute", ()),
    "64": ("requested", None, ("custodial facility: ask for its nurse",)),
    "65": ("on-hold", "transferred", ()),
    "66": ("on-hold", "transferred", ()),
    "69": ("on-hold", "transferred", ()),
    "70": ("on-hold", "transferred", ()),
    "81": ("requested", None, ("readmission planned",)),
    "82": ("on-hold", "transferred", ("readmission planned",)),
    "83": ("on-hold", "post-acute", ("readmission planned",)),
    "84": ("requested", None, ("custodial facility: ask for its nurse", "readmission planned")),
    "85": ("on-hold", "transferred", ("readmission planned",)),
    "86": ("requested", None, ("readmission planned",)),
    "87": ("review", "disposition-ambiguous", ()),
    "88": ("on-hold", "transferred", ("readmission planned",)),
    "89": ("on-hold", "post-acute", ("readmission planned",)),
    "90": ("on-hold", "post-acute", ("readmission planned",)),
    "91": ("on-hold", "post-acute", ("readmission planned",)),
    "92": ("requested", None, ("custodial facility: ask for its nurse", "readmission planned")),
    "93": ("on-hold", "transferred", ("readmission planned",)),
    "94": ("on-hold", "transferred", ("readmission planned",)),
    "95": ("on-hold", "transferred", ("readmission planned",)),
    # in no table
    "00": ("requested", None, ("verify destination",)),
    "44": ("requested", None, ("verify destination",)),
    "71": ("requested", None, ("verify destination",)),
    "99": ("requested", None, ("verify destination",)),
    "HOME": ("requested", None, ("verify destination",)),
    "001": ("requested", None, ("verify destination",)),
    "": ("requested", None, ("verify destination",)),
    None: ("requested", None, ("verify destination",)),
    # as some senders write them
    "1": ("requested", None, ()),
    "2": ("on-hold", "transferred", ()),
    " 03 ": ("on-hold", "post-acute", ()),
}


def summary(outcome: Planned | NoTask | NeedsReview) -> tuple[str, str | None, tuple[str, ...]]:
    if isinstance(outcome, NoTask):
        return "no-task", outcome.reason, ()
    if isinstance(outcome, NeedsReview):
        return "review", outcome.reason, ()
    contact, visit = outcome.items
    assert (contact.status, contact.hold_reason) == (visit.status, visit.hold_reason)
    assert (contact.warnings, contact.check_at) == (visit.warnings, visit.check_at)
    return contact.status, contact.hold_reason, contact.warnings


@pytest.mark.parametrize("code", DISPOSITIONS)
def test_each_disposition_asks_for_what_its_table_says(code: str | None) -> None:
    assert summary(outcome_of(replace(DISCHARGE, disposition=code))) == DISPOSITIONS[code]


@pytest.mark.parametrize("code", ["01", "04", "07", "10", None, *TRANSFERS, *POST_ACUTE])
def test_no_disposition_moves_a_statutory_date(code: str | None) -> None:
    plain = items_of(DISCHARGE)
    for kind, item in items_of(replace(DISCHARGE, disposition=code)).items():
        expected = plain[kind]
        assert (item.due_on, item.last_on, item.due_at) == (expected.due_on, expected.last_on, expected.due_at)


@pytest.mark.parametrize("code", sorted(PLANNED_READMISSION))
def test_every_code_with_a_planned_readmission_has_a_rule_of_its_own(code: str) -> None:
    assert PROTOCOL.disposition_rule(code) is not PROTOCOL.otherwise


@pytest.mark.parametrize(
    ("class_code", "expected"),
    [
        *[(code, None) for code in ("IMP", "ACUTE", "NONAC", "OBSENC", "PSYCH", "REHAB", "LTC", "SNF")],
        *[(code, NoTask) for code in ("EMER", "AMB", "SS", "PRENC", "HH", "VR", "FLD")],
        *[(code, NeedsReview) for code in (None, "", "X", "imp")],
    ],
)
def test_stays_are_followed_by_class_and_an_unknown_class_is_never_a_guess(
    class_code: str | None, expected: type[NoTask | NeedsReview] | None
) -> None:
    outcome = outcome_of(replace(DISCHARGE, class_code=class_code))
    assert isinstance(outcome, expected or Planned)
    reasons = {NoTask: "class-not-covered", NeedsReview: "class-unmapped"}
    if expected is not None:
        assert isinstance(outcome, expected)
        assert outcome.reason == reasons[expected]


def test_an_unknown_class_of_somebody_who_needs_no_follow_up_is_nobodys_work() -> None:
    unmapped = replace(DISCHARGE, class_code=None)
    late = DISCHARGE.learned_at + timedelta(days=60)
    for discharge, reason in [
        (replace(unmapped, disposition="20"), "died"),
        (replace(unmapped, deceased=True), "died"),
        (replace(unmapped, disposition="30"), "not-a-discharge"),
        (replace(unmapped, learned_at=late), "window-closed"),
    ]:
        assert summary(outcome_of(discharge))[:2] == ("no-task", reason)


def test_a_class_that_is_not_covered_is_the_reason_whatever_the_disposition() -> None:
    for disposition in ("01", "09", "20", "21", None):
        emergency = replace(DISCHARGE, class_code="EMER", disposition=disposition, deceased=True)
        assert summary(outcome_of(emergency))[:2] == ("no-task", "class-not-covered")


def test_nobody_calls_a_person_who_is_known_to_have_died() -> None:
    for disposition in ("01", "02", "07", "21", None):
        outcome = outcome_of(replace(DISCHARGE, deceased=True, disposition=disposition))
        assert summary(outcome)[:2] == ("no-task", "died")


@pytest.mark.parametrize(
    ("left_on", "contact_due_on", "contact_work_by"),
    [
        (date(2026, 11, 17), date(2026, 11, 19), date(2026, 11, 17)),
        (date(2026, 11, 14), date(2026, 11, 17), date(2026, 11, 16)),  # Saturday: the next open day
        (date(2026, 11, 26), date(2026, 11, 30), date(2026, 11, 27)),  # Thanksgiving
    ],
)
def test_against_advice_asks_for_the_same_day_and_keeps_the_date_of_cms(
    left_on: date, contact_due_on: date, contact_work_by: date
) -> None:
    learned_at = datetime(left_on.year, left_on.month, left_on.day, 23, tzinfo=UTC)
    discharge = replace(DAY_ONLY, discharged_on=left_on, disposition="07", learned_at=learned_at + timedelta(hours=1))
    items = items_of(discharge)
    assert (items["contact"].due_on, items["contact"].work_by) == (contact_due_on, contact_work_by)
    assert items["visit"].due_on == left_on + timedelta(days=7)
    assert items["visit"].work_by > items["contact"].work_by
    assert {item.priority for item in items.values()} == {"urgent"}


def test_a_same_day_contact_is_never_planned_after_its_due_date() -> None:
    closed = [TUESDAY + timedelta(days=n) for n in range(9)]
    rule = replace(PROTOCOL.business_days, closures_count=False)
    items = items_of(replace(DISCHARGE, disposition="07"), calendar=calendar_for(rule, closed))
    assert items["contact"].work_by == items["contact"].due_on == date(2026, 11, 19)


def test_closures_move_the_contact_but_never_the_visit() -> None:
    closed = calendar_for(PROTOCOL.business_days, [date(2026, 11, 18), date(2026, 11, 24)])
    items = items_of(DISCHARGE, calendar=closed)
    assert (items["contact"].due_on, items["contact"].work_by) == (date(2026, 11, 20), date(2026, 11, 20))
    assert (items["visit"].due_on, items["visit"].work_by) == (date(2026, 11, 24), date(2026, 11, 23))


def test_a_protocol_that_ignores_closures_only_plans_the_work_around_them() -> None:
    rule = replace(PROTOCOL.business_days, closures_count=False)
    items = items_of(DISCHARGE, calendar=calendar_for(rule, [date(2026, 11, 19)]))
    assert (items["contact"].due_on, items["contact"].work_by) == (date(2026, 11, 19), date(2026, 11, 18))
    assert items["contact"].warnings == ()


def test_a_practice_closed_until_the_due_date_is_told_so() -> None:
    closed = calendar_for(PROTOCOL.business_days, [TUESDAY + timedelta(days=n) for n in range(9)])
    items = items_of(replace(DISCHARGE, disposition=None), calendar=closed)
    assert items["visit"].work_by == items["visit"].due_on == date(2026, 11, 24)
    assert items["visit"].warnings == ("verify destination", PRACTICE_CLOSED)
    assert items["contact"].warnings == ("verify destination",)


def test_an_inferred_discharge_says_so() -> None:
    assert items_of(replace(DISCHARGE, basis="inferred"))["contact"].warnings == (
        "discharge inferred from an update: confirm that the patient has left",
    )


@pytest.mark.parametrize("code", TRANSFERS)
def test_a_transfer_is_held_a_day_from_the_discharge_and_then_shown(code: str) -> None:
    transfer = replace(DISCHARGE, disposition=code)
    ends_at = LEFT_AT + timedelta(hours=24)
    for item in items_of(transfer, now=ends_at - timedelta(microseconds=1)).values():
        assert (item.status, item.hold_reason) == ("on-hold", "transferred")
        assert (item.check_on, item.check_at) == (date(2026, 11, 18), ends_at)
    for item in items_of(transfer, now=ends_at).values():
        assert (item.status, item.hold_reason, item.check_on, item.check_at) == ("requested", None, None, None)
        assert item.warnings[0] == "transferred, no arrival seen"


def test_a_transfer_of_which_only_the_day_is_known_is_held_a_day_from_its_end() -> None:
    transfer = replace(DAY_ONLY, disposition="02")
    midnight = datetime(2026, 11, 18, 5, tzinfo=UTC)  # the end of the 17th in New York
    assert items_of(transfer)["contact"].check_at == midnight + timedelta(hours=24)


@pytest.mark.parametrize("code", POST_ACUTE)
def test_post_acute_care_is_held_until_its_check_date_begins(code: str) -> None:
    stay = replace(DISCHARGE, disposition=code)
    check_at = datetime(2026, 12, 1, 5, tzinfo=UTC)
    for item in items_of(stay, now=check_at - timedelta(microseconds=1)).values():
        assert (item.status, item.hold_reason) == ("on-hold", "post-acute")
        assert (item.check_on, item.check_at) == (date(2026, 12, 1), check_at)
    for item in items_of(stay, now=check_at).values():
        assert item.status == "requested"
        assert item.warnings[0] == "no discharge from post-acute care seen: check where the patient is"


def test_a_plan_says_when_it_changes_by_itself() -> None:
    held = outcome_of(replace(DISCHARGE, disposition="02"))
    assert isinstance(held, Planned)
    assert held.look_again_at == LEFT_AT + timedelta(hours=24)
    shown = outcome_of(DISCHARGE)
    assert isinstance(shown, Planned)
    assert shown.look_again_at is None


def test_somebody_admitted_to_the_same_hospital_is_looked_for_after_a_day() -> None:
    admitted = replace(DISCHARGE, disposition="09", class_code="OBSENC")
    ends_at = LEFT_AT + timedelta(hours=24)
    waiting = outcome_of(admitted, now=ends_at - timedelta(microseconds=1))
    assert isinstance(waiting, NoTask)
    assert (waiting.reason, waiting.until) == ("admitted-here", ends_at)
    missing = outcome_of(admitted, now=ends_at)
    assert isinstance(missing, NeedsReview)
    assert missing.reason == "admitted-here"


@pytest.mark.parametrize(
    ("learned_on", "expected"),
    [(date(2026, 12, 16), "requested"), (date(2026, 12, 17), "no-task")],
)
@pytest.mark.parametrize("hour", [0, 23])
def test_the_window_closes_after_the_thirtieth_local_day(learned_on: date, expected: str, hour: int) -> None:
    learned_at = datetime(learned_on.year, learned_on.month, learned_on.day, hour, 30, tzinfo=zone_named(ZONE))
    outcome = outcome_of(replace(DISCHARGE, learned_at=learned_at))
    assert summary(outcome)[0] == expected


def test_the_window_is_judged_by_when_we_learned_and_not_by_when_we_look() -> None:
    assert items_of(DISCHARGE, now=LEFT_AT + timedelta(days=400)) == items_of(DISCHARGE)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(hours=1), ("requested", None)),  # a clock that is off
        (timedelta(hours=1, seconds=1), ("no-task", "not-yet")),
        (timedelta(hours=24), ("no-task", "not-yet")),
        (timedelta(hours=24, seconds=1), ("review", "discharge-ahead")),
    ],
)
def test_a_discharge_ahead_of_its_receipt_waits_or_is_reviewed(
    ahead: timedelta, expected: tuple[str, str | None]
) -> None:
    stated = replace(DISCHARGE, learned_at=LEFT_AT - ahead)
    assert summary(outcome_of(stated))[:2] == expected


def test_a_discharge_stated_ahead_is_followed_once_its_time_has_come() -> None:
    stated = replace(DISCHARGE, learned_at=LEFT_AT - timedelta(hours=20))
    waiting = outcome_of(stated, now=LEFT_AT - timedelta(microseconds=1))
    assert isinstance(waiting, NoTask)
    assert waiting.until == LEFT_AT
    assert items_of(stated, now=LEFT_AT) == items_of(DISCHARGE)


@pytest.mark.parametrize(
    ("days_ahead", "expected"),
    [(0, ("requested", None)), (1, ("no-task", "not-yet")), (2, ("review", "discharge-ahead"))],
)
@pytest.mark.parametrize("hour", [0, 12, 23])
def test_a_day_ahead_of_its_receipt_is_compared_by_days(
    days_ahead: int, expected: tuple[str, str | None], hour: int
) -> None:
    learned_on = TUESDAY - timedelta(days=days_ahead)
    learned_at = datetime(learned_on.year, learned_on.month, learned_on.day, hour, tzinfo=zone_named(ZONE))
    assert summary(outcome_of(replace(DAY_ONLY, learned_at=learned_at)))[:2] == expected


def test_a_day_stated_ahead_has_come_when_it_begins() -> None:
    stated = replace(DAY_ONLY, learned_at=LEFT_AT - timedelta(hours=20))
    begins_at = datetime(2026, 11, 17, 5, tzinfo=UTC)
    waiting = outcome_of(stated, now=begins_at - timedelta(microseconds=1))
    assert isinstance(waiting, NoTask)
    assert waiting.until == begins_at
    assert isinstance(outcome_of(stated, now=begins_at), Planned)


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati", "UTC"])
def test_absurd_dates_are_outcomes_and_not_errors(zone: str) -> None:
    for discharged_on, expected in [
        (date.min, ("no-task", "window-closed")),
        (date.max, ("review", "discharge-ahead")),
    ]:
        at = datetime.combine(discharged_on, time.max, tzinfo=zone_named(zone))
        for discharged_at in (None, at):
            discharge = replace(DISCHARGE, discharged_on=discharged_on, discharged_at=discharged_at, zone=zone)
            assert summary(outcome_of(discharge))[:2] == expected


@pytest.mark.parametrize("field", ["learned_at", "discharged_at"])
def test_a_point_in_time_without_offset_is_refused(field: str) -> None:
    naive: dict[str, Any] = {field: LEFT_AT.replace(tzinfo=None)}
    with pytest.raises(ValueError, match="UTC offset"):
        replace(DISCHARGE, **naive)


def test_planning_needs_an_aware_now_and_a_known_zone() -> None:
    with pytest.raises(ValueError, match="UTC offset"):
        outcome_of(DISCHARGE, now=LEFT_AT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="no time zone 'Mars'"):
        outcome_of(replace(DISCHARGE, zone="Mars"))


@given(
    discharged_on=st.dates(date(2021, 1, 1), date(2032, 12, 31)),
    later=st.integers(0, 30),
    closures=st.frozensets(st.dates(date(2021, 1, 1), date(2033, 2, 28)), max_size=60),
    closures_count=st.booleans(),
    same_day=st.booleans(),
)
def test_dates_keep_their_order_and_work_is_never_planned_after_the_due_date(
    discharged_on: date, later: int, closures: frozenset[date], closures_count: bool, same_day: bool
) -> None:
    rule = replace(PROTOCOL.business_days, closures_count=closures_count)
    calendar, zone = calendar_for(rule, closures), zone_named(ZONE)
    for task in PROTOCOL.tasks:
        dates = task_dates(task, discharged_on, zone, calendar, same_day=same_day)
        after = task_dates(task, discharged_on + timedelta(days=later), zone, calendar, same_day=same_day)
        assert discharged_on <= dates.work_by <= dates.due_on <= dates.last_on
        assert (dates.due_on, dates.last_on, dates.due_at) <= (after.due_on, after.last_on, after.due_at)
        assert calendar.is_open(dates.work_by) or dates.practice_closed


def stated_as(
    *,
    discharged_on: date,
    at: time,
    class_code: str | None,
    disposition: str | None,
    learned_after: timedelta,
    zone: str,
    only_the_day: bool,
) -> Discharge:
    discharged_at = datetime.combine(discharged_on, at, tzinfo=zone_named(zone))
    return replace(
        DISCHARGE,
        discharged_on=discharged_on,
        discharged_at=None if only_the_day else discharged_at,
        zone=zone,
        class_code=class_code,
        disposition=disposition,
        learned_at=discharged_at.astimezone(UTC) + learned_after,
    )


DISCHARGES = st.builds(
    stated_as,
    discharged_on=st.dates(date(2021, 1, 1), date(2032, 12, 31)),
    at=st.times(),
    class_code=st.sampled_from(["IMP", "OBSENC", "EMER", "X", None]),
    disposition=st.integers(0, 99).map(str) | st.none() | st.text(max_size=3),
    learned_after=st.timedeltas(timedelta(days=-2), timedelta(days=2))
    | st.timedeltas(timedelta(days=-40), timedelta(days=40)),
    zone=st.sampled_from(["America/New_York", "Pacific/Honolulu", "America/Havana", "Pacific/Apia"]),
    only_the_day=st.booleans(),
)


@given(discharge=DISCHARGES, looked_after=st.timedeltas(timedelta(0), timedelta(days=60)))
def test_every_discharge_has_one_outcome_that_changes_only_when_it_says(
    discharge: Discharge, looked_after: timedelta
) -> None:
    now = discharge.learned_at + looked_after
    outcome = outcome_of(discharge, now)
    changes_at = outcome.until if isinstance(outcome, NoTask) else None
    if isinstance(outcome, Planned):
        changes_at = outcome.look_again_at
        assert [item.kind for item in outcome.items] == ["contact", "visit"]
        assert all((item.status == "on-hold") is (item.hold_reason is not None) for item in outcome.items)
    if changes_at is None:
        assert outcome_of(discharge, now + timedelta(days=100)) == outcome
    else:
        assert now < changes_at
        assert outcome_of(discharge, changes_at - timedelta(microseconds=1)) == outcome
        assert outcome_of(discharge, changes_at) != outcome
