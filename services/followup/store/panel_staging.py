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

from services.followup.store.panel_rows import pack_identifiers, stored_identifiers
from services.followup.usecases.panel_ports import (
    MEMBERSHIP_COLUMNS,
    PERSON_COLUMNS,
    Comparison,
    Mode,
    PanelRow,
    RowResult,
)
from services.runtime.database import begin

TEMP_CACHE_KIB: Final = 64 * 1024
"""Page cache of the TEMP tables and of the panel during an import; the rest goes to disk."""
CONFLICTS_SHOWN_MAX: Final = 10_000

_KEY_COLUMNS: Final = ("practice", "program", "effective_from")
_REST_COLUMNS: Final = ("effective_to", "pcp")
_STAGED_COLUMNS: Final = ("row", "patient_id", *PERSON_COLUMNS, "identifiers", *MEMBERSHIP_COLUMNS)

_CREATE: Final = (
    "PRAGMA temp_store = FILE",
    f"PRAGMA temp.cache_size = -{TEMP_CACHE_KIB}",
    f"PRAGMA main.cache_size = -{TEMP_CACHE_KIB}",
    f"CREATE TEMP TABLE staged_row (row INTEGER PRIMARY KEY, {', '.join(_STAGED_COLUMNS[1:])})",
    "CREATE TEMP TABLE staged_repeat (row INTEGER PRIMARY KEY, first INTEGER NOT NULL, contradicts INTEGER NOT NULL)",
    "CREATE TEMP TABLE staged_person (n INTEGER PRIMARY KEY, patient_id TEXT, row INTEGER, state TEXT)",
    "CREATE TEMP TABLE staged_join (row INTEGER PRIMARY KEY, membership_id INTEGER)",
    "CREATE TEMP TABLE staged_end (membership_id INTEGER PRIMARY KEY, patient_id TEXT)",
)
_STAGE: Final = f"INSERT INTO staged_row VALUES ({', '.join('?' * len(_STAGED_COLUMNS))})"
_INDEX: Final = "CREATE INDEX temp.staged_row_patient ON staged_row (patient_id)"


def packed_identifiers_of(patient_id: str) -> str:
    """Return the SQL for the identifiers of the patient that an expression names, as `pack_identifiers` does it."""
    return (
        "coalesce((SELECT group_concat(packed, char(30)) FROM (SELECT authority || char(31) || value || char(31) || type"
        f" AS packed FROM main.patient_identifier WHERE patient_id = {patient_id}"
        " ORDER BY authority, value, type)), '')"
    )


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
_CONFLICTS: Final = f"""
    SELECT r.row, r.patient_id, 'contradicts-person' AS reason, f.row AS other
    FROM (SELECT patient_id, min(row) AS first FROM staged_row GROUP BY patient_id HAVING count(*) > 1) AS several
    JOIN staged_row AS f ON f.row = several.first
    JOIN staged_row AS r ON r.patient_id = several.patient_id AND r.row > several.first
    WHERE {_tuple("r", (*PERSON_COLUMNS, "identifiers"))} IS NOT {_tuple("f", (*PERSON_COLUMNS, "identifiers"))}
    UNION ALL
    SELECT r.row, r.patient_id, 'contradicts-membership', s.first
    FROM staged_repeat AS s JOIN staged_row AS r ON r.row = s.row
    WHERE s.contradicts
    ORDER BY 1 LIMIT {CONFLICTS_SHOWN_MAX}
"""
_CONFLICT_TEXTS: Final = {
    "contradicts-person": "says otherwise about this person than row {other}",
    "contradicts-membership": "says otherwise about this membership than row {other}",
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
_OUTCOMES: Final = """
    SELECT r.row, r.patient_id, s.first, CASE
        WHEN s.row IS NOT NULL THEN 'unchanged'
        WHEN p.state = 'added' THEN 'added'
        WHEN p.state = 'changed' OR j.row IS NOT NULL THEN 'changed'
        ELSE 'unchanged' END AS outcome
    FROM staged_row AS r
    JOIN (SELECT patient_id AS id, state FROM staged_person) AS p ON p.id = r.patient_id
    LEFT JOIN staged_repeat AS s ON s.row = r.row
    LEFT JOIN staged_join AS j ON j.row = r.row
"""
