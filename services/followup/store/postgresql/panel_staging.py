"""A panel file beside the panel: staged in TEMP tables of one session, compared by SQL (PostgreSQL).

Nothing here writes to the panel. TEMP tables end with the session, however that ends; nobody else sees them, they are
not in the write-ahead log, and filling them takes no lock that others wait for. What is decided is what
`store.panel_staging` decides for SQLite, and the same tests say so.

The tables: `staged_row` as read; `staged_repeat`, rows that repeat the membership of an earlier row; `staged_person`,
one for each patient, in their order, `added`, `changed` or `same`; `staged_join`, memberships to insert or (with
their id) update; `staged_end`, memberships to end.
"""
# ruff: noqa: S608 - what is put into the statements are constants of these modules and known column names

from collections.abc import Sequence
from datetime import date
from typing import Final

import sqlalchemy as sa

from services.followup.store.panel_rows import pack_identifiers, stored_identifiers
from services.followup.store.postgresql.panel_loading import Staged, load_panel, packed_identifiers_of
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
from services.runtime.database import begin, commit
from services.runtime.postgresql import copy_in

_KEY_COLUMNS: Final = ("practice", "program", "effective_from")
_REST_COLUMNS: Final = ("effective_to", "pcp")
_STAGED_COLUMNS: Final = ("line", "patient_id", *PERSON_COLUMNS, "identifiers", *MEMBERSHIP_COLUMNS)
_TYPES: Final = {
    "line": "integer NOT NULL",
    "birth_date": "date",
    "interpreter": "boolean",
    "effective_from": "date",
    "effective_to": "date",
}
_SETTINGS: Final = (
    "SET temp_buffers = '64MB'",
    "SET enable_seqscan = on",  # whole tables are compared
    "SET work_mem = '128MB'",
    "SET maintenance_work_mem = '128MB'",
    "SET statement_timeout = 0",  # a million rows take longer than anything else we ask
    "SET idle_in_transaction_session_timeout = 0",
)
_STAGED: Final = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in _STAGED_COLUMNS)
_CREATE: Final = (
    f"CREATE TEMP TABLE staged_row ({_STAGED})",
    "CREATE TEMP TABLE staged_repeat (line integer PRIMARY KEY, first integer NOT NULL, contradicts boolean NOT NULL)",
    "CREATE TEMP TABLE staged_conflict (line integer PRIMARY KEY, reason text NOT NULL, other integer NOT NULL)",
    "CREATE TEMP TABLE staged_person (n integer, patient_id text, line integer, state text)",
    "CREATE TEMP TABLE staged_join (line integer PRIMARY KEY, membership_id bigint)",
    "CREATE TEMP TABLE staged_end (membership_id bigint PRIMARY KEY, patient_id text)",
)
_STAGE: Final = f"COPY staged_row ({', '.join(_STAGED_COLUMNS)}) FROM STDIN"
_INDEX: Final = ("CREATE INDEX ON staged_row (patient_id)", "CREATE INDEX ON staged_row (line)", "ANALYZE staged_row")


def _tuple(alias: str, columns: Sequence[str]) -> str:
    return f"ROW({', '.join(f'{alias}.{column}' for column in columns)})"


