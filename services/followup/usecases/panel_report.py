"""What an import of a panel file did, or would do, for people and for programs.

Promise: nothing in it was read from a cell but patient numbers, by which rows are found again.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

from services.followup.usecases.panel_ports import Mode, RowResult

RESULTS_MAX: Final = 10_000
"""Rows listed in a report; a million of them would be no report. Rejected rows come first, all are counted."""
RESULTS_PRINTED_MAX: Final = 50

_COUNTED: Final = ("added", "changed", "unchanged", "ended", "rejected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a file was not loaded: a stable kebab-case code, and what to do."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelReport:
    """The result of an import. `loaded` says whether the panel is another one than before."""

    file: str
    mode: Mode
    dry_run: bool
    rows: int
    added: int
    changed: int
    unchanged: int
    ended: int
    rejected: int
    loaded: bool
    refusal: Refusal | None
    results: tuple[RowResult, ...]
    """By row, at most `RESULTS_MAX`."""
    results_omitted: int

    @property
    def accepted(self) -> bool:
        """Whether the file was, or without `dry_run` would have been, good enough to load."""
        return self.refusal is None


def report_json(report: PanelReport) -> str:
    """Return the report as JSON."""
    results = [{name: value for name, value in asdict(one).items() if value is not None} for one in report.results]
    counts = {name: getattr(report, name) for name in _COUNTED}
    refusal = asdict(report.refusal) if report.refusal else None
    return json.dumps(
        {
            "file": report.file,
            "mode": report.mode,
            "dry_run": report.dry_run,
            "loaded": report.loaded,
            "refused": refusal,
            "rows": report.rows,
            "counts": counts,
            "results": results,
            "results_omitted": report.results_omitted,
        },
        indent=2,
    )


def report_text(report: PanelReport) -> str:
    """Return the report as a person reads it: what happened, the numbers, and the rows that need a look."""
    counts = ", ".join(f"{getattr(report, name)} {name}" for name in _COUNTED)
    lines = [_verdict(report), f"{report.rows} rows: {counts}"]
    telling = [one for one in report.results if one.reason is not None]
    lines += [f"  row {one.row}: {one.outcome}: {one.text} [{one.reason}]" for one in telling[:RESULTS_PRINTED_MAX]]
    if len(telling) > RESULTS_PRINTED_MAX:
        lines.append(f"  … and {len(telling) - RESULTS_PRINTED_MAX} more; --json lists them")
    return "\n".join(lines)


def _verdict(report: PanelReport) -> str:
    if report.refusal is not None:
        return f"{report.file}: nothing was loaded: {report.refusal.text} [{report.refusal.code}]"
    if report.dry_run:
        return f"{report.file}: dry run, nothing was loaded; without --dry-run this would be the result"
    if report.loaded:
        return f"{report.file}: loaded"
    return f"{report.file}: the panel says all of this already; nothing changed"
