"""A panel file beside the panel: staged in TEMP tables of one connection, compared by SQL (SQLite).

Nothing here writes to the panel. TEMP tables lie in a file without a name, which the operating system drops with the
process, however that ends; nobody else sees them, and filling them takes no lock that others wait for. They need
about half a gigabyte for a million rows, in the folder of SQLite's temporary files (SQLITE_TMPDIR, else TMPDIR).

The tables: `staged_row` as read; `staged_repeat`, rows that repeat the membership of an earlier row; `staged_person`,
one for each patient, in their order, `added`, `changed` or `same`; `staged_join`, memberships to insert or (with
their id) update; `staged_end`, memberships to end.
"""
# ruff: noqa: S608 - what is put into the statements are constants of these modules and known column names

from collections.abc import Sequence
from datetime import date
from typing import Final

import sqlalchemy as sa

from services.followup.store.panel_loading import Staged, load_panel
from services.followup.store.panel_rows import pack_identifiers, packed_identifiers_of, stored_identifiers
from services.followup.usecases.panel_ports import (
    MEMBERSHIP_COLUMNS,
    PERSON_COLUMNS,
    Comparison,
    Load,
    Mode,
    Outcome,
    PanelRow,
    RowResult,
)
from services.runtime.database import begin

TEMP_CACHE_KIB: Final = 64 * 1024
"""Page cache of the TEMP tables and of the panel during an import; the rest goes to disk."""

_KEY_COLUMNS: Final = ("practice", "program", "effective_from")
_REST_COLUMNS: Final = ("effective_to", "pcp")
_STAGED_COLUMNS: Final = ("row", "patient_id", *PERSON_COLUMNS, "identifiers", *MEMBERSHIP_COLUMNS)

_CREATE: Final = (
    "PRAGMA query_only = OFF",  # a connection of the pool may have read before
    "PRAGMA temp_store = FILE",
    f"PRAGMA temp.cache_size = -{TEMP_CACHE_KIB}",
    f"PRAGMA main.cache_size = -{TEMP_CACHE_KIB}",
    f"CREATE TEMP TABLE staged_row (row INTEGER PRIMARY KEY, {', '.join(_STAGED_COLUMNS[1:])})",
    "CREATE TEMP TABLE staged_repeat (row INTEGER PRIMARY KEY, first INTEGER NOT NULL, contradicts INTEGER NOT NULL)",
    "CREATE TEMP TABLE staged_conflict (row INTEGER PRIMARY KEY, reason TEXT NOT NULL, other INTEGER NOT NULL)",
    "CREATE TEMP TABLE staged_person (n INTEGER PRIMARY KEY, patient_id TEXT, row INTEGER, state TEXT)",
    "CREATE TEMP TABLE staged_join (row INTEGER PRIMARY KEY, membership_id INTEGER)",
    "CREATE TEMP TABLE staged_end (membership_id INTEGER PRIMARY KEY, patient_id TEXT)",
)
_STAGE: Final = f"INSERT INTO staged_row VALUES ({', '.join('?' * len(_STAGED_COLUMNS))})"
_INDEX: Final = "CREATE INDEX temp.staged_row_patient ON staged_row (patient_id)"


def _tuple(alias: str, columns: Sequence[str]) -> str:
    return f"({', '.join(f'{alias}.{column}' for column in columns)})"


