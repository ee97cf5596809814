"""Which row a stay keeps: ids for computed stays, and what becomes of rows that no stay is told by any more.

A stay is computed from fragments, so a message may split or join stays. A row stays with the stay that has its
discharge; of several rows for one stay the one with people's work on it is kept, then the one with tasks. Tasks of an
absorbed row pass to the stay that took it over, so no attempt is lost. Row ids may differ by order of arrival; the
stays and open tasks do not (DESIGN §1, P7).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.followup.domain.people import Told
from services.followup.domain.tasks import Task
from services.followup.usecases.ports import StayRow

ABSORBED: Final = "absorbed"
"""Status of a row whose messages all turned out to belong to another stay; kept for its history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Ids of the stays, in their order; rows as they were; rows to write as absorbed; tasks by the stay's id."""

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
) -> Assignment:
    """Give every stay an id. `attached` says which row each fragment was attached to (by fragment key)."""
    by_row: dict[str, list[Task]] = {}
    for task in tasks:
        by_row.setdefault(task.stay_id, []).append(task)
    heirs = _heirs(stays, attached, {row.id: row for row in rows})
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
    return Assignment(ids=ids, rows=rows, absorbed=absorbed, tasks=owned)


def _heirs(stays: Sequence[Told], attached: Mapping[str, str | None], rows: Mapping[str, StayRow]) -> dict[str, int]:
    """Return for every row that still has fragments the stay that inherits it, by index."""
    claims: dict[str, list[int]] = {}
    for index, told in enumerate(stays):
        for row_id in {attached.get(key) for key in told.view.fragment_keys}:
            if row_id is not None and row_id in rows:
                claims.setdefault(row_id, []).append(index)
    return {row_id: _heir(indexes, rows[row_id], stays) for row_id, indexes in claims.items()}


def _heir(indexes: Sequence[int], row: StayRow, stays: Sequence[Told]) -> int:
    same_end = [index for index in indexes if stays[index].view.discharged_on == row.discharged_on]
    return (same_end or list(indexes))[0]


def _keep_first(by_row: Mapping[str, Sequence[Task]]) -> Callable[[str], tuple[bool, bool, str]]:
    def rank(row_id: str) -> tuple[bool, bool, str]:
        tasks = by_row.get(row_id, ())
        return not any(task.is_touched for task in tasks), not tasks, row_id

    return rank
