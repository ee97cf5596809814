"""Imports into the panel: one at a time, each with a connection of its own (port: `usecases.panel_ports.PanelImports`).

Owns the lock that lets one import run at a time: a lock file beside a SQLite database, an advisory lock of the session
in PostgreSQL. Either ends with its process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from services.followup.store.locks import Lock, give_back, try_for_session
from services.followup.store.panel_staging import SqlStaging
from services.followup.store.postgresql import panel_staging as on_server
from services.followup.usecases.panel_ports import PanelStaging
from services.runtime.database import database_file, is_postgresql, named_errors
from services.runtime.errors import Transient

IMPORT_LOCK_FILE: Final = "panel-import.lock"


class SqlPanelImports:
    """Imports into the panel of a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def staging(self) -> Iterator[PanelStaging]:
        """Begin an import; what was not loaded by the end of the block is gone.

        Raises:
            Transient: `panel-import-running`; or the database is away or busy.
        """
        if is_postgresql(self._engine):
            with named_errors(), self._engine.connect() as connection:
                connection.detach()  # its TEMP tables, its settings and its lock end with it
                if not try_for_session(connection, Lock.PANEL_IMPORT):
                    raise _running("database")
                try:
                    yield on_server.SqlStaging(connection)
                finally:
                    give_back(connection, Lock.PANEL_IMPORT)
            return
        lock = database_file(self._engine).parent / IMPORT_LOCK_FILE
        with _locked(lock), named_errors(), self._engine.connect() as connection:
            connection.detach()  # its TEMP tables end with it
            yield SqlStaging(connection)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on imports; the kernel drops it when the process is gone, however it went."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _running("data folder") from error
        yield
    finally:
        os.close(fd)


def _running(where: str) -> Transient:
    return Transient("panel-import-running", f"another panel import is running on this {where}; run this one after it")
