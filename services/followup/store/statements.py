"""SQL that differs by database, kept in one place: writing many rows, and looking up by many keys.

Every statement is set-based and its text does not depend on the number of rows, so that it is compiled once, and on
PostgreSQL prepared once. There a batch travels as one JSON parameter that the server takes apart, in its order: the
driver's own way, a message for each row, costs several times as much. Lookups by many keys use one-column `IN` lists
(SQLite) or arrays (PostgreSQL), which both answer from the index; never row-value lists, which SQLite answers by
scanning the table.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Final, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.runtime.database import is_postgresql

SHARDS: Final = 32
"""Of the books; a connection counts in one of them. More than the connections that write at the same time."""

_encode = msgspec.json.Encoder().encode
_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own


def among(connection: sa.Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a column has one of some values."""
    if is_postgresql(connection):
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    return column.in_(values)


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, which all have the same columns."""
    if not rows:
        return
    if is_postgresql(connection):
        connection.execute(_from_json(table, tuple(rows[0])), {"rows": as_json(rows)})
    else:
        connection.execute(sa.insert(table), list(rows))


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Sequence[str],
    update: Sequence[str] = (),
) -> int:
    """Insert rows; where a row with the same `keys` is there, set its `update` columns, or leave it if none are.

    Rows all have the same columns, different keys, and are written in their order. Returns how many were inserted or
    changed.
    """
    if not rows:
        return 0
    if is_postgresql(connection):
        changes = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in update)
        statement = _from_json(table, tuple(rows[0]), _on_conflict(keys, changes))
        return connection.execute(statement, {"rows": as_json(rows)}).rowcount
    return connection.execute(_upsert_statement(table, tuple(keys), tuple(update)), list(rows)).rowcount


@cache
def _upsert_statement(table: sa.Table, keys: tuple[str, ...], update: tuple[str, ...]) -> sa.Insert:
    """Build the statement once for each place that asks for it: that costs more than to execute it."""
    statement = sqlite.insert(table)
    if update:
        excluded = {name: statement.excluded[name] for name in update}
        made: sa.Insert = statement.on_conflict_do_update(index_elements=list(keys), set_=excluded)
    else:
        made = statement.on_conflict_do_nothing(index_elements=list(keys))
    return made


def as_json(rows: Sequence[Any]) -> str:
    """Return rows as the parameter of `recordset`."""
    return _encode(rows).decode()


def recordset(columns: Mapping[str, str]) -> str:
    """Return the SQL for rows that come as JSON in the parameter `rows`, by column and type."""
    typed = ", ".join(f"{_quoted(name)} {type_}" for name, type_ in columns.items())
    return f"json_to_recordset(CAST(:rows AS json)) AS r({typed})"


@cache
def _from_json(table: sa.Table, names: tuple[str, ...], tail: str = "") -> sa.TextClause:
    types = {name: table.c[name].type.compile(_POSTGRESQL) for name in names}
    columns = ", ".join(map(_quoted, names))
    source = recordset(types)
    return sa.text(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {source} {tail}")  # noqa: S608 - names


def _on_conflict(keys: Sequence[str], changes: str) -> str:
    doing = f"UPDATE SET {changes}" if changes else "NOTHING"
    return f"ON CONFLICT ({', '.join(map(_quoted, keys))}) DO {doing}"


def _quoted(name: str) -> str:
    return f'"{name}"'


class FlatRow(Protocol):
    """A dataclass; its values are what columns hold."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def values_of(row: FlatRow | msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a row by name; `dataclasses.asdict` would copy the values too, at ten times the cost."""
    if isinstance(row, msgspec.Struct):
        return msgspec.structs.asdict(row)
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def add_counts(
    connection: sa.Connection, table: sa.Table, keys: Sequence[str], counts: Sequence[tuple[str | int, ...]]
) -> None:
    """Add to the `n` of rows, which appear when they are first counted; each connection counts in its own shard.

    Each count is its key's values and then the number; sorted, so that two writers take rows in one order.
    """
    if not counts:
        return
    names = (*keys, "n")
    rows = [dict(zip(names, count, strict=True)) for count in counts]
    if is_postgresql(connection):
        connection.execute(_count_statement(table, tuple(keys)), {"rows": as_json(rows)})
        return
    statement = sqlite.insert(table)
    added = {"n": table.c.n + statement.excluded.n}
    statement = statement.on_conflict_do_update(index_elements=[*keys, "shard"], set_=added)
    connection.execute(statement, [{**row, "shard": 0} for row in rows])


@cache
def _count_statement(table: sa.Table, keys: tuple[str, ...]) -> sa.TextClause:
    columns = ", ".join(map(_quoted, keys))
    source = recordset({**dict.fromkeys(keys, "text"), "n": "bigint"})
    tail = _on_conflict((*keys, "shard"), f"n = {table.name}.n + excluded.n")
    return sa.text(
        f"INSERT INTO {table.name} ({columns}, shard, n) "  # noqa: S608 - names
        f"SELECT {columns}, pg_backend_pid() % {SHARDS}, n FROM {source} {tail}"
    )
