"""From a staged panel file to the panel, so that nothing is ever half-loaded and nobody waits (PostgreSQL).

The steps are those of `store.panel_loading`, and so is why the end of the process or of the server after any of them
leaves either the old panel or the new one: new patients, identifiers and keys are written ahead and are there for
nobody before they have a membership; one transaction makes it so. Readers and units of work never wait for an import:
it changes no row that they change. So there are no turns to be taken, only statements of a size that a server bears.

Keys are written in their order: in the order of people each of them would change another page of the index.
"""
# ruff: noqa: S608 - what is put into the statements are constants of these modules

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from services.followup.domain.match_keys import match_keys
from services.followup.store.dues import want_rematch
from services.followup.store.panel_rows import COMPARED_COLUMNS, stored_person, unpack_identifiers
from services.followup.store.tables import audit_event, panel_import
from services.followup.usecases.again import run_again
from services.followup.usecases.panel_ports import MEMBERSHIP_COLUMNS, PERSON_COLUMNS, Load
from services.runtime.database import begin, commit, named_errors
from services.runtime.postgresql import copy_in

PAGE_ROWS: Final = 20_000
PROCESSES: Final = min(4, os.cpu_count() or 1)
"""Which work out keys, about 50 µs of arithmetic a person."""
STEP_ROWS: Final = 100_000
"""Rows written ahead in one transaction: a fraction of a second."""
ANALYZED_ROWS_MIN: Final = 10_000
"""What a load must have written for the planner to be told at once; less is left to autovacuum."""

_COMPARED: Final = ", ".join(f"p.{name}" for name in COMPARED_COLUMNS)
_PERSON: Final = ", ".join(PERSON_COLUMNS)
_STAGED_PERSON: Final = ", ".join(f"r.{name}" for name in PERSON_COLUMNS)
_MEMBERSHIP: Final = ", ".join(MEMBERSHIP_COLUMNS)

_TABLES: Final = (
    "CREATE TEMP TABLE new_key (key bigint, patient_id text)",
    "CREATE TEMP TABLE gone_key (key bigint, patient_id text)",
    "CREATE TEMP TABLE new_identifier (authority text, value text, type text, patient_id text, ahead boolean)",
    "CREATE TEMP TABLE gone_identifier (authority text, value text, type text, patient_id text)",
)


def packed_identifiers_of(patient_id: str) -> str:
    """Return the SQL for the identifiers of the patient that an expression names, as `pack_identifiers` does it."""
    return f"""
        coalesce((
            SELECT string_agg(i.authority || chr(31) || i.value || chr(31) || i.type, chr(30)
                ORDER BY i.authority COLLATE "C", i.value COLLATE "C", i.type COLLATE "C")
            FROM patient_identifier AS i WHERE i.patient_id = {patient_id}), '')
    """


