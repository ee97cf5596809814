"""What follows from one stay: the tasks that should exist, or the recorded reason why there are none.

Joins the view of a stay, its link to the panel and the protocol into one decision. What excludes a task for certain
is said before any doubt, so that nobody reviews a stay that cannot matter. Pure; `now` decides only what waits.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.followup.domain.identity import Linked, MatchResult, Membership, Uncertain, Unmatched, is_member
from services.followup.domain.protocols import (
    Discharge,
    NeedsReview,
    NoTask,
    PlanItem,
    Planned,
    Protocol,
    plan,
)
from services.followup.domain.reconcile import Absence
from services.followup.domain.stays import StayView
from services.followup.domain.working_time import Calendar

FollowUp = Literal["waiting", "planned", "no-task", "review"]
Outcome = Literal["effect", "no_effect", "review"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who a stay is linked to, as of now: the match, and the patient's membership where it is a link."""

    match: MatchResult
    memberships: tuple[Membership, ...] = ()
    shared_with_other: bool = False
    """Another unmerged person is known under the same visit number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What should be. `absence` says why tasks are withdrawn where `items` is empty."""

    follow_up: FollowUp
    items: tuple[PlanItem, ...] = ()
    absence: Absence
    review: Absence | None = None
    outcome: Outcome
    outcome_reason: str = ""
    look_again_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules in force: a protocol and the calendar it counts by."""

    protocol: Protocol
    calendar: Calendar


def decide(view: StayView, standing: Standing, rules: Rules, now: datetime) -> Decision:
    """Decide what follows from a stay."""
    excluded = _excluded_as_stay(view) or _excluded_as_person(view, standing)
    if excluded is not None:
        return _no_task(excluded, standing)
    planned = _plan(view, rules, now)
    doubt = _doubt(standing)
    if doubt is not None and _may_matter(view, planned, rules):
        return _needs_review(doubt)
    if planned is None:
        return _waiting(view, standing)
    if isinstance(planned, NoTask):
        return _no_task(Absence(code=planned.reason, text=planned.text), standing, look_again_at=planned.until)
    if isinstance(planned, NeedsReview):
        return _needs_review(Absence(code=planned.reason, text=planned.text))
    return Decision(
        follow_up="planned",
        items=planned.items,
        absence=Absence(code="not-planned", text="the protocol no longer asks for this"),
        outcome="effect",
        look_again_at=planned.look_again_at,
    )


def _excluded_as_stay(view: StayView) -> Absence | None:
    if view.status == "cancelled":
        return Absence(code="visit-canceled", text="the hospital canceled the visit")
    if view.deceased:
        return Absence(code="died", text="the patient has died")
    if view.discharged_on is not None and not view.makes_tasks:
        return Absence(
            code="processing-not-admitted",
            text="the discharge was stated only by messages that the feed does not admit (MSH-11)",
        )
    return None


def _excluded_as_person(view: StayView, standing: Standing) -> Absence | None:
    match = standing.match
    if isinstance(match, Unmatched):
        return Absence(code="not-on-panel", text="the patient is not on the panel")
    if isinstance(match, Linked) and view.discharged_on and not is_member(standing.memberships, view.discharged_on):
        return Absence(code="not-a-member", text="the patient was not on the panel on the day of discharge")
    return None


def _may_matter(view: StayView, planned: Planned | NoTask | NeedsReview | None, rules: Rules) -> bool:
    """Say whether a doubt about the person is worth a reviewer's time: whether a task may yet come of the stay."""
    if planned is None:
        return view.class_code is None or view.class_code in rules.protocol.covered_classes
    return not isinstance(planned, NoTask)


def _plan(view: StayView, rules: Rules, now: datetime) -> Planned | NoTask | NeedsReview | None:
    """Return the protocol's plan; `None` while the stay has no discharge that counts."""
    if view.discharged_on is None or view.learned_at is None or view.discharge_basis is None:
        return None
    discharge = Discharge(
        discharged_on=view.discharged_on,
        discharged_at=view.discharged_at,
        zone=view.zone,
        class_code=view.class_code,
        disposition=view.disposition_code,
        learned_at=view.learned_at,
        basis=view.discharge_basis,
        deceased=view.deceased,
    )
    return plan(discharge, rules.protocol, rules.calendar, now)


def _doubt(standing: Standing) -> Absence | None:
    if standing.shared_with_other:
        return Absence(code="visit-number-shared", text="two people are known under this visit number")
    if isinstance(standing.match, Uncertain):
        return Absence(code=standing.match.reason, text="who the patient is on the panel is not certain")
    return None


def _waiting(view: StayView, standing: Standing) -> Decision:
    reason = view.undischarged_reason or "not-discharged"
    absence = Absence(code=reason, text="the patient has not been discharged, as the hospital says now")
    outcome, outcome_reason = _settled_outcome(standing)
    return Decision(follow_up="waiting", absence=absence, outcome=outcome, outcome_reason=outcome_reason)


def _no_task(absence: Absence, standing: Standing, *, look_again_at: datetime | None = None) -> Decision:
    outcome, outcome_reason = _settled_outcome(standing)
    return Decision(
        follow_up="no-task",
        absence=absence,
        outcome=outcome,
        outcome_reason=outcome_reason,
        look_again_at=look_again_at,
    )


def _settled_outcome(standing: Standing) -> tuple[Outcome, str]:
    """A message about a panel patient has changed that patient's stay, whether or not a task comes of it."""
    if isinstance(standing.match, Linked):
        return "effect", ""
    return "no_effect", "match-not-needed" if isinstance(standing.match, Uncertain) else "not-on-panel"


def _needs_review(reason: Absence) -> Decision:
    return Decision(follow_up="review", absence=reason, review=reason, outcome="review", outcome_reason=reason.code)
