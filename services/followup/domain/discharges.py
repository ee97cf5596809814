"""Which discharge stands: claims of a stay against the cancels and returns stated after them.

Owns rules 1 to 4 of domain §2.5. A *cut* is anything that takes back a discharge stated before it: an A13 (or an
emptied PV1-45), an A11, and a later return (A01, A04, A06) to the same stay. All of it is computed from the joined
state, never from a transition, so it does not matter which message came first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.followup.domain.fragments import (
    CANCEL_ADMIT,
    CANCEL_DISCHARGE,
    REOPENS,
    Admission,
    Cancel,
    DischargeClaim,
    Fragment,
    Mark,
    Said,
    WeakClaim,
)
from services.followup.domain.statements import Order
from services.followup.domain.times import StatedTime, is_after, same_time

NEAR_US: Final = 1_000_000
"""Within one second of order a cancel takes only the time that it names (rule 2): A13 and its new A03 come together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingDischarge:
    """The discharge that stands: its time, the statement that last said so, and when it was first learned."""

    time: StatedTime
    explicit: bool
    said_by: str
    learned_us: int
    makes_tasks: bool


def standing_discharge(state: Fragment, zone: str) -> StandingDischarge | None:
    """Return the discharge that stands in the joined state of a stay at a facility in ``zone``, if any.

    Of several, the one stated last; a time taken from EVN-2 or MSH-7 only where nothing better stands (rule 3).
    """
    live = [claim for claim in state.discharges.values() if _is_live(claim, state, zone)]
    if live:
        return _standing(max(live, key=lambda claim: _last_live(claim, state, zone).order), live, state, zone)
    weak = [mark for claim in state.weak.values() if (mark := _live_weak(claim, state, zone)) is not None]
    return min(weak, key=lambda found: found[0])[1] if weak else None


def standing_disposition(state: Fragment) -> Said | None:
    """Return the disposition last stated, unless a cancel of the discharge or the visit came after it."""
    said = state.fields.get("disposition")
    if said is None or said.value is None:
        return None
    taken = any(
        said.order < cancel.order and not _is_near(said.order, cancel.order) for cancel in state.cancels.values()
    )
    return None if taken else said


def is_canceled(state: Fragment) -> bool:
    """Say whether A11 took every admission stated, and no A03 was stated after it (rule 2)."""
    cancels = [cancel for cancel in state.cancels.values() if cancel.trigger == CANCEL_ADMIT]
    if not cancels:
        return False
    last = max(cancel.order for cancel in cancels)
    revived = any(claim.discharged and claim.discharged.order > last for claim in state.discharges.values())
    if revived or any(claim.last.order > last for claim in state.weak.values()):
        return False
    return all(
        any(_takes_admission(cancel, admission, state) for cancel in cancels) for admission in state.admissions.values()
    )


def _takes_admission(cancel: Cancel, admission: Admission, state: Fragment) -> bool:
    if not _is_near(cancel.order, admission.order):
        return admission.order < cancel.order
    if cancel.named is not None:
        return cancel.named.key == admission.time.key
    return not _has_earlier_target(cancel, (other.order for other in state.admissions.values()))


def _standing(claim: DischargeClaim, live: list[DischargeClaim], state: Fragment, zone: str) -> StandingDischarge:
    day = claim.time.day(zone)
    last = _last_live(claim, state, zone)
    explicit = claim.discharged is not None and not _is_cut(claim.discharged, claim, state, zone)
    learned = min(_learned_us(other, state, zone) for other in live if other.time.day(zone) == day)
    admitted = claim.admitted is not None and not _is_cut(claim.admitted, claim, state, zone)
    return StandingDischarge(
        time=claim.time,
        explicit=explicit,
        said_by=last.order.event_id,
        learned_us=learned,
        makes_tasks=admitted,
    )


def _is_live(claim: DischargeClaim, state: Fragment, zone: str) -> bool:
    if claim.discharged is not None and not _is_cut(claim.discharged, claim, state, zone):
        return True
    if claim.first is None or _is_cut(claim.first, claim, state, zone):
        return False  # after a cancel only an A03, or another time, discharges
    if claim.ahead is None or claim.first.order < claim.ahead:
        return True  # newly valued: no statement had called it expected before
    disposed = claim.with_disposition
    return disposed is not None and not _is_cut(disposed, claim, state, zone)


def _last_live(claim: DischargeClaim, state: Fragment, zone: str) -> Mark:
    """Return the last statement of a live claim that no cut took."""
    marks = [mark for mark in (claim.last, claim.discharged, claim.with_disposition, claim.first) if mark is not None]
    live = [mark for mark in marks if not _is_cut(mark, claim, state, zone)]
    return max(live or marks, key=lambda mark: mark.order)


def _learned_us(claim: DischargeClaim, state: Fragment, zone: str) -> int:
    first = claim.first
    if first is not None and claim.learned_us is not None and not _is_cut(first, claim, state, zone):
        return claim.learned_us
    marks = [mark for mark in (claim.discharged, claim.last) if mark and not _is_cut(mark, claim, state, zone)]
    return min(mark.received_us for mark in marks)


def _live_weak(claim: WeakClaim, state: Fragment, zone: str) -> tuple[Order, StandingDischarge] | None:
    for time, mark in ((claim.first_time, claim.first), (claim.last_time, claim.last)):
        stand_in = DischargeClaim(time=time)
        if not _is_cut(mark, stand_in, state, zone):
            standing = StandingDischarge(
                time=time,
                explicit=True,
                said_by=mark.order.event_id,
                learned_us=mark.received_us,
                makes_tasks=claim.admitted is not None and not _is_cut(claim.admitted, stand_in, state, zone),
            )
            return mark.order, standing
    return None


def _is_cut(mark: Mark, claim: DischargeClaim, state: Fragment, zone: str) -> bool:
    return any(_cancel_takes(cancel, mark, claim, state, zone) for cancel in state.cancels.values()) or any(
        _return_takes(admission, mark, claim, zone) for admission in state.admissions.values()
    )


def _cancel_takes(cancel: Cancel, mark: Mark, claim: DischargeClaim, state: Fragment, zone: str) -> bool:
    if cancel.trigger == CANCEL_ADMIT:
        return mark.order < cancel.order
    assert cancel.trigger == CANCEL_DISCHARGE
    if cancel.movement_id and claim.movement_ids:
        return cancel.movement_id in claim.movement_ids and mark.order < cancel.order
    if not _is_near(cancel.order, mark.order):
        return mark.order < cancel.order
    if cancel.named is not None:
        return same_time(cancel.named, claim.time, zone)
    strong = (other.first.order for other in state.discharges.values() if other.first is not None)
    weak = (other.first.order for other in state.weak.values())
    return not _has_earlier_target(cancel, (*strong, *weak))


def _has_earlier_target(cancel: Cancel, orders: Iterable[Order]) -> bool:
    """Say whether a cancel that names no time has something stated clearly before it, which is then what it means."""
    return any(order < cancel.order and not _is_near(order, cancel.order) for order in orders)


def _return_takes(admission: Admission, mark: Mark, claim: DischargeClaim, zone: str) -> bool:
    """Say whether a return reopens the stay: it is stated later, happened later, and does not itself repeat the end.

    An A06 that repeats the discharge time is a change of class made after the discharge, for billing.
    """
    if admission.trigger not in REOPENS or admission.order < mark.order:
        return False
    if admission.repeats is not None and same_time(admission.repeats, claim.time, zone):
        return False
    return is_after(admission.time, claim.time, zone)


def _is_near(left: Order, right: Order) -> bool:
    return abs(left.sent_us - right.sent_us) <= NEAR_US
