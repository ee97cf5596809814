"""From a staged panel file to the panel, so that nothing is ever half-loaded and nobody waits long (SQLite).

The steps, and why a `kill -9` after any of them leaves either the old panel or the new one:

1. Patients left behind by an import that died are removed. A patient without a membership is on nobody's panel.
2. New patients, their identifiers and keys are written ahead, in turns of some hundredths of a second. They have no
   membership yet, so they are not there for anybody, and the next import would remove them. New keys of people on the
   panel are written ahead, too: a key only says where to look, `match` decides by the patient's row.
3. One transaction makes it so: memberships, the rows of people who changed, the import, its audit row, and the
   wish that every stay be looked at again (`store.dues`). It is the only time for which another writer has to wait.
4. Keys that nobody has any more are removed, in turns. If that does not come about they cost comparisons, no more.

Step 3 was measured at 0.01 s for 10,000 new people, 0.1 s for 100,000, 1 s for a million, and 4 s where every one of
a million had changed; a turn of the other steps holds the lock for 40 ms and then leaves it free for as long.

Keys are written in their order: in the order of people each of them would change another page of the index, and the
write-ahead log would grow to a hundred times the size of the panel.
"""
# ruff: noqa: S608 - what is put into the statements are constants of these modules

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import sqlalchemy as sa

from services.followup.domain.match_keys import match_keys
from services.followup.store.dues import want_rematch
from services.followup.store.panel_rows import (
    COMPARED_COLUMNS,
    packed_identifiers_of,
    stored_person,
    unpack_identifiers,
)
from services.followup.store.tables import audit_event, panel_import
from services.followup.usecases.panel_ports import MEMBERSHIP_COLUMNS, PERSON_COLUMNS, Load
from services.runtime.clock import to_timestamp_us
from services.runtime.database import begin, commit

TURN_TARGET_S: Final = 0.04
"""How long a turn should hold the write lock: as long as a batch of the consumer does."""
TURN_ROWS_FIRST: Final = 1_000
TURN_ROWS_MAX: Final = 20_000
PAGE_ROWS: Final = 5_000

_COMPARED: Final = ", ".join(f"p.{name}" for name in COMPARED_COLUMNS)
_PERSON: Final = ", ".join(PERSON_COLUMNS)
_STAGED_PERSON: Final = ", ".join(f"r.{name}" for name in PERSON_COLUMNS)

