"""Settle source patients: from joined fragments to stays, links, tasks and reviews, in one unit of work.

Everything written here is a function of the fragments, the panel, the protocol and `now`: settling twice changes
nothing, and any order of messages ends the same (P7). What a stay is told by may change as messages arrive; the stay
then keeps its id where a discharge or people's work is attached to it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec

from services.followup.domain.decisions import Decision, Rules, Standing, decide
from services.followup.domain.fragments import Fragment, join
from services.followup.domain.identity import Linked, Uncertain, match
from services.followup.domain.people import Told, VisitNumber, stays_told, visit_numbers
from services.followup.domain.reconcile import Absence, Anchor, Change, application_order, reconcile
from services.followup.domain.tasks import PROTOCOL_ACTOR, Task
from services.followup.usecases.ports import ReviewItem, StayRow, StoredFragment, UnitOfWork
from services.followup.usecases.stay_ids import UNTOLD, Assignment, assign_ids

RECHECK: Final = "recheck"
"""Kind of the timer that looks at a stay again when its plan changes by itself."""

WAITS: Final = ("no_effect", "waits-for-stay")
"""Outcome of the events of a fragment that belongs to no stay yet."""

UNTOLD_ABSENCE: Final = Absence(code=UNTOLD, text="no message tells of this stay any more, as they are read now")

SHARING_ROUNDS_MAX: Final = 5
"""People known under one visit number are settled together; longer chains of shared numbers are cut here [D]."""

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Outcome of the events of each fragment, by fragment key, and how the books of earlier events moved.

    Also what was written: the stays that are otherwise now, by what they are told by (`_name_of`), and the changes of
    tasks.
    """

    outcomes: Mapping[str, tuple[str, str]]
    restated: Mapping[tuple[str, str], int]
    stays: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retold:
    """What is told anew rather than more: fragments to forget before joining, and where their messages are now.

    `dropped` are fragment keys; one that the pieces tell again keeps its stay. `moved` says for a dropped fragment
    into which fragments its messages are read now, so that a stay's row, and people's work on it, follows them.
    """

    dropped: frozenset[str] = frozenset()
    moved: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """A stay with its id, who it is linked to and what follows."""

    id: str
    told: Told
    standing: Standing
    decision: Decision

    @property
    def patient_id(self) -> str | None:
        linked = self.standing.match
        return linked.patient_id if isinstance(linked, Linked) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Everything decided in one settling. `attached` says where each fragment was, by key."""

    decided: Sequence[_Decided]
    waiting: Sequence[Fragment]
    assignment: Assignment
    attached: Mapping[str, str | None]
    now: datetime
    stays: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()

    @property
    def places(self) -> dict[str, str | None]:
        """Where each fragment is now, by key."""
        waiting: dict[str, str | None] = {fragment.key: None for fragment in self.waiting}
        return waiting | {key: one.id for one in self.decided for key in one.told.view.fragment_keys}


NOTHING_RETOLD: Final = Retold()


class FollowUp:
    """The use case; `new_id` gives ids for new stays and tasks."""

    def __init__(self, rules: Rules, new_id: Callable[[], str]) -> None:
        self._rules = rules
        self._new_id = new_id

    def settle(
        self,
        unit: UnitOfWork,
        pieces: Mapping[str, Iterable[Fragment]],
        now: datetime,
        retold: Retold = NOTHING_RETOLD,
    ) -> Settled:
        """Join `pieces` (by source key) into their source patients and bring all that follows up to date.

        What is `retold` is forgotten first. The caller then removes the fragments that nothing is part of any more.
        """
        unit.stays.lock(sorted(pieces))
        stored = unit.stays.fragments_of(sorted(pieces))
        before = {key: {one.fragment.key: one for one in found} for key, found in stored.items()}
        current = {
            key: {name: one for name, one in found.items() if name not in retold.dropped}
            for key, found in before.items()
        }
        unit.stays.put_fragments(_join_pieces(current, pieces, before))
        unit.stays.lock_visits(_brought(before, current))
        shared = visit_numbers(one.fragment for found in before.values() for one in found.values())
        _add_sharers(unit, current, shared)
        told = stays_told([[one.fragment for one in found.values()] for found in current.values()])
        rows = [row for found in unit.stays.stays_of(sorted(current)).values() for row in found]
        tasks = unit.tasks.tasks_of(sorted(row.id for row in rows))
        attached = {key: one.stay_id for found in current.values() for key, one in found.items()}
        followers = _followers(before, current, retold)
        assignment = assign_ids(told.stays, attached, rows, tasks, self._new_id, followers=followers)
        decided = self._decide(unit, told.stays, assignment, now)
        batch = _Batch(decided=decided, waiting=told.waiting, assignment=assignment, attached=attached, now=now)
        return _settled(unit, self._write(unit, batch))

    def _decide(self, unit: UnitOfWork, stays: Sequence[Told], assignment: Assignment, now: datetime) -> list[_Decided]:
        candidates = unit.panel.find_candidates([told.person for told in stays])
        decided = []
        for stay_id, told, found in zip(assignment.ids, stays, candidates, strict=True):
            result = match(told.person, found)
            linked_to = result.patient_id if isinstance(result, Linked) else None
            memberships = next((one.memberships for one in found if one.patient_id == linked_to), ())
            standing = Standing(match=result, memberships=memberships, shared_with_other=told.shared_with_other)
            decision = decide(told.view, standing, self._rules, now)
            decided.append(_Decided(id=stay_id, told=told, standing=standing, decision=decision))
        return decided

    def _write(self, unit: UnitOfWork, batch: _Batch) -> _Batch:
        assignment = batch.assignment
        before = {row.id: row for row in assignment.rows}
        rows = [*(_row(one) for one in batch.decided), *assignment.absorbed]
        moved = {key: stay_id for key, stay_id in batch.places.items() if batch.attached.get(key, "") != stay_id}
        changed = [row for row in rows if before.get(row.id) != row]
        unit.stays.put_stays(changed, moved, batch.now)
        changes = [change for one in batch.decided for change in self._reconcile(one, assignment, batch.now)]
        for row in assignment.absorbed:  # tasks of a row that passed to no stay: nothing tells of it any more
            tasks = assignment.tasks.get(row.id, ())
            changes += reconcile(anchor=None, plan=(), absence=UNTOLD_ABSENCE, tasks=tasks, new_ids=(), now=batch.now)
        ordered = tuple(sorted(changes, key=application_order))
        unit.tasks.apply(ordered, PROTOCOL_ACTOR)
        reviews = [item for one in batch.decided if (item := _review(one)) is not None]
        unit.stays.put_reviews([row.id for row in rows], reviews, batch.now)
        dues: dict[str, datetime | None] = {one.id: one.decision.look_again_at for one in batch.decided}
        unit.dues.set(RECHECK, dict.fromkeys((row.id for row in assignment.absorbed), None) | dues)
        return replace(batch, stays=frozenset(map(_name_of, changed)), changes=ordered)

    def _reconcile(self, one: _Decided, assignment: Assignment, now: datetime) -> tuple[Change, ...]:
        tasks: Sequence[Task] = assignment.tasks.get(one.id, ())
        items = one.decision.items
        return reconcile(
            anchor=_anchor(one, self._rules) if items else None,
            plan=items,
            absence=one.decision.absence,
            tasks=tasks,
            new_ids=[self._new_id() for _ in items],
            now=now,
        )


def _name_of(row: StayRow) -> str:
    """Return what a stay is told by where that is known; ids of new stays differ from one rehearsal to the next."""
    return f"{row.source_key}|{row.visit_authority or ''}|{row.visit_number}" if row.visit_number else row.id


def _join_pieces(
    current: dict[str, dict[str, StoredFragment]],
    pieces: Mapping[str, Iterable[Fragment]],
    before: Mapping[str, Mapping[str, StoredFragment]],
) -> list[Fragment]:
    """Join new pieces into what is there, in place; return the fragments that are otherwise than `before`."""
    touched: dict[str, Fragment] = {}
    for source_key, new in pieces.items():
        there = current.setdefault(source_key, {})
        was = before.get(source_key, {})
        for piece in new:
            old, stored = there.get(piece.key), was.get(piece.key)
            state = piece if old is None else join(old.fragment, piece)
            there[piece.key] = StoredFragment(fragment=state, stay_id=stored.stay_id if stored else None)
            touched[piece.key] = state
    stored_states = {key: one.fragment for found in before.values() for key, one in found.items()}
    return [state for key, state in touched.items() if stored_states.get(key) != state]


def _followers(
    before: Mapping[str, Mapping[str, StoredFragment]],
    current: Mapping[str, Mapping[str, StoredFragment]],
    retold: Retold,
) -> dict[str, set[str]]:
    """Return for each row whose fragment is told no more where the messages of that fragment are now."""
    present = {key for found in current.values() for key in found}
    followers: dict[str, set[str]] = {}
    for found in before.values():
        for key, one in found.items():
            if key not in present and one.stay_id is not None:
                followers.setdefault(one.stay_id, set()).update(retold.moved.get(key, ()))
    return followers


def _brought(
    before: Mapping[str, Mapping[str, StoredFragment]], current: Mapping[str, Mapping[str, StoredFragment]]
) -> set[VisitNumber]:
    """Return the visit numbers that source patients have now and had not before."""
    return {
        number
        for source_key, now in current.items()
        for number in _numbers_of(now) - _numbers_of(before.get(source_key, {}))
    }


def _numbers_of(fragments: Mapping[str, StoredFragment]) -> set[VisitNumber]:
    return visit_numbers(one.fragment for one in fragments.values())


def _add_sharers(unit: UnitOfWork, current: dict[str, dict[str, StoredFragment]], shared: set[VisitNumber]) -> None:
    """Add, in place, the source patients that are known under a visit number of those here, or were (`shared`)."""
    for _ in range(SHARING_ROUNDS_MAX):
        numbers = shared | visit_numbers(one.fragment for found in current.values() for one in found.values())
        others = unit.stays.sharers(numbers) - current.keys() if numbers else set()
        if not others:
            return
        unit.stays.lock(sorted(others))
        for key, found in unit.stays.fragments_of(sorted(others)).items():
            current[key] = {one.fragment.key: one for one in found}


def _anchor(one: _Decided, rules: Rules) -> Anchor:
    view = one.told.view
    assert view.discharged_on is not None
    assert one.patient_id is not None
    return Anchor(
        episode_id=one.id,
        stay_id=one.id,
        patient_id=one.patient_id,
        discharged_on=view.discharged_on,
        discharged_at=view.discharged_at,
        zone=view.zone,
        protocol=rules.protocol.name,
    )


def _row(one: _Decided) -> StayRow:
    view, result, decision = one.told.view, one.standing.match, one.decision
    state = "linked" if isinstance(result, Linked) else "review" if isinstance(result, Uncertain) else "unlinked"
    return StayRow(
        id=one.id,
        source_key=one.told.source_key,
        visit_authority=view.visit_authority,
        visit_number=view.visit_number,
        status=view.status,
        discharged_on=view.discharged_on,
        view=_encode(view).decode(),
        patient_id=one.patient_id,
        match_state=state,
        match=_encode(result).decode(),
        follow_up=decision.follow_up,
        follow_up_reason=None if decision.follow_up == "planned" else decision.absence.code,
        outcome=decision.outcome,
        outcome_reason=decision.outcome_reason,
    )


def _review(one: _Decided) -> ReviewItem | None:
    """Return what a person must decide, with the evidence: candidates by patient id, never demographics."""
    reason = one.decision.review
    if reason is None:
        return None
    result = one.standing.match
    kind = "match" if isinstance(result, Uncertain) else "stay"
    return ReviewItem(stay_id=one.id, kind=kind, reason=reason.code, evidence=_encode([reason.text, result]).decode())


def _settled(unit: UnitOfWork, batch: _Batch) -> Settled:
    """Re-state the events of stays whose outcome changed and of fragments that moved; the rest stand as they are."""
    before = {row.id: (row.outcome, row.outcome_reason) for row in batch.assignment.rows}
    outcomes = {fragment.key: WAITS for fragment in batch.waiting}
    stale = {fragment.key for fragment in batch.waiting if batch.attached.get(fragment.key) is not None}
    for one in batch.decided:
        outcome = (one.decision.outcome, one.decision.outcome_reason)
        for key in one.told.view.fragment_keys:
            outcomes[key] = outcome
            if batch.attached.get(key, one.id) != one.id or before.get(one.id, outcome) != outcome:
                stale.add(key)
    restated = unit.stays.restate_events({key: outcomes[key] for key in sorted(stale)})
    return Settled(outcomes=outcomes, restated=restated, stays=batch.stays, changes=batch.changes)
