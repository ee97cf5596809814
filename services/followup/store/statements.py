"""SQL that differs by database, kept in one place: upserts.

Every statement is set-based and its text does not depend on the number of rows, so that it is compiled once. Lookups
by many keys use one-column `IN` lists, which SQLite and PostgreSQL answer from the index; never row-value lists,
which SQLite answers by scanning the table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Sequence[str],
    update: Sequence[str] = (),
) -> None:
    """Insert rows; where a row with the same `keys` is there, set its `update` columns, or leave it if none are."""
    if not rows:
        return
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    if update:
        excluded = {name: statement.excluded[name] for name in update}
        statement = statement.on_conflict_do_update(index_elements=list(keys), set_=excluded)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(keys))
    connection.execute(statement, list(rows))


def add_counts(
    connection: sa.Connection, table: sa.Table, keys: Sequence[str], counts: Sequence[tuple[str | int, ...]]
) -> None:
    """Add to the `n` of rows, which appear when they are first counted.

    Each count is its key's values and then the number; sorted, so that two writers take rows in one order.
    """
    if not counts:
        return
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    statement = statement.on_conflict_do_update(index_elements=list(keys), set_={"n": table.c.n + statement.excluded.n})
    names = (*keys, "n")
    connection.execute(statement, [dict(zip(names, count, strict=True)) for count in counts])
