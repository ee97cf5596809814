"""`afterstay panel import`."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, required_database
from services.commands.exit_codes import OK, REFUSED
from services.commands.output import tell, write_text
from services.followup.store.migrate import migrate
from services.followup.store.panel import SqlPanelImports
from services.followup.usecases.panel import ImportPanel
from services.followup.usecases.panel_report import report_json, report_text
from services.runtime.clock import SystemClock
from services.runtime.database import DATABASE_FILE, database_url, open_database


def import_file(arguments: Arguments) -> int:
    """Load a panel file, or say what that would do; fail when it is refused."""
    clock = SystemClock()
    with _database(arguments) as engine:
        report = ImportPanel(SqlPanelImports(engine), clock).run(
            arguments.file,
            actor=arguments.actor,
            mode=arguments.panel_mode,
            dry_run=arguments.dry_run,
            today=clock.now().astimezone().date(),  # of this machine's zone, which is the practice's
            drop_share_max=arguments.drop_percent_max / 100,
        )
    write_text(report_json(report) if arguments.json else report_text(report))
    if report.refusal is not None:
        tell(f"nothing was loaded: {report.refusal.text} [{report.refusal.code}]")
    return OK if report.accepted else REFUSED


@contextmanager
def _database(arguments: Arguments) -> Generator[sa.Engine]:
    """Give the database; to a dry run that finds no folder's, an empty one that goes away again."""
    source = DataSource.of(arguments)
    if source.folder is None:
        with required_database(source) as engine:
            yield engine
        return
    if not arguments.dry_run or (source.folder / DATABASE_FILE).exists():
        with _made_database(source.folder) as engine:
            yield engine
        return
    with tempfile.TemporaryDirectory(prefix="afterstay-") as folder, _made_database(Path(folder)) as engine:
        yield engine


@contextmanager
def _made_database(data: Path) -> Generator[sa.Engine]:
    """Give the database of a data folder at the schema of this release, making folder and database if need be.

    Raises:
        Permanent: it cannot be made, or is of a later release.
    """
    data.mkdir(parents=True, exist_ok=True)
    engine = open_database(database_url(data))
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()
