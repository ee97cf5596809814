"""`afterstay migrate`."""

from services.commands.arguments import Arguments
from services.commands.connections import database_of
from services.commands.exit_codes import OK
from services.commands.output import tell, write_json
from services.followup.store.migrate import HEAD, current_revision, migrate
from services.runtime.database import open_database


def run_migrations(arguments: Arguments) -> int:
    """Bring the database to the schema of this release."""
    engine = open_database(database_of(arguments))
    try:
        before = current_revision(engine)
        migrate(engine)
    finally:
        engine.dispose()
    if arguments.json:
        write_json({"before": before, "revision": HEAD, "changed": before != HEAD})
    else:
        tell(f"the database is at revision {HEAD}" + (", as before" if before == HEAD else f", and was {before}"))
    return OK