_PAGE: Final = f"""
    SELECT s.n, s.patient_id, s.state, p.identifiers, {_COMPARED}
    FROM staged_person AS s JOIN staged_row AS p ON p.line = s.line
    WHERE s.n > %(after)s AND s.n <= %(until)s AND s.state <> 'same' ORDER BY s.n
"""
_STORED_PAGE: Final = f"""
    SELECT p.id, {packed_identifiers_of("p.id")}, {_COMPARED}
    FROM staged_person AS s JOIN patient AS p ON p.id = s.patient_id
    WHERE s.n > %(after)s AND s.n <= %(until)s AND s.state = 'changed'
"""
_LEFTOVERS: Final = f"""
    SELECT p.id, {packed_identifiers_of("p.id")}, {_COMPARED}
    FROM patient AS p
    WHERE p.id > %(after)s AND NOT EXISTS (SELECT 1 FROM panel_membership AS m WHERE m.patient_id = p.id)
    ORDER BY p.id LIMIT {PAGE_ROWS}
"""
_FORGET: Final = (
    """
    DELETE FROM match_key AS k USING unnest(%(keys)s::bigint[], %(of)s::text[]) AS gone (key, patient_id)
    WHERE k.key = gone.key AND k.patient_id = gone.patient_id
    """,
    "DELETE FROM patient_identifier WHERE patient_id = ANY(%(ids)s::text[])",
    "DELETE FROM patient WHERE id = ANY(%(ids)s::text[])",
)
_WRITE_PATIENTS: Final = f"""
    INSERT INTO patient (id, {_PERSON}, updated_at)
    SELECT r.patient_id, {_STAGED_PERSON}, %(at)s
    FROM staged_person AS s JOIN staged_row AS r ON r.line = s.line
    WHERE s.n > %(after)s AND s.n <= %(until)s AND s.state = 'added'
"""
_WRITE_IDENTIFIERS: Final = """
    INSERT INTO patient_identifier (authority, value, type, patient_id)
    SELECT authority, value, type, patient_id FROM new_identifier WHERE ahead
    ORDER BY authority, value, type, patient_id
"""
_WRITE_KEYS: Final = """
    INSERT INTO match_key (key, patient_id) SELECT key, patient_id FROM new_key ORDER BY key, patient_id
    ON CONFLICT DO NOTHING
"""
_REMOVE_KEYS: Final = """
    DELETE FROM match_key AS k USING gone_key AS gone WHERE k.key = gone.key AND k.patient_id = gone.patient_id
"""
_CHANGE_PATIENTS: Final = f"""
    UPDATE patient SET ({_PERSON}, updated_at) = ROW({_STAGED_PERSON}, %(at)s::timestamptz)
    FROM staged_person AS s JOIN staged_row AS r ON r.line = s.line
    WHERE s.state = 'changed' AND patient.id = s.patient_id
"""
_CHANGE_IDENTIFIERS: Final = (
    """
    DELETE FROM patient_identifier AS i USING gone_identifier AS gone
    WHERE i.authority = gone.authority AND i.value = gone.value AND i.type = gone.type
        AND i.patient_id = gone.patient_id
    """,
    """
    INSERT INTO patient_identifier (authority, value, type, patient_id)
    SELECT authority, value, type, patient_id FROM new_identifier WHERE NOT ahead
    ON CONFLICT DO NOTHING
    """,
)
_ADD_MEMBERSHIPS: Final = f"""
    INSERT INTO panel_membership (patient_id, {_MEMBERSHIP}, import_id, source_row)
    SELECT r.patient_id, {", ".join(f"r.{name}" for name in MEMBERSHIP_COLUMNS)}, %(import_id)s, r.line
    FROM staged_person AS s JOIN staged_row AS r ON r.patient_id = s.patient_id
    LEFT JOIN staged_join AS j ON j.line = r.line
    WHERE CASE s.state
        WHEN 'added' THEN NOT EXISTS (SELECT 1 FROM staged_repeat AS again WHERE again.line = r.line)
        ELSE j.line IS NOT NULL AND j.membership_id IS NULL END
    ORDER BY s.n, r.line
"""
_END_MEMBERSHIPS: Final = """
    UPDATE panel_membership SET effective_to = %(yesterday)s, import_id = %(import_id)s
    WHERE id IN (SELECT membership_id FROM staged_end)
"""
_ANALYZE: Final = "ANALYZE patient, patient_identifier, panel_membership, match_key"

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
        Ambiguous: the connection was lost as it was being loaded.
    """
    _remove_leftovers(connection)
    last = _derive(connection)
    for after in range(0, last, STEP_ROWS):
        _run(connection, _WRITE_PATIENTS, {"after": after, "until": after + STEP_ROWS, "at": load.at})
    _run(connection, _WRITE_IDENTIFIERS)
    _run(connection, _WRITE_KEYS)
    _publish(connection, load, staged)
    _run(connection, _REMOVE_KEYS)
    if sum(staged.counts.values()) >= ANALYZED_ROWS_MIN:
        _run(connection, _ANALYZE)


@contextmanager
def _transaction(connection: sa.Connection) -> Iterator[None]:
    """Write for the block; a conflict in it is named, so that it can be run again."""
    with named_errors():
        transaction = begin(connection, "write")
        try:
            yield
        except BaseException:
            transaction.rollback()
            raise
        commit(transaction)


@run_again
def _run(connection: sa.Connection, statement: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Execute a statement in a transaction of its own."""
    with _transaction(connection):
        connection.exec_driver_sql(statement, parameters)


def _remove_leftovers(connection: sa.Connection) -> None:
    """Remove patients who are on nobody's panel, because an import died before it was done."""
    last = ""
    while True:
        with begin(connection, "read"):
            found = connection.exec_driver_sql(_LEFTOVERS, {"after": last}).all()
        if not found:
            return
        last = found[-1][0]
        keys = [(key, row[0]) for row in found for key in sorted(_keys(row[1], row[2:]))]
        parameters = {
            "keys": [key for key, _ in keys],
            "of": [patient_id for _, patient_id in keys],
            "ids": [row[0] for row in found],
        }
        with _transaction(connection):
            for statement in _FORGET:
                connection.exec_driver_sql(statement, parameters)


