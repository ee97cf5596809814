"""Fragments: the joined state of what was stated about a stay, a join-semilattice.

Messages about one stay do not always say which stay they mean, and a join cannot be undone when an earlier message
turns up. So messages join into *fragments*, whose key is a function of the message alone, and the view
(`domain.stays`) puts fragments together. Joining is commutative, associative and idempotent: every part is a maximum
or minimum by statement order, or a union of such by key. Its size is bounded by the distinct times stated, not by the
number of messages, so the thousandth message costs what the first did.

Sources: DESIGN §1 and §5, domain rules 1, 3, 5 and 6 of §2.5.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from services.followup.domain.statements import Order, Statement, bounded
from services.followup.domain.times import StatedTime, from_microseconds, is_after

_Part = TypeVar("_Part")

ADMITS: Final = frozenset({"A01", "A04", "A05", "A06", "A07"})
REOPENS: Final = frozenset({"A01", "A04", "A06"})
EXPECTS: Final = frozenset({"A01", "A02", "A04", "A05"})
"""Triggers whose PV1-45 is an expected time."""
CANCEL_ADMIT: Final = "A11"
CANCEL_DISCHARGE: Final = "A13"
MOVEMENTS: Final = ADMITS | {"A03", CANCEL_ADMIT, CANCEL_DISCHARGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """That something was stated: its order, its receipt, and whether the feed lets the message make tasks."""

    order: Order
    received_us: int
    admitted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The value of a field with the order of the statement that set it; `None` is HL7's explicit null."""

    order: Order
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DischargeClaim:
    """All that was said of one discharge time (rule 1).

    A *fact* is an A03, or an A08 whose time is not ahead of the statement itself. Facts and A03s keep their first and
    last statement; `ahead` is the first statement that called the time expected; `with_disposition` the last fact
    that came with a disposition; `admitted` the last fact that may make tasks.
    """

    time: StatedTime
    first: Mark | None = None
    last: Mark | None = None
    discharged: Mark | None = None
    """The last A03."""
    with_disposition: Mark | None = None
    admitted: Mark | None = None
    ahead: Order | None = None
    learned_us: int | None = None
    """Earliest receipt of a fact."""
    movement_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakClaim:
    """A03s of one day that name no time of discharge: EVN-2 or MSH-7 of the first, used only for want of better."""

    first_time: StatedTime
    first: Mark
    last_time: StatedTime
    last: Mark
    admitted: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The last statement of one admission: trigger and time. `repeats` is its own PV1-45, if any (see A06)."""

    trigger: str
    time: StatedTime
    order: Order
    repeats: StatedTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The last cancel of one target: A11 or A13, the time it names (EVN-6) and the movement (ZBE-1), if any."""

    trigger: str
    order: Order
    named: StatedTime | None = None
    movement_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """Joined state of the messages with one fragment key."""

    key: str
    source_key: str
    visit_authority: str | None
    visit_number: str | None
    facility_code: str
    admit_time: StatedTime | None
    when: StatedTime
    """Where a fragment without an admit time stands in time: its own movement, else its day."""
    fields: dict[str, Said] = field(default_factory=dict)
    discharges: dict[str, DischargeClaim] = field(default_factory=dict)
    weak: dict[str, WeakClaim] = field(default_factory=dict)
    admissions: dict[str, Admission] = field(default_factory=dict)
    cancels: dict[str, Cancel] = field(default_factory=dict)


def fragment_key(statement: Statement) -> str:
    """Return the key of the fragment a statement joins: a function of the message alone (rules 5 and 6).

    With a visit number: (patient, authority, number, PV1-44 as stated, else the day). Without: (patient, facility,
    PV1-44 as stated), and where that is missing too a movement stands alone and other messages join by day.
    """
    number = statement.visit_number
    scope = f"v|{statement.visit_authority or ''}|{number}" if number else f"n|{statement.facility_code}"
    return bounded(f"{statement.source_key}|{scope}|{_key_time(statement)}")


def _key_time(statement: Statement) -> str:
    if statement.admit_time is not None:
        return statement.admit_time.key
    day = _when(statement)
    if statement.visit_number:
        return f"~{day.local[:10]}"
    if _states_discharge(statement):
        return f"~A03@{day.key}"
    if statement.trigger in MOVEMENTS:
        return f"~{statement.trigger}@{day.key}"
    return f"~{day.local[:10]}"


def _when(statement: Statement) -> StatedTime:
    if _states_discharge(statement) and statement.discharge_time is not None:
        return statement.discharge_time
    return statement.occurred


def _states_discharge(statement: Statement) -> bool:
    return statement.trigger == "A03" or (statement.trigger == "A08" and _is_fact(statement))


def _is_fact(statement: Statement) -> bool:
    """Whether an A08 states PV1-45 as having happened: not ahead of when it was recorded or sent (rule 1)."""
    time = statement.discharge_time
    if statement.trigger != "A08" or time is None:
        return False
    sent = StatedTime(
        local=from_microseconds(statement.order.sent_us).replace(tzinfo=None).isoformat(timespec="minutes"),
        offset_minutes=0,
    )
    stated = (statement.recorded_time, sent)
    return any(not is_after(time, one, statement.zone) for one in stated)


def fragment_of(statement: Statement) -> Fragment:
    """Return the fragment that holds one statement alone."""
    return Fragment(
        key=fragment_key(statement),
        source_key=statement.source_key,
        visit_authority=statement.visit_authority,
        visit_number=statement.visit_number,
        facility_code=statement.facility_code,
        admit_time=statement.admit_time,
        when=_when(statement),
        fields={name: Said(order=statement.order, value=value) for name, value in statement.fields.items()},
        discharges=_discharges_of(statement),
        weak=_weak_of(statement),
        admissions=_admissions_of(statement),
        cancels=_cancels_of(statement),
    )