_REPEATS: Final = f"""
    INSERT INTO staged_repeat
    SELECT r.row, f.row, {_tuple("r", _REST_COLUMNS)} IS NOT {_tuple("f", _REST_COLUMNS)}
    FROM (
        SELECT row, min(row) OVER (PARTITION BY patient_id, {", ".join(_KEY_COLUMNS)}) AS first
        FROM staged_row
        WHERE patient_id IN (SELECT patient_id FROM staged_row GROUP BY patient_id HAVING count(*) > 1)
    ) AS seen
    JOIN staged_row AS r ON r.row = seen.row
    JOIN staged_row AS f ON f.row = seen.first
    WHERE seen.row > seen.first
"""
_PERSON_CONFLICTS: Final = f"""
    INSERT INTO staged_conflict
    SELECT r.row, 'contradicts-person', f.row
    FROM (SELECT patient_id, min(row) AS first FROM staged_row GROUP BY patient_id HAVING count(*) > 1) AS several
    JOIN staged_row AS f ON f.row = several.first
    JOIN staged_row AS r ON r.patient_id = several.patient_id AND r.row > several.first
    WHERE {_tuple("r", (*PERSON_COLUMNS, "identifiers"))} IS NOT {_tuple("f", (*PERSON_COLUMNS, "identifiers"))}
"""
_MEMBERSHIP_CONFLICTS: Final = """
    INSERT OR IGNORE INTO staged_conflict
    SELECT row, 'contradicts-membership', first FROM staged_repeat WHERE contradicts
"""
_TEXTS: Final = {
    "contradicts-person": "says otherwise about this person than row {other}",
    "contradicts-membership": "says otherwise about this membership than row {other}",
    "repeated-row": "repeats row {other}",
}
_PEOPLE: Final = f"""
    INSERT INTO staged_person (patient_id, row, state)
    SELECT r.patient_id, r.row, CASE
        WHEN NOT EXISTS (SELECT 1 FROM main.panel_membership AS m WHERE m.patient_id = r.patient_id) THEN 'added'
        WHEN {_tuple("r", PERSON_COLUMNS)} IS NOT {_tuple("p", PERSON_COLUMNS)}
            OR r.identifiers IS NOT {packed_identifiers_of("r.patient_id")} THEN 'changed'
        ELSE 'same' END
    FROM (SELECT patient_id, min(row) AS row FROM staged_row GROUP BY patient_id) AS one
    JOIN staged_row AS r ON r.row = one.row
    LEFT JOIN main.patient AS p ON p.id = one.patient_id
    ORDER BY one.patient_id
"""
_INDEX_PEOPLE: Final = "CREATE UNIQUE INDEX temp.staged_person_patient ON staged_person (patient_id)"
_OUTCOMES: Final = """
    SELECT r.row, r.patient_id, coalesce(c.other, s.first) AS other, coalesce(c.reason, s.reason) AS reason, CASE
        WHEN c.row IS NOT NULL THEN 'rejected'
        WHEN s.row IS NOT NULL THEN 'unchanged'
        WHEN p.state = 'added' THEN 'added'
        WHEN p.state = 'changed' OR j.row IS NOT NULL THEN 'changed'
        ELSE 'unchanged' END AS outcome
    FROM staged_row AS r
    JOIN staged_person AS p ON p.patient_id = r.patient_id
    LEFT JOIN staged_conflict AS c ON c.row = r.row
    LEFT JOIN (SELECT row, first, 'repeated-row' AS reason FROM staged_repeat) AS s ON s.row = r.row
    LEFT JOIN staged_join AS j ON j.row = r.row
"""
_IN_FORCE: Final = "(m.effective_to IS NULL OR m.effective_to >= ?1)"
_DROPPED: Final = f"""
    SELECT count(DISTINCT m.patient_id), count(DISTINCT CASE
        WHEN NOT EXISTS (SELECT 1 FROM staged_person AS p WHERE p.patient_id = m.patient_id) THEN m.patient_id END)
    FROM main.panel_membership AS m WHERE {_IN_FORCE}
"""


