"""SQL that differs by database, kept in one place: upserts.

Every statement is set-based and its text does not depend on the number of rows, so that it is compiled once. Lookups
by many keys use one-column `IN` lists, which SQLite and PostgreSQL answer from the index; never row-value lists,
which SQLite answers by scanning the table.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Sequence[str],
    update: Sequence[str] = (),
) -> int:
    """Insert rows; where a row with the same `keys` is there, set its `update` columns, or leave it if none are.

    Returns how many rows were inserted or changed.
    """
    if not rows:
        return 0
    statement = _upsert_statement(connection.dialect.name, table, tuple(keys), tuple(update))
    return connection.execute(statement, list(rows)).rowcount


@cache
def _upsert_statement(dialect: str, table: sa.Table, keys: tuple[str, ...], update: tuple[str, ...]) -> sa.Insert:
    """Build the statement once for each place that asks for it: that costs more than to execute it."""
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table)
    if update:
        excluded = {name: statement.excluded[name] for name in update}
        made: sa.Insert = statement.on_conflict_do_update(index_elements=list(keys), set_=excluded)
    else:
        made = statement.on_conflict_do_nothing(index_elements=list(keys))
    return made


class FlatRow(Protocol):
    """A dataclass; its values are what columns hold."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def values_of(row: FlatRow) -> dict[str, Any]:
    """Return the fields of a dataclass by name; `asdict` would copy the values too, at ten times the cost."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


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