def _derive(connection: sa.Connection) -> int:
    """Work out in TEMP tables what is to be written: keys and identifiers. Return how many people were staged."""
    with _transaction(connection):
        for statement in _TABLES:
            connection.exec_driver_sql(statement)
        (last,) = connection.exec_driver_sql("SELECT coalesce(max(n), 0) FROM staged_person").one()
        with _derivation(last) as derive:
            under_way: deque[Future[Derived]] = deque()
            for after in range(0, last, PAGE_ROWS):
                part = {"after": after, "until": after + PAGE_ROWS}
                page = [tuple(row) for row in connection.exec_driver_sql(_PAGE, part)]
                stored = [tuple(row) for row in connection.exec_driver_sql(_STORED_PAGE, part)]
                under_way.append(derive(page, stored))
                if len(under_way) > PROCESSES:
                    _keep(connection, under_way.popleft().result())
            for one in under_way:
                _keep(connection, one.result())
        for table in Derived._fields:
            connection.exec_driver_sql(f"ANALYZE {table}")
    return int(last)


def _keep(connection: sa.Connection, derived: "Derived") -> None:
    for table, rows in zip(Derived._fields, derived, strict=True):
        if rows:
            copy_in(connection, f"COPY {table} FROM STDIN", rows)


@contextmanager
def _derivation(people: int) -> Iterator[Callable[[Sequence[_Stored], Sequence[_Stored]], "Future[Derived]"]]:
    """Give what derives a page: in other processes where there are many, since it is all arithmetic on texts."""
    if people <= PAGE_ROWS:
        yield _derive_here
        return
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        yield lambda page, stored: pool.submit(derive_page, page, stored)


def _derive_here(page: Sequence[_Stored], stored: Sequence[_Stored]) -> "Future[Derived]":
    done: Future[Derived] = Future()
    done.set_result(derive_page(page, stored))
    return done


class Derived(NamedTuple):
    """What follows from a page of people: rows of the tables of these names, as COPY writes them."""

    new_key: bytes
    gone_key: bytes
    new_identifier: bytes
    gone_identifier: bytes


def derive_page(page: Sequence[_Stored], stored: Sequence[_Stored]) -> Derived:
    """Work out the keys and identifiers that a page of people brings and takes away. Pure."""
    before = {row[0]: row for row in stored}
    new_keys, gone_keys = [], []
    new_identifiers, gone_identifiers = [], []
    for _, patient_id, state, packed, *columns in page:
        name = _escaped(patient_id)
        keys, identifiers = _keys(packed, columns), set(unpack_identifiers(packed))
        old = before.get(patient_id)
        old_keys = _keys(old[1], old[2:]) if old else frozenset()
        old_identifiers = set(unpack_identifiers(old[1])) if old else set()
        new_keys += [f"{key}\t{name}\n" for key in keys - old_keys]
        gone_keys += [f"{key}\t{name}\n" for key in old_keys - keys]
        ahead = "t" if state == "added" else "f"
        new_identifiers += [f"{_line(one)}\t{name}\t{ahead}\n" for one in identifiers - old_identifiers]
        gone_identifiers += [f"{_line(one)}\t{name}\n" for one in old_identifiers - identifiers]
    return Derived(*("".join(rows).encode() for rows in (new_keys, gone_keys, new_identifiers, gone_identifiers)))


def _line(values: Sequence[str]) -> str:
    return "\t".join(map(_escaped, values))


def _escaped(text: str) -> str:
    """Return text as a field of COPY (PostgreSQL 15, COPY, "Text Format")."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _keys(packed: str, columns: Sequence[Any]) -> frozenset[int]:
    return match_keys(stored_person(dict(zip(COMPARED_COLUMNS, columns, strict=True)), unpack_identifiers(packed)))


@run_again
def _publish(connection: sa.Connection, load: Load, staged: Staged) -> None:
    """Make what was written ahead count; in one transaction."""
    with _transaction(connection):
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
            "at": load.at,
            "today": staged.today,
            "yesterday": staged.today - timedelta(days=1),
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
    """Return the SQL that updates memberships by their rows, of several rows by the first."""
    changes = [f"{name} = r.{name}" for name in stated]
    if "effective_to" not in stated:
        changes.append(
            "effective_to = CASE WHEN panel_membership.effective_to < %(today)s THEN NULL "
            "ELSE panel_membership.effective_to END"
        )
    return f"""
        UPDATE panel_membership SET {", ".join((*changes, "import_id = %(import_id)s"))}
        FROM (
            SELECT membership_id, min(line) AS line FROM staged_join WHERE membership_id IS NOT NULL
            GROUP BY membership_id
        ) AS c JOIN staged_row AS r ON r.line = c.line
        WHERE panel_membership.id = c.membership_id
    """