_TABLES: Final = (
    "CREATE TEMP TABLE new_key (key INTEGER, patient_id TEXT)",
    "CREATE TEMP TABLE gone_key (key INTEGER, patient_id TEXT)",
    "CREATE TEMP TABLE new_identifier (authority TEXT, value TEXT, type TEXT, patient_id TEXT, ahead INTEGER)",
    "CREATE TEMP TABLE gone_identifier (authority TEXT, value TEXT, type TEXT, patient_id TEXT)",
)
_PAGE: Final = f"""
    SELECT s.n, s.patient_id, s.state, p.identifiers, {_COMPARED}
    FROM staged_person AS s JOIN staged_row AS p ON p.row = s.row
    WHERE s.n > ? AND s.state <> 'same' ORDER BY s.n LIMIT {PAGE_ROWS}
"""
_STORED_PAGE: Final = f"""
    SELECT p.id, {packed_identifiers_of("p.id")}, {_COMPARED}
    FROM staged_person AS s CROSS JOIN main.patient AS p ON p.id = s.patient_id
    WHERE s.n BETWEEN ? AND ? AND s.state = 'changed'
"""
_LEFTOVERS: Final = f"""
    SELECT p.id, {packed_identifiers_of("p.id")}, {_COMPARED}
    FROM main.patient AS p
    WHERE p.id > ? AND NOT EXISTS (SELECT 1 FROM main.panel_membership AS m WHERE m.patient_id = p.id)
    ORDER BY p.id LIMIT {TURN_ROWS_FIRST}
"""
_FORGET_KEYS: Final = "DELETE FROM main.match_key WHERE key = ? AND patient_id = ?"
_FORGET_IDENTIFIERS: Final = "DELETE FROM main.patient_identifier WHERE patient_id = ?"
_FORGET_PATIENTS: Final = "DELETE FROM main.patient WHERE id = ?"
_ORDER: Final = (
    "CREATE TEMP TABLE sorted_key AS SELECT key, patient_id FROM new_key ORDER BY key, patient_id",
    "CREATE TEMP TABLE sorted_gone_key AS SELECT key, patient_id FROM gone_key ORDER BY key, patient_id",
    """
    CREATE TEMP TABLE sorted_identifier AS SELECT authority, value, type, patient_id FROM new_identifier
    WHERE ahead ORDER BY authority, value, type, patient_id
    """,
    "CREATE TEMP TABLE changed_person AS SELECT patient_id, row FROM staged_person WHERE state = 'changed'",
    f"""
    CREATE TEMP TABLE new_membership AS
    SELECT r.patient_id, {", ".join(f"r.{name}" for name in MEMBERSHIP_COLUMNS)}, r.row
    FROM staged_person AS s CROSS JOIN staged_row AS r ON r.patient_id = s.patient_id
    LEFT JOIN staged_join AS j ON j.row = r.row
    WHERE CASE s.state WHEN 'added' THEN r.row NOT IN (SELECT row FROM staged_repeat)
        ELSE j.row IS NOT NULL AND j.membership_id IS NULL END
    ORDER BY s.n, r.row
    """,
    "CREATE TEMP TABLE changed_membership (id INTEGER PRIMARY KEY, row INTEGER)",
    """
    INSERT OR IGNORE INTO changed_membership
    SELECT membership_id, row FROM staged_join WHERE membership_id IS NOT NULL ORDER BY row
    """,
)
_WRITE_PATIENTS: Final = f"""
    INSERT INTO main.patient (id, {_PERSON}, updated_at)
    SELECT r.patient_id, {_STAGED_PERSON}, ?3
    FROM staged_person AS s JOIN staged_row AS r ON r.row = s.row
    WHERE s.n BETWEEN ?1 AND ?2 AND s.state = 'added'
"""
_WRITE_IDENTIFIERS: Final = """
    INSERT INTO main.patient_identifier (authority, value, type, patient_id)
    SELECT authority, value, type, patient_id FROM sorted_identifier WHERE rowid BETWEEN ?1 AND ?2
"""
_WRITE_KEYS: Final = """
    INSERT OR IGNORE INTO main.match_key (key, patient_id)
    SELECT key, patient_id FROM sorted_key WHERE rowid BETWEEN ?1 AND ?2
"""
_REMOVE_KEYS: Final = """
    DELETE FROM main.match_key WHERE (key, patient_id) IN (
        SELECT key, patient_id FROM sorted_gone_key WHERE rowid BETWEEN ?1 AND ?2)
"""
_CHANGE_PATIENTS: Final = f"""
    INSERT INTO main.patient (id, {_PERSON}, updated_at)
    SELECT c.patient_id, {_STAGED_PERSON}, :at_us
    FROM changed_person AS c CROSS JOIN staged_row AS r ON r.row = c.row
    WHERE 1
    ON CONFLICT (id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in (*PERSON_COLUMNS, "updated_at"))}
"""
_CHANGE_IDENTIFIERS: Final = (
    """
    DELETE FROM main.patient_identifier WHERE (authority, value, type, patient_id) IN (
        SELECT authority, value, type, patient_id FROM gone_identifier)
    """,
    """
    INSERT OR IGNORE INTO main.patient_identifier (authority, value, type, patient_id)
    SELECT authority, value, type, patient_id FROM new_identifier WHERE NOT ahead
    """,
)
_ADD_MEMBERSHIPS: Final = f"""
    INSERT INTO main.panel_membership (patient_id, {", ".join(MEMBERSHIP_COLUMNS)}, import_id, source_row)
    SELECT patient_id, {", ".join(MEMBERSHIP_COLUMNS)}, :import_id, row FROM new_membership ORDER BY rowid
"""
_END_MEMBERSHIPS: Final = """
    UPDATE main.panel_membership SET effective_to = :yesterday, import_id = :import_id
    WHERE id IN (SELECT membership_id FROM staged_end)
"""


_Stored = Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What was compared: the columns of memberships that the file has, the day it counts from, and the counts."""

    rest_stated: tuple[str, ...]
    today: date
    counts: dict[str, int]


def load_panel(connection: sa.Connection, load: Load, staged: Staged) -> None:
    """Make the panel what was staged on this connection.

    Raises:
        sqlalchemy.exc.DBAPIError: nothing was loaded.
        Ambiguous: the disk failed as it was being loaded.
    """
    turns = _Turns(connection)
    _remove_leftovers(connection, turns)
    _derive(connection)
    turns.run(_WRITE_PATIENTS, "staged_person", to_timestamp_us(load.at))
    turns.run(_WRITE_IDENTIFIERS, "sorted_identifier")
    turns.run(_WRITE_KEYS, "sorted_key")
    transaction = begin(connection, "write")
    _publish(connection, load, staged)
    commit(transaction)
    turns.run(_REMOVE_KEYS, "sorted_gone_key")


class _Turns:
    """Writes in turns: between two of them whoever waits for the write lock has as long to get it."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, source: str, *parameters: object) -> None:
        """Execute a statement over all rows of a TEMP table, which it selects by their number between ?1 and ?2."""
        with begin(self._connection, "private"):
            last = self._connection.exec_driver_sql(f"SELECT max(rowid) FROM temp.{source}").scalar() or 0
        first, rows = 1, TURN_ROWS_FIRST
        while first <= last:
            until = first + rows - 1
            took_s = self.write((statement, (first, until, *parameters)))
            first = until + 1
            rows = max(1, min(TURN_ROWS_MAX, int(rows * min(4.0, TURN_TARGET_S / took_s))))

    def write(self, *statements: tuple[str, Sequence[Any]]) -> float:
        """Execute statements in a transaction of their own, then wait as long; return how long, in seconds."""
        transaction = begin(self._connection, "write")
        started = time.monotonic()
        for statement, parameters in statements:
            self._connection.exec_driver_sql(statement, parameters)
        commit(transaction)
        took_s = max(time.monotonic() - started, 1e-6)
        time.sleep(min(took_s, TURN_TARGET_S))
        return took_s


