"""Import a panel file: who the practices follow, and since when.

Promises (fault B41, domain §4):
- Nothing is ever half-loaded: one rejected row refuses the whole file, and a process that dies leaves the old panel.
- The same file twice changes nothing.
- `merge` (the default): what the file does not speak of stays. `replace`: memberships that the file does not speak of
  end yesterday, and a file that would drop more than a set share of the people is refused.
- What the file has no column for stays as it is; an empty cell empties.

Two rows about one patient are two memberships if practice, program or first day differ; they must say the same of
the person. After a change every stay is enqueued to be looked at again, so that the panel has the same effect whether
it came before or after the messages.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from services.followup.usecases.panel_file import PanelFile, open_panel_file
from services.followup.usecases.panel_ports import (
    Comparison,
    Load,
    Mode,
    PanelImports,
    PanelRow,
    PanelStaging,
    RowResult,
)
from services.followup.usecases.panel_report import RESULTS_MAX, PanelReport, Refusal
from services.runtime.clock import Clock

DROP_SHARE_MAX: Final = 0.10
"""Of the people on the panel, how many a `replace` may drop; a roster that lost more is a broken export [D]."""
BATCH_ROWS: Final = 5_000


@dataclass(slots=True)
class _Read:
    """What was read of a file: how many rows, and those that are no rows; the first of them are listed."""

    rows: int = 0
    rejected: int = 0
    rejections: list[RowResult] = field(default_factory=list)


class ImportPanel:
    """The use case. Synchronous; may run while the services do."""

    def __init__(self, imports: PanelImports, clock: Clock) -> None:
        self._imports = imports
        self._clock = clock

    def run(
        self,
        path: Path,
        *,
        actor: str,
        mode: Mode = "merge",
        dry_run: bool = False,
        today: date | None = None,
        drop_share_max: float = DROP_SHARE_MAX,
    ) -> PanelReport:
        """Import the file, or with `dry_run` only say what that would do.

        `today` is the practice's local date, by default UTC's: memberships that end, end the day before it.

        Raises:
            Permanent: the file cannot be read at all, or is no panel file.
            Transient: nothing was loaded; another import is running, or the database is busy or full.
            Ambiguous: the disk failed; import the file again, which is harmless.
        """
        at = self._clock.now()
        today = today or at.date()
        with open_panel_file(path) as source, self._imports.staging() as staging:
            file = PanelFile(source, today)
            read = _stage(file, staging)
            comparison = staging.compare(mode, file.stated, today, complete=not read.rejected)
            refusal = _refusal(read, comparison, drop_share_max)
            results = [*read.rejections, *staging.results(RESULTS_MAX)][:RESULTS_MAX]
            loads = refusal is None and not dry_run and comparison.changes_something
            if loads:
                staging.load(
                    Load(
                        file_name=path.name,
                        sha256=file.sha256,
                        mode=mode,
                        row_count=read.rows,
                        actor=actor,
                        at=at,
                    )
                )
        return PanelReport(
            file=path.name,
            mode=mode,
            dry_run=dry_run,
            rows=read.rows,
            added=comparison.added,
            changed=comparison.changed,
            unchanged=comparison.unchanged,
            ended=comparison.ended,
            rejected=read.rejected + comparison.rejected,
            loaded=loads,
            refusal=refusal,
            results=tuple(sorted(results, key=_by_row)),
            results_omitted=read.rows + comparison.ended - len(results),
        )


def _stage(file: PanelFile, staging: PanelStaging) -> _Read:
    read = _Read()
    rows = _good_rows(file.rows(), read)
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        staging.stage(batch)
    return read


def _good_rows(rows: Iterator[PanelRow | RowResult], read: _Read) -> Iterator[PanelRow]:
    for row in rows:
        read.rows += 1
        if isinstance(row, PanelRow):
            yield row
            continue
        read.rejected += 1
        if len(read.rejections) < RESULTS_MAX:
            read.rejections.append(row)


def _refusal(read: _Read, comparison: Comparison, drop_share_max: float) -> Refusal | None:
    if read.rows == 0:
        return Refusal(code="no-rows", text="the file has a header and no rows")
    rejected = read.rejected + comparison.rejected
    if rejected:
        return Refusal(
            code="rows-rejected",
            text=f"{rejected} of {read.rows} rows cannot be loaded; a file is loaded as a whole or not at all",
        )
    allowed = drop_share_max * comparison.patients_before
    if comparison.patients_dropped > allowed:
        return Refusal(
            code="replace-drops-too-many",
            text=f"the file leaves out {comparison.patients_dropped} of {comparison.patients_before} people on the "
            f"panel, more than {drop_share_max:.0%}; check that it is complete",
        )
    return None


def _by_row(result: RowResult) -> tuple[bool, int, str]:
    """Order by row; what ends is named by no row and comes last."""
    return result.row is None, result.row or 0, result.patient_id or ""
