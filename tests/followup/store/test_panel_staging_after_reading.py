"""A connection that has read before takes an import as well: the pool hands the same one out again."""

from pathlib import Path

import sqlalchemy as sa

from services.followup.store.migrate import migrate
from services.followup.store.panel import SqlPanelImports
from services.followup.usecases.panel import ImportPanel
from services.runtime.clock import SystemClock
from services.runtime.database import open_database, read_transaction
from tests.support.household import PANEL


def test_an_import_after_a_read_on_the_same_connection_is_loaded(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/afterstay.db")
    migrate(engine)
    with read_transaction(engine) as connection:
        connection.execute(sa.text("SELECT 1"))
    file = tmp_path / "panel.csv"
    file.write_text(PANEL, encoding="utf-8")
    report = ImportPanel(SqlPanelImports(engine), SystemClock()).run(file, actor="test")
    engine.dispose()
    assert report.refusal is None
