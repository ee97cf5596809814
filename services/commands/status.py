"""`afterstay status`: every message counted, and where it ended."""

import asyncio
from collections.abc import Mapping

from schemas.topics import ADT_EVENTS
from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, found_database, found_log
from services.commands.exit_codes import OK, REFUSED
from services.commands.output import bold, tell, write_facts, write_json, write_text
from services.followup.store.status import SqlBooks
from services.followup.usecases.pending import read_extent
from services.followup.usecases.status import (
    CONSUMER_GROUP,
    EMPTY_BOOKS,
    NO_LOG,
    Books,
    Extent,
    Status,
    status_of,
)


def show(arguments: Arguments) -> int:
    """Print the books; fail when they do not balance."""
    status = read_status(DataSource.of(arguments))
    if arguments.json:
        write_json(status)
    else:
        _write_status(status)
    for problem in status.problems:
        tell(f"the books do not balance: {problem} [books-unbalanced]")
    return OK if status.balanced else REFUSED


def read_status(source: DataSource) -> Status:
    """Return the books against the log: the books first, since the log only grows.

    Raises:
        Permanent: the folder holds no data of ours.
        Transient: the database or the log is out of reach for now.
    """
    books = read_books(source)
    return status_of(books, asyncio.run(_read_extent(source, books)))


def read_books(source: DataSource) -> Books:
    """Return the books as of one moment; empty ones where there is no database yet."""
    with found_database(source) as engine:
        return EMPTY_BOOKS if engine is None else SqlBooks(engine).read(CONSUMER_GROUP, ADT_EVENTS)


async def _read_extent(source: DataSource, books: Books) -> Extent:
    async with found_log(source) as log:
        return NO_LOG if log is None else await read_extent(log, ADT_EVENTS, books)


def _write_status(status: Status) -> None:
    outcomes = status.outcomes
    write_facts({"received": status.received, "events": status.events, "pending": status.pending})
    _write_counts("acknowledged", status.acknowledged)
    _write_counts(
        "outcomes", {"effect": outcomes.effect, "review": outcomes.review, "dead letter": outcomes.dead_letter}
    )
    _write_counts("no effect, by reason", outcomes.no_effect)
    _write_counts("dead letters, by reason", status.dead_letters)
    _write_counts("tasks", {f"{kind} {word}": n for kind, by in status.tasks.items() for word, n in by.items()})
    write_text(bold("the books balance" if status.balanced else "THE BOOKS DO NOT BALANCE"))


def _write_counts(title: str, counts: Mapping[str, int]) -> None:
    write_text(bold(title))
    write_facts({f"  {name}": n for name, n in counts.items()} or {"  none": 0})