def _remove_leftovers(connection: sa.Connection, turns: _Turns) -> None:
    """Remove patients who are on nobody's panel, because an import died before it was done."""
    last = ""
    while True:
        with begin(connection, "private"):
            found = connection.exec_driver_sql(_LEFTOVERS, (last,)).all()
        if not found:
            return
        last = found[-1][0]
        keys = [(key, row[0]) for row in found for key in sorted(_keys(row[1], row[2:]))]
        ids = [(row[0],) for row in found]
        turns.write((_FORGET_KEYS, keys or [(0, "")]), (_FORGET_IDENTIFIERS, ids), (_FORGET_PATIENTS, ids))


def _derive(connection: sa.Connection) -> None:
    """Work out in TEMP tables what is to be written: keys and identifiers, and all of it in the order of writing."""
    with begin(connection, "private"):
        for statement in _TABLES:
            connection.exec_driver_sql(statement)
        last = 0
        while page := connection.exec_driver_sql(_PAGE, (last,)).all():
            stored = connection.exec_driver_sql(_STORED_PAGE, (page[0][0], page[-1][0]))
            _derive_page(connection, page, {row[0]: row for row in stored})
            last = page[-1][0]
        for statement in _ORDER:
            connection.exec_driver_sql(statement)


def _derive_page(connection: sa.Connection, page: Sequence[_Stored], stored: Mapping[str, _Stored]) -> None:
    new_keys, gone_keys = [], []
    new_identifiers, gone_identifiers = [], []
    for _, patient_id, state, packed, *columns in page:
        keys, identifiers = _keys(packed, columns), set(unpack_identifiers(packed))
        old = stored.get(patient_id)
        old_keys = _keys(old[1], old[2:]) if old else frozenset()
        old_identifiers = set(unpack_identifiers(old[1])) if old else set()
        new_keys += [(key, patient_id) for key in keys - old_keys]
        gone_keys += [(key, patient_id) for key in old_keys - keys]
        new_identifiers += [(*one, patient_id, state == "added") for one in identifiers - old_identifiers]
        gone_identifiers += [(*one, patient_id) for one in old_identifiers - identifiers]
    for table, rows in (
        ("new_key", new_keys),
        ("gone_key", gone_keys),
        ("new_identifier", new_identifiers),
        ("gone_identifier", gone_identifiers),
    ):
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.exec_driver_sql(f"INSERT INTO temp.{table} VALUES ({marks})", rows)


def _keys(packed: str, columns: Sequence[Any]) -> frozenset[int]:
    return match_keys(stored_person(dict(zip(COMPARED_COLUMNS, columns, strict=True)), unpack_identifiers(packed)))


def _publish(connection: sa.Connection, load: Load, staged: Staged) -> None:
    """Make what was written ahead count; in one transaction."""
    imported = {
        "file_name": load.file_name,
        "sha256": load.sha256,
        "mode": load.mode,
        "row_count": load.row_count,
        "imported_at": load.at,
        "imported_by": load.actor,
    }
    import_id = connection.execute(sa.insert(panel_import).returning(panel_import.c.id), imported).scalar_one()
    parameters = {
        "import_id": import_id,
        "at_us": to_timestamp_us(load.at),
        "today": staged.today.isoformat(),
        "yesterday": (staged.today - timedelta(days=1)).isoformat(),
    }
    for statement in (
        _CHANGE_PATIENTS,
        *_CHANGE_IDENTIFIERS,
        _ADD_MEMBERSHIPS,
        _change_memberships(staged.rest_stated),
        _END_MEMBERSHIPS,
    ):
        connection.exec_driver_sql(statement, parameters)
    want_rematch(connection, load.at)
    audit = {
        "at": load.at,
        "actor": load.actor,
        "action": "panel-imported",
        "entity": f"panel_import:{import_id}",
        "detail": json.dumps({"mode": load.mode, "sha256": load.sha256, "rows": load.row_count} | staged.counts),
    }
    connection.execute(sa.insert(audit_event), audit)


def _change_memberships(stated: Sequence[str]) -> str:
    changes = [
        f"{name} = (SELECT r.{name} FROM changed_membership AS c JOIN staged_row AS r ON r.row = c.row"
        " WHERE c.id = panel_membership.id)"
        for name in stated
    ]
    if "effective_to" not in stated:
        changes.append("effective_to = CASE WHEN effective_to < :today THEN NULL ELSE effective_to END")
    return f"""
        UPDATE main.panel_membership SET {", ".join((*changes, "import_id = :import_id"))}
        WHERE id IN (SELECT id FROM changed_membership)
    """