def _mark(statement: Statement) -> Mark:
    return Mark(order=statement.order, received_us=statement.received_us, admitted=statement.admitted)


def _discharges_of(statement: Statement) -> dict[str, DischargeClaim]:
    time = statement.discharge_time
    if time is None and statement.trigger == "A03":
        time = statement.event_time  # PV1-45, else EVN-6 (domain §2.1)
    if time is None or statement.trigger not in EXPECTS | {"A03", "A08"}:
        return {}
    if statement.trigger != "A03" and not _is_fact(statement):
        return {time.key: DischargeClaim(time=time, ahead=statement.order)}
    mark = _mark(statement)
    claim = DischargeClaim(
        time=time,
        first=mark,
        last=mark,
        discharged=mark if statement.trigger == "A03" else None,
        with_disposition=mark if statement.fields.get("disposition") else None,
        admitted=mark if statement.admitted else None,
        learned_us=statement.received_us,
        movement_ids=frozenset({statement.movement_id} if statement.movement_id else ()),
    )
    return {time.key: claim}


def _weak_of(statement: Statement) -> dict[str, WeakClaim]:
    if statement.trigger != "A03" or statement.discharge_time is not None or statement.event_time is not None:
        return {}
    mark, time = _mark(statement), statement.recorded_time
    claim = WeakClaim(
        first_time=time, first=mark, last_time=time, last=mark, admitted=mark if statement.admitted else None
    )
    return {time.local[:10]: claim}


def _admissions_of(statement: Statement) -> dict[str, Admission]:
    if statement.trigger not in ADMITS:
        return {}
    time = statement.occurred
    admission = Admission(trigger=statement.trigger, time=time, order=statement.order, repeats=statement.discharge_time)
    return {f"{statement.trigger}@{time.key}": admission}


def _cancels_of(statement: Statement) -> dict[str, Cancel]:
    if statement.trigger in (CANCEL_ADMIT, CANCEL_DISCHARGE):
        repeated = statement.discharge_time if statement.trigger == CANCEL_DISCHARGE else statement.admit_time
        trigger, named = statement.trigger, statement.event_time or repeated
    elif statement.discharge_deleted and statement.trigger != "A03":
        trigger, named = CANCEL_DISCHARGE, None  # PV1-45 "" is a cancel-discharge in other words (domain §2.1, A08)
    else:
        return {}
    cancel = Cancel(trigger=trigger, order=statement.order, named=named, movement_id=statement.movement_id)
    return {f"{trigger}@{named.key if named else ''}@{cancel.movement_id or ''}": cancel}


def join(left: Fragment, right: Fragment) -> Fragment:
    """Return the least state that holds both. Keys and identity are the left one's: equal when the keys are."""
    return Fragment(
        key=left.key,
        source_key=left.source_key,
        visit_authority=left.visit_authority,
        visit_number=left.visit_number,
        facility_code=left.facility_code,
        admit_time=left.admit_time,
        when=min(left.when, right.when, key=lambda time: time.key),
        fields=_union(left.fields, right.fields, lambda a, b: max(a, b, key=lambda said: said.order)),
        discharges=_union(left.discharges, right.discharges, _join_discharge),
        weak=_union(left.weak, right.weak, _join_weak),
        admissions=_union(left.admissions, right.admissions, lambda a, b: max(a, b, key=lambda one: one.order)),
        cancels=_union(left.cancels, right.cancels, lambda a, b: max(a, b, key=lambda one: one.order)),
    )


def _union(
    left: Mapping[str, _Part], right: Mapping[str, _Part], merge: Callable[[_Part, _Part], _Part]
) -> dict[str, _Part]:
    joined = dict(left)
    for key, value in right.items():
        joined[key] = merge(joined[key], value) if key in joined else value
    return joined


def _join_discharge(left: DischargeClaim, right: DischargeClaim) -> DischargeClaim:
    return DischargeClaim(
        time=left.time,
        first=_earlier(left.first, right.first),
        last=_later(left.last, right.last),
        discharged=_later(left.discharged, right.discharged),
        with_disposition=_later(left.with_disposition, right.with_disposition),
        admitted=_later(left.admitted, right.admitted),
        ahead=min((order for order in (left.ahead, right.ahead) if order is not None), default=None),
        learned_us=min((us for us in (left.learned_us, right.learned_us) if us is not None), default=None),
        movement_ids=left.movement_ids | right.movement_ids,
    )


def _join_weak(left: WeakClaim, right: WeakClaim) -> WeakClaim:
    first = left if left.first.order <= right.first.order else right
    last = left if left.last.order >= right.last.order else right
    return WeakClaim(
        first_time=first.first_time,
        first=_earlier(left.first, right.first) or first.first,
        last_time=last.last_time,
        last=_later(left.last, right.last) or last.last,
        admitted=_later(left.admitted, right.admitted),
    )


def _earlier(left: Mark | None, right: Mark | None) -> Mark | None:
    if left is None or right is None:
        return left or right
    if left.order == right.order:
        return _first_receipt(left, right)
    return left if left.order < right.order else right


def _later(left: Mark | None, right: Mark | None) -> Mark | None:
    if left is None or right is None:
        return left or right
    if left.order == right.order:
        return _first_receipt(left, right)
    return left if left.order > right.order else right


def _first_receipt(left: Mark, right: Mark) -> Mark:
    """Of two receipts of the same statement the first counts, so that duplicates join in any order."""
    return left if left.received_us <= right.received_us else right