_SEVERAL: Final = "SELECT patient_id, min(line) AS first FROM staged_row GROUP BY patient_id HAVING count(*) > 1"
_REPEATS: Final = f"""
    INSERT INTO staged_repeat
    SELECT r.line, f.line, {_tuple("r", _REST_COLUMNS)} IS DISTINCT FROM {_tuple("f", _REST_COLUMNS)}
    FROM (
        SELECT line, min(line) OVER (PARTITION BY patient_id, {", ".join(_KEY_COLUMNS)}) AS first
        FROM staged_row WHERE patient_id IN (SELECT patient_id FROM ({_SEVERAL}) AS several)
    ) AS seen
    JOIN staged_row AS r ON r.line = seen.line
    JOIN staged_row AS f ON f.line = seen.first
    WHERE seen.line > seen.first
"""
_PERSON_CONFLICTS: Final = f"""
    INSERT INTO staged_conflict
    SELECT r.line, 'contradicts-person', f.line
    FROM ({_SEVERAL}) AS several
    JOIN staged_row AS f ON f.line = several.first
    JOIN staged_row AS r ON r.patient_id = several.patient_id AND r.line > several.first
    WHERE {_tuple("r", (*PERSON_COLUMNS, "identifiers"))}
        IS DISTINCT FROM {_tuple("f", (*PERSON_COLUMNS, "identifiers"))}
"""
_MEMBERSHIP_CONFLICTS: Final = """
    INSERT INTO staged_conflict
    SELECT line, 'contradicts-membership', first FROM staged_repeat WHERE contradicts
    ON CONFLICT DO NOTHING
"""
_TEXTS: Final = {
    "contradicts-person": "says otherwise about this person than row {other}",
    "contradicts-membership": "says otherwise about this membership than row {other}",
    "repeated-row": "repeats row {other}",
}
_PEOPLE: Final = f"""
    INSERT INTO staged_person (n, patient_id, line, state)
    SELECT row_number() OVER (ORDER BY one.patient_id COLLATE "C"), r.patient_id, r.line, CASE
        WHEN NOT EXISTS (SELECT 1 FROM panel_membership AS m WHERE m.patient_id = r.patient_id) THEN 'added'
        WHEN {_tuple("r", PERSON_COLUMNS)} IS DISTINCT FROM {_tuple("p", PERSON_COLUMNS)}
            OR r.identifiers IS DISTINCT FROM {packed_identifiers_of("r.patient_id")} THEN 'changed'
        ELSE 'same' END
    FROM (SELECT patient_id, min(line) AS line FROM staged_row GROUP BY patient_id) AS one
    JOIN staged_row AS r ON r.line = one.line
    LEFT JOIN patient AS p ON p.id = one.patient_id
"""
_INDEX_PEOPLE: Final = (
    "CREATE UNIQUE INDEX ON staged_person (patient_id)",
    "CREATE UNIQUE INDEX ON staged_person (n)",
    "ANALYZE staged_person",
)
_OUTCOMES: Final = """
    SELECT r.line, r.patient_id, coalesce(c.other, s.first) AS other, coalesce(c.reason, s.reason) AS reason, CASE
        WHEN c.line IS NOT NULL THEN 'rejected'
        WHEN s.line IS NOT NULL THEN 'unchanged'
        WHEN p.state = 'added' THEN 'added'
        WHEN p.state = 'changed' OR j.line IS NOT NULL THEN 'changed'
        ELSE 'unchanged' END AS outcome
    FROM staged_row AS r
    JOIN staged_person AS p ON p.patient_id = r.patient_id
    LEFT JOIN staged_conflict AS c ON c.line = r.line
    LEFT JOIN (SELECT line, first, 'repeated-row' AS reason FROM staged_repeat) AS s ON s.line = r.line
    LEFT JOIN staged_join AS j ON j.line = r.line
"""
_IN_FORCE: Final = "(m.effective_to IS NULL OR m.effective_to >= %(today)s)"
_DROPPED: Final = f"""
    SELECT count(DISTINCT m.patient_id), count(DISTINCT m.patient_id) FILTER (
        WHERE NOT EXISTS (SELECT 1 FROM staged_person AS p WHERE p.patient_id = m.patient_id))
    FROM panel_membership AS m WHERE {_IN_FORCE}
"""


