"""Which fragments are one stay: the view over the fragments of one source patient (domain §2.5, rules 5 and 6).

With a visit number a stay is (authority, number, admission): numbers are reused, so a later admission under the same
number is another stay once the first has ended. Without one, fragments attach by the repeated admit time, then by
what they say happened; what cannot be attached waits, and takes effect when its stay turns up. A pure function of the
set of fragments: nothing depends on which came first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from services.followup.domain.discharges import standing_discharge
from services.followup.domain.fragments import CANCEL_ADMIT, CANCEL_DISCHARGE, Fragment, join
from services.followup.domain.statements import Order, unpack
from services.followup.domain.times import StatedTime, same_time

SAME_ADMISSION: Final = timedelta(hours=1)
"""Without a visit number, an admit more than this away from a stay's own is another stay (rule 5)."""
RETURN_WITHIN: Final = timedelta(hours=24)
"""Under one visit number a return this soon after the end reopens the stay (CMS's notion of a transfer, §2.0)."""
REUSE_AFTER: Final = timedelta(days=90)
"""An open stay whose number is admitted again this much later: its end was missed and the number reused [D]."""

_ARRIVALS: Final = frozenset({"A01", "A04", "A05"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Stays of one source patient as groups of fragments in order of admission, and the fragments that wait."""

    stays: tuple[tuple[Fragment, ...], ...]
    waiting: tuple[Fragment, ...]


def joined(fragments: Sequence[Fragment]) -> Fragment:
    """Return the joined state of a group of fragments."""
    return reduce(join, fragments)


def zone_of(state: Fragment) -> str:
    """Return the zone of the stay's facility as last stated; UTC where no message named one."""
    said = state.fields.get("facility")
    return (unpack(said.value, 3)[2] if said and said.value else None) or "UTC"


def group_fragments(fragments: Iterable[Fragment]) -> Grouping:
    """Put the fragments of one source patient together into stays."""
    ordered = sorted(fragments, key=lambda fragment: fragment.key)
    numbered: dict[tuple[str | None, str], list[Fragment]] = {}
    loose: dict[str, list[Fragment]] = {}
    for fragment in ordered:
        if fragment.visit_number is not None:
            numbered.setdefault((fragment.visit_authority, fragment.visit_number), []).append(fragment)
        else:
            loose.setdefault(fragment.facility_code, []).append(fragment)
    groups = [group for members in numbered.values() for group in _split_reused(members)]
    waiting: list[Fragment] = []
    for facility, members in loose.items():
        own = [group for group in groups if group[0].facility_code == facility]
        created, left = _attach_loose(members, own)
        groups += created
        waiting += left
    groups.sort(key=_start)
    return Grouping(stays=tuple(tuple(group) for group in groups), waiting=tuple(waiting))


def began_at(group: Sequence[Fragment]) -> datetime:
    """Return when a stay begins: its earliest admission, where none is stated its earliest fragment."""
    arrivals = [_at(one) for one in group if one.admit_time is not None or one.admissions]
    return min(arrivals or [_at(one) for one in group])


def _start(group: Sequence[Fragment]) -> tuple[datetime, str]:
    return began_at(group), group[0].key


def _at(fragment: Fragment) -> datetime:
    """Return where a fragment stands in time: its admit time, else its own movement or day."""
    return (fragment.admit_time or fragment.when).instant(zone_of(fragment))


def _has(fragment: Fragment, triggers: frozenset[str]) -> bool:
    return any(admission.trigger in triggers for admission in fragment.admissions.values())


# --- with a visit number ---------------------------------------------------------------------------------------------


def _split_reused(members: list[Fragment]) -> list[list[Fragment]]:
    """Split the fragments under one visit number into its admissions."""
    anchored = [one for one in members if one.admit_time is not None or _has(one, _ARRIVALS)]
    floating = [one for one in members if one not in anchored]
    if not anchored:
        return [members]
    groups: list[list[Fragment]] = []
    for fragment in sorted(anchored, key=lambda one: (_at(one), one.key)):
        if groups and not _is_reuse(groups[-1], fragment):
            groups[-1].append(fragment)
        else:
            groups.append([fragment])
    for fragment in floating:
        day_end = _at(fragment) + timedelta(days=1)  # a day-keyed fragment stands at its day's first minute
        begun = [group for group in groups if _start(group)[0] < day_end]
        (begun[-1] if begun else groups[0]).append(fragment)
    return groups


def _is_reuse(group: list[Fragment], fragment: Fragment) -> bool:
    """Say whether an admission belongs to a later stay under the same number."""
    if not _has(fragment, _ARRIVALS):
        return False
    state = joined(group)
    zone = zone_of(state)
    end = standing_discharge(state, zone)
    if end is None:
        return _at(fragment) - _start(group)[0] > REUSE_AFTER
    return _at(fragment) - end.time.instant(zone) > RETURN_WITHIN


# --- without a visit number ------------------------------------------------------------------------------------------


def _attach_loose(members: list[Fragment], own: list[list[Fragment]]) -> tuple[list[list[Fragment]], list[Fragment]]:
    """Attach fragments without a number to ``own`` (groups at the facility, extended in place) or to new groups."""
    groups, created, waiting = list(own), [], []
    for fragment in sorted(members, key=_turn):
        target = _target(fragment, groups)
        if target is not None:
            target.append(fragment)
        elif _starts_stay(fragment):
            group = [fragment]
            groups.append(group)
            created.append(group)
        else:
            waiting.append(fragment)
    return created, waiting


def _turn(fragment: Fragment) -> tuple[int, datetime | Order, str]:
    """Return when a fragment's turn to be attached comes.

    Arrivals and changes of class go by when they happened. Ends and cancels go by when they were stated, since a
    second end is the stay's own only if the first was canceled before it. The rest comes last.
    """
    if _has(fragment, _ARRIVALS):
        return 0, _at(fragment), fragment.key
    if fragment.admissions:
        return 1, _at(fragment), fragment.key
    if _ends(fragment) or fragment.cancels:
        return 2, _first_stated(fragment), fragment.key
    return 3, _at(fragment), fragment.key


def _first_stated(fragment: Fragment) -> Order:
    facts = [claim.first.order for claim in fragment.discharges.values() if claim.first is not None]
    weak = [claim.first.order for claim in fragment.weak.values()]
    return min([*facts, *weak, *(cancel.order for cancel in fragment.cancels.values())])


def _ends(fragment: Fragment) -> bool:
    return bool(fragment.weak) or any(claim.first is not None for claim in fragment.discharges.values())


def _starts_stay(fragment: Fragment) -> bool:
    return bool(fragment.admissions) or _ends(fragment)


def _target(fragment: Fragment, groups: list[list[Fragment]]) -> list[Fragment] | None:
    """Return the stay a fragment attaches to: by the repeated admit time, else by what it says happened."""
    arrives = _has(fragment, _ARRIVALS)
    if arrives or fragment.admit_time is not None:
        at = _at(fragment)
        near = [group for group in groups if abs(_start(group)[0] - at) <= SAME_ADMISSION]
        if near:
            return min(near, key=lambda group: abs(_start(group)[0] - at))
        if arrives or not fragment.admissions:
            return None  # another admission than any we know (rule 5)
    return _target_in_time(fragment, groups)


def _target_in_time(fragment: Fragment, groups: list[list[Fragment]]) -> list[Fragment] | None:
    if fragment.admissions:
        return _open_before(_at(fragment), groups)
    if _ends(fragment):
        return _ended_at(fragment, groups)
    if fragment.cancels:
        return _canceled_by(fragment, groups)
    return _latest_before(_at(fragment) + timedelta(days=1), groups)


def _latest_before(at: datetime, groups: list[list[Fragment]]) -> list[Fragment] | None:
    return max((group for group in groups if _start(group)[0] <= at), key=_start, default=None)


def _end(group: list[Fragment]) -> tuple[StatedTime, str] | None:
    state = joined(group)
    zone = zone_of(state)
    standing = standing_discharge(state, zone)
    return None if standing is None else (standing.time, zone)


def _open_before(at: datetime, groups: list[list[Fragment]]) -> list[Fragment] | None:
    """Return the stay that a change of class at ``at`` speaks of: the last begun, unless it ended a day before."""
    group = _latest_before(at, groups)
    if group is None or (end := _end(group)) is None:
        return group
    return group if at - end[0].instant(end[1]) <= RETURN_WITHIN else None


def _ended_at(fragment: Fragment, groups: list[list[Fragment]]) -> list[Fragment] | None:
    """Return the stay whose end the fragment states: the last begun before it, open or ended within a day of it."""
    at = fragment.when.instant(zone_of(fragment))
    latest = at + timedelta(days=1) if fragment.when.is_day else at
    group = _latest_before(latest, groups)
    if group is None or (end := _end(group)) is None:
        return group
    return group if abs(at - end[0].instant(end[1])) <= RETURN_WITHIN else None


def _canceled_by(fragment: Fragment, groups: list[list[Fragment]]) -> list[Fragment] | None:
    """Return the stay a cancel speaks of: the one whose time it names, else the last discharged or begun before."""
    cancel = max(fragment.cancels.values(), key=lambda one: one.order)
    at = _at(fragment)
    if cancel.trigger == CANCEL_DISCHARGE:
        ended = [(group, end) for group in groups if (end := _end(group)) is not None]
        named = [group for group, end in ended if cancel.named and same_time(cancel.named, end[0], end[1])]
        before = [(end[0].instant(end[1]), group) for group, end in ended]
        last = max((pair for pair in before if pair[0] <= at), key=lambda pair: pair[0], default=None)
        return named[0] if named else (last[1] if last else None)
    assert cancel.trigger == CANCEL_ADMIT
    return _latest_before(at + SAME_ADMISSION, groups)
