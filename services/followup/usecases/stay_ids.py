"""Which row a stay keeps: ids for computed stays, and what becomes of rows that no stay is told by any more.

A stay is computed from fragments, so a message may split or join stays. A row stays with the stay that has its
discharge; of several rows for one stay the one with people's work on it is kept, then the one with tasks. Tasks of an
absorbed row pass to the stay that took it over, so no attempt is lost. Row ids may differ by order of arrival; the
stays and open tasks do not (DESIGN §1, P7).

When messages are read anew (`usecases.rebuild`) a row may lose all its fragments. It then follows its messages to the
stay that they tell of now; where they tell of none it is kept as *untold*, and the same stay told again takes it back.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from typing import Final

from services.followup.domain.people import Told
from services.followup.domain.tasks import Task
from services.followup.usecases.ports import StayRow

ABSORBED: Final = "absorbed"
"""Status of a row whose messages all turned out to belong to another stay; kept for its history."""


UNTOLD: Final = "untold"
"""Why a row is absorbed that no message tells of as messages are read now; it keeps its day of discharge."""


NOBODY: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Ids of the stays, in their order; rows as they were; rows to write as absorbed; tasks by the row's id.

    Tasks under the id of an absorbed row passed to no stay.
    """

    ids: Sequence[str]
    rows: Sequence[StayRow]
    absorbed: Sequence[StayRow]
    tasks: Mapping[str, Sequence[Task]]


def assign_ids(
    stays: Sequence[Told],
    attached: Mapping[str, str | None],
    rows: Sequence[StayRow],
    tasks: Sequence[Task],
    new_id: Callable[[], str],
    *,
    followers: Mapping[str, Collection[str]] = NOBODY,
) -> Assignment:
    """Give every stay an id. `attached` says which row each fragment was attached to (by fragment key).

    `followers` holds rows that lost fragments, each with the fragments that their messages are in now.
    """
    by_row: dict[str, list[Task]] = {}
    for task in tasks:
        by_row.setdefault(task.stay_id, []).append(task)
    by_id = {row.id: row for row in rows}
    heirs = _heirs(stays, attached, by_id, followers)
    heirs |= _returns(stays, rows, set(heirs.values()))
    ids: list[str] = []
    owned: dict[str, list[Task]] = {}
    for index in range(len(stays)):
        inherited = sorted((row_id for row_id, heir in heirs.items() if heir == index), key=_keep_first(by_row))
        kept = inherited[0] if inherited else new_id()
        ids.append(kept)
        owned[kept] = [task for row_id in inherited for task in by_row.get(row_id, ())]
    absorbed = [
        replace(row, status=ABSORBED, discharged_on=None, follow_up="no-task", follow_up_reason=ABSORBED)
        for row in rows
        if row.id in heirs and row.id not in ids and row.status != ABSORBED
    ]
    for row_id in sorted(followers.keys() & by_id.keys() - heirs.keys()):
        untold = replace(by_id[row_id], status=ABSORBED, follow_up="no-task", follow_up_reason=UNTOLD)
        absorbed.append(untold)
        owned[row_id] = by_row.get(row_id, [])
    return Assignment(ids=ids, rows=rows, absorbed=absorbed, tasks=owned)


def _heirs(
    stays: Sequence[Told],
    attached: Mapping[str, str | None],
    rows: Mapping[str, StayRow],
    followers: Mapping[str, Collection[str]],
) -> dict[str, int]:
    """Return for every row that still has fragments, or whose messages a stay has, the stay that inherits it."""
    claims: dict[str, list[int]] = {}
    for index, told in enumerate(stays):
        for row_id in {attached.get(key) for key in told.view.fragment_keys}:
            if row_id is not None and row_id in rows:
                claims.setdefault(row_id, []).append(index)
    for row_id, keys in followers.items():
        heirs = [index for index, told in enumerate(stays) if not set(keys).isdisjoint(told.view.fragment_keys)]
        if heirs and row_id in rows and row_id not in claims:
            claims[row_id] = heirs
    return {row_id: _heir(indexes, rows[row_id], stays) for row_id, indexes in claims.items()}


def _returns(stays: Sequence[Told], rows: Sequence[StayRow], inherited: Collection[int]) -> dict[str, int]:
    """Return the untold rows that stays without a row take back, because they are the same visit and end."""
    untold = {_visit(row): row.id for row in rows if row.follow_up_reason == UNTOLD}
    found: dict[str, int] = {}
    for index, told in enumerate(stays if untold else ()):
        view = told.view
        row_id = untold.pop((told.source_key, view.visit_authority, view.visit_number, view.discharged_on), None)
        if index not in inherited and row_id is not None:
            found[row_id] = index
    return found


def _visit(row: StayRow) -> tuple[str, str | None, str | None, date | None]:
    return row.source_key, row.visit_authority, row.visit_number, row.discharged_on


def _heir(indexes: Sequence[int], row: StayRow, stays: Sequence[Told]) -> int:
    same_end = [index for index in indexes if stays[index].view.discharged_on == row.discharged_on]
    return (same_end or list(indexes))[0]


def _keep_first(by_row: Mapping[str, Sequence[Task]]) -> Callable[[str], tuple[bool, bool, str]]:
    def rank(row_id: str) -> tuple[bool, bool, str]:
        tasks = by_row.get(row_id, ())
        return not any(task.is_touched for task in tasks), not tasks, row_id

    return rank
