"""The types of a follow-up protocol: what a file in `services/followup/protocols/` says, and nothing it does.

Owns the vocabulary that protocols are written in; `protocols.py` applies it and `services/followup/protocols/`
reads and checks the files. Promise: immutable values without behavior beyond looking a disposition up.
Source: NUBC FL17 patient status and HL7 table 0112 for dispositions, HL7 v3 ActCode for classes (domain.md §2.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from services.followup.domain.tasks import Priority

KINDS = ("contact", "visit")
"""The kinds of task that the worklist knows how to show and people know how to do."""

HolidayTable = Literal["us-federal", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """A number of days after the discharge date, which is not counted itself."""

    unit: Literal["business-days", "days"]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long to wait: hours from the discharge, or until a local day that many days after it begins."""

    unit: Literal["hours", "days"]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRule:
    """When one kind of task is due, counted from the discharge date; without `last` the due date is the last."""

    kind: str
    due: Offset
    last: Offset | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Every task of the protocol; the kinds in `same_day` are asked for on the day of the discharge."""

    priority: Priority = "routine"
    same_day: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Every task, on hold for `wait`; when nothing more is known by then, shown with the warning `overdue`."""

    reason: str
    wait: Wait
    overdue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFollowUp:
    """No task: the person needs none, or has not left."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitArrival:
    """No task while another stay is expected to go on from here; after `wait` a person looks, told `overdue`."""

    reason: str
    text: str
    wait: Wait
    overdue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person decides, since the sources disagree on what the code means."""

    reason: str
    text: str


Action = Follow | Hold | NoFollowUp | AwaitArrival | Review


@dataclass(frozen=True, slots=True, kw_only=True)
class DispositionRule:
    """What one group of discharge dispositions asks for; `name` says which group."""

    name: str
    action: Action
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessDays:
    """Which days a protocol does not count: a holiday table, and the practice's closures or not."""

    holidays: HolidayTable
    closures_count: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A follow-up protocol as read from its file."""

    name: str
    version: int
    title: str
    business_days: BusinessDays
    service_period_days: int  # the discharge date is its first day
    skew: timedelta  # a discharge this far ahead of its receipt is a clock, not a plan
    ahead_max: timedelta  # one stated further ahead than this is for a person to judge
    covered_classes: frozenset[str]
    other_classes: frozenset[str]  # known, and not followed by this protocol
    tasks: tuple[TaskRule, ...]
    dispositions: Mapping[str, DispositionRule]  # by two-digit code
    otherwise: DispositionRule
    inferred_warning: str

    def disposition_rule(self, code: str | None) -> DispositionRule:
        """Return the rule of a disposition code; its leading zero may be missing."""
        return self.dispositions.get((code or "").strip().zfill(2), self.otherwise)
