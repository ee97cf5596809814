"""A process that imports a panel file and says each time before it commits; for tests that kill it.

Run as a module with the data folder and the file. It goes on as soon as it has said so.
"""

import sys
from pathlib import Path

import sqlalchemy as sa

from services.runtime.database import database_url, open_database
from tests.support.panel_files import import_panel


def main(data_dir: Path, file: Path) -> None:
    """Import the file."""
    engine = open_database(database_url(data_dir))
    sa.event.listen(engine, "commit", _announce)
    import_panel(engine, file)


def _announce(_connection: sa.Connection) -> None:
    sys.stdout.write("commit\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
