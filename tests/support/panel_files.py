"""Panel files and their import, for tests."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from services.followup.store.panel import SqlPanelImports
from services.followup.usecases.panel import ImportPanel
from services.followup.usecases.panel_report import PanelReport
from services.runtime.clock import FixedClock

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
TODAY = date(2026, 11, 24)
YESTERDAY = date(2026, 11, 23)

ANA = {"patient_id": "ana", "family": "Rivera", "given": "Ana", "birth_date": "1952-03-14"}
BEN = {"patient_id": "ben", "family": "Okafor", "given": "Ben", "birth_date": "1960-07-01"}
CHI = {"patient_id": "chi", "family": "Ng", "given": "Chi", "birth_date": "1971-12-31"}


def panel_text(rows: Iterable[Mapping[str, str]], *, delimiter: str = ",") -> str:
    """Return rows as a panel file that has the columns they use; quotes nothing."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row)) or list(ANA)
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def write_panel(folder: Path, *rows: Mapping[str, str]) -> Path:
    """Write a panel file and return it."""
    path = folder / "panel.csv"
    path.write_text(panel_text(rows), encoding="utf-8")
    return path


def import_panel(engine: sa.Engine, path: Path, **options: Any) -> PanelReport:
    """Import a file as `afterstay panel import` does."""
    importer = ImportPanel(SqlPanelImports(engine), FixedClock(NOW))
    return importer.run(path, actor="tester", **{"today": TODAY, **options})


def counts(report: PanelReport) -> dict[str, int]:
    """Return the counts of a report that are not zero."""
    names = ("added", "changed", "unchanged", "ended", "rejected")
    return {name: getattr(report, name) for name in names if getattr(report, name)}