class SqlStaging:
    """One import in one session, which ends with it (port: `usecases.panel_ports.PanelStaging`)."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._staged: Staged | None = None
        transaction = begin(connection, "write")
        for statement in (*_SETTINGS, *_CREATE):
            connection.exec_driver_sql(statement)
        commit(transaction)

    def stage(self, rows: Sequence[PanelRow]) -> None:
        """Keep rows aside, where nobody sees them."""
        if rows:
            transaction = begin(self._connection, "write")
            copy_in(self._connection, _STAGE, map(_staged, rows))
            commit(transaction)

    def compare(self, mode: Mode, stated: frozenset[str], today: date, *, complete: bool) -> Comparison:
        """Compare what was staged with the panel. Changes nothing."""
        transaction = begin(self._connection, "write")
        run = self._connection.exec_driver_sql
        fill = _fill(stated)
        for statement in (*_INDEX, _REPEATS, _PERSON_CONFLICTS, _MEMBERSHIP_CONFLICTS, *fill, _PEOPLE, *_INDEX_PEOPLE):
            run(statement)
        run(_joins(stated), {"today": today})
        if mode == "replace" and complete:
            run(_ends(stated), {"today": today})
        comparison = self._comparison(today)
        commit(transaction)
        counts = {"added": comparison.added, "changed": comparison.changed, "ended": comparison.ended}
        rest_stated = tuple(name for name in _REST_COLUMNS if name in stated)
        self._staged = Staged(rest_stated=rest_stated, today=today, counts=counts)
        return comparison

    def results(self, rows_max: int) -> list[RowResult]:
        """Return what the rows would do, rejected ones first, then what would end; at most `rows_max`."""
        with begin(self._connection, "read"):
            rows = self._connection.exec_driver_sql(f"{_OUTCOMES} ORDER BY c.line IS NULL, r.line LIMIT {rows_max:d}")
            found = [_result(*row) for row in rows]
            ended = self._connection.exec_driver_sql(
                f'SELECT patient_id FROM staged_end ORDER BY patient_id COLLATE "C", membership_id '
                f"LIMIT {rows_max - len(found):d}"
            )
            return found + [RowResult(row=None, patient_id=patient_id, outcome="ended") for (patient_id,) in ended]

    def load(self, load: Load) -> None:
        """Make the panel what was compared: all of it at one moment or, if the process dies, nothing."""
        assert self._staged is not None, "compare before you load"
        load_panel(self._connection, load, self._staged)

    def _comparison(self, today: date) -> Comparison:
        run = self._connection.exec_driver_sql
        counted = run(f"SELECT outcome, count(*) FROM ({_OUTCOMES}) AS o GROUP BY outcome").all()
        by_outcome: dict[str, int] = {row[0]: row[1] for row in counted}
        (ended,) = run("SELECT count(*) FROM staged_end").one()
        before, dropped = run(_DROPPED, {"today": today}).one()
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
    differs = f"{_tuple('m', rest)} IS DISTINCT FROM {_tuple('x', rest)}" if rest else "false"
    if "effective_to" not in stated:
        differs += f" OR NOT {_IN_FORCE}"
    return f"""
        INSERT INTO staged_join
        SELECT x.line, x.membership_id
        FROM (
            SELECT r.line, {", ".join(f"r.{name}" for name in _REST_COLUMNS)}, (
                SELECT m.id FROM panel_membership AS m
                WHERE m.patient_id = r.patient_id AND {_same_key("m", "r", stated)}
                ORDER BY {_IN_FORCE} DESC, m.effective_from DESC NULLS LAST, m.id DESC LIMIT 1) AS membership_id
            FROM staged_row AS r
            JOIN staged_person AS p ON p.patient_id = r.patient_id
            WHERE p.state <> 'added' AND NOT EXISTS (SELECT 1 FROM staged_repeat AS s WHERE s.line = r.line)
        ) AS x
        LEFT JOIN panel_membership AS m ON m.id = x.membership_id
        WHERE m.id IS NULL OR {differs}
    """


def _ends(stated: frozenset[str]) -> str:
    """Return the SQL that fills `staged_end`: what holds today or later and no row speaks of."""
    return f"""
        INSERT INTO staged_end
        SELECT m.id, m.patient_id FROM panel_membership AS m
        WHERE {_IN_FORCE} AND NOT EXISTS (
            SELECT 1 FROM staged_row AS r WHERE r.patient_id = m.patient_id AND {_same_key("m", "r", stated)})
    """


def _same_key(left: str, right: str, stated: frozenset[str]) -> str:
    keys = [name for name in _KEY_COLUMNS if name in stated]
    return f"{_tuple(left, keys)} IS NOT DISTINCT FROM {_tuple(right, keys)}" if keys else "true"


def _fill(stated: frozenset[str]) -> tuple[str, ...]:
    """Return the SQL that takes what the file has no column for from the panel, for people who are on it."""
    columns = {name: f"p.{name}" for name in PERSON_COLUMNS if name not in stated}
    if "identifiers" not in stated:
        columns["identifiers"] = packed_identifiers_of("p.id")
    if not columns:
        return ()
    return (
        f"""
        UPDATE staged_row SET {", ".join(f"{name} = {value}" for name, value in columns.items())}
        FROM patient AS p
        WHERE p.id = staged_row.patient_id
            AND EXISTS (SELECT 1 FROM panel_membership AS m WHERE m.patient_id = staged_row.patient_id)
        """,
        "ANALYZE staged_row",
    )


def _staged(row: PanelRow) -> tuple[object, ...]:
    """Return a row as the driver takes it: packed identifiers, the rest as it is."""
    return (*row[:19], pack_identifiers(stored_identifiers(row.identifiers)), *row[20:])


def _result(line: int, patient_id: str, other: int | None, reason: str | None, outcome: Outcome) -> RowResult:
    text = _TEXTS[reason].format(other=other) if reason else None
    return RowResult(row=line, patient_id=patient_id, outcome=outcome, reason=reason, text=text)