class SqlStaging:
    """One import on one connection, which closes with it (port: `usecases.panel_ports.PanelStaging`)."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._staged: Staged | None = None
        cursor = connection.connection.cursor()  # outside of a transaction, where temp_store can be set
        for statement in _CREATE:
            cursor.execute(statement)
        cursor.close()

    def stage(self, rows: Sequence[PanelRow]) -> None:
        """Keep rows aside, where nobody sees them."""
        if rows:
            with begin(self._connection, "private"):
                self._connection.exec_driver_sql(_STAGE, [_staged(row) for row in rows])

    def compare(self, mode: Mode, stated: frozenset[str], today: date, *, complete: bool) -> Comparison:
        """Compare what was staged with the panel. Changes nothing."""
        with begin(self._connection, "private"):
            run = self._connection.exec_driver_sql
            run(_INDEX)
            run(_REPEATS)
            run(_PERSON_CONFLICTS)
            run(_MEMBERSHIP_CONFLICTS)
            if fill := _fill(stated):
                run(fill)
            run(_PEOPLE)
            run(_INDEX_PEOPLE)
            run(_joins(stated), (today.isoformat(),))
            if mode == "replace" and complete:
                run(_ends(stated), (today.isoformat(),))
            comparison = self._comparison(today)
        counts = {"added": comparison.added, "changed": comparison.changed, "ended": comparison.ended}
        rest_stated = tuple(name for name in _REST_COLUMNS if name in stated)
        self._staged = Staged(rest_stated=rest_stated, today=today, counts=counts)
        return comparison

    def results(self, rows_max: int) -> list[RowResult]:
        """Return what the rows would do, rejected ones first, then what would end; at most `rows_max`."""
        with begin(self._connection, "private"):
            rows = self._connection.exec_driver_sql(f"{_OUTCOMES} ORDER BY c.row IS NULL, r.row LIMIT {rows_max:d}")
            found = [_result(*row) for row in rows]
            ended = self._connection.exec_driver_sql(
                "SELECT patient_id FROM staged_end ORDER BY patient_id, membership_id LIMIT ?", (rows_max - len(found),)
            )
            return found + [RowResult(row=None, patient_id=patient_id, outcome="ended") for (patient_id,) in ended]

    def load(self, load: Load) -> None:
        """Make the panel what was compared: all of it at one moment or, if the process dies, nothing."""
        assert self._staged is not None, "compare before you load"
        load_panel(self._connection, load, self._staged)

    def _comparison(self, today: date) -> Comparison:
        run = self._connection.exec_driver_sql
        by_outcome: dict[str, int] = dict(run(f"SELECT outcome, count(*) FROM ({_OUTCOMES}) GROUP BY outcome").all())
        (ended,) = run("SELECT count(*) FROM staged_end").one()
        before, dropped = run(_DROPPED, (today.isoformat(),)).one()
        return Comparison(
            added=by_outcome.get("added", 0),
            changed=by_outcome.get("changed", 0),
            unchanged=by_outcome.get("unchanged", 0),
            ended=ended,
            patients_before=before,
            patients_dropped=dropped if ended else 0,
            rejected=by_outcome.get("rejected", 0),
        )


def _joins(stated: frozenset[str]) -> str:
    """Return the SQL that fills `staged_join`.

    A row's membership is the stored one that agrees in those of practice, program and first day that the file has
    columns for; of several one that holds, the latest. One that had ended begins again, unless the row itself says
    when it ends: who is in the file is on the panel.
    """
    rest = [name for name in _REST_COLUMNS if name in stated]
    differs = f"{_tuple('m', rest)} IS NOT {_tuple('x', rest)}" if rest else "0"
    if "effective_to" not in stated:
        differs += f" OR NOT {_IN_FORCE}"
    return f"""
        INSERT INTO staged_join
        SELECT x.row, x.membership_id
        FROM (
            SELECT r.row, {", ".join(f"r.{name}" for name in _REST_COLUMNS)}, (
                SELECT m.id FROM main.panel_membership AS m
                WHERE m.patient_id = r.patient_id AND {_same_key("m", "r", stated)}
                ORDER BY {_IN_FORCE} DESC, m.effective_from DESC, m.id DESC LIMIT 1) AS membership_id
            FROM staged_row AS r
            JOIN staged_person AS p ON p.patient_id = r.patient_id
            WHERE p.state <> 'added' AND r.row NOT IN (SELECT row FROM staged_repeat)
        ) AS x
        LEFT JOIN main.panel_membership AS m ON m.id = x.membership_id
        WHERE m.id IS NULL OR {differs}
    """


def _ends(stated: frozenset[str]) -> str:
    """Return the SQL that fills `staged_end`: what holds today or later and no row speaks of."""
    return f"""
        INSERT INTO staged_end
        SELECT m.id, m.patient_id FROM main.panel_membership AS m
        WHERE {_IN_FORCE} AND NOT EXISTS (
            SELECT 1 FROM staged_row AS r WHERE r.patient_id = m.patient_id AND {_same_key("m", "r", stated)})
    """


def _same_key(left: str, right: str, stated: frozenset[str]) -> str:
    keys = [name for name in _KEY_COLUMNS if name in stated]
    return f"{_tuple(left, keys)} IS {_tuple(right, keys)}" if keys else "1"


def _fill(stated: frozenset[str]) -> str | None:
    """Return the SQL that takes what the file has no column for from the panel, for people who are on it."""
    columns = {name: f"p.{name}" for name in PERSON_COLUMNS if name not in stated}
    if "identifiers" not in stated:
        columns["identifiers"] = packed_identifiers_of("p.id")
    if not columns:
        return None
    return f"""
        UPDATE staged_row SET ({", ".join(columns)}) = (
            SELECT {", ".join(columns.values())} FROM main.patient AS p WHERE p.id = staged_row.patient_id)
        WHERE EXISTS (SELECT 1 FROM main.panel_membership AS m WHERE m.patient_id = staged_row.patient_id)
    """


def _staged(row: PanelRow) -> tuple[object, ...]:
    """Return a row as the driver takes it: ISO dates, packed identifiers, the rest as it is."""
    return (
        *row[:6],
        row.birth_date.isoformat(),
        *row[7:19],
        pack_identifiers(stored_identifiers(row.identifiers)),
        row.effective_from.isoformat() if row.effective_from else None,
        row.effective_to.isoformat() if row.effective_to else None,
        *row[22:],
    )


def _result(row: int, patient_id: str, other: int | None, reason: str | None, outcome: Outcome) -> RowResult:
    text = _TEXTS[reason].format(other=other) if reason else None
    return RowResult(row=row, patient_id=patient_id, outcome=outcome, reason=reason, text=text)
