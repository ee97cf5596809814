"""`afterstay status`: every message counted, and where it ended."""

import asyncio
from collections.abc import Mapping, Sequence

from schemas.topics import ADT_EVENTS
from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, found_database, found_log
from services.commands.exit_codes import OK, REFUSED, TEMPORARY
from services.commands.output import bold, tell, write_facts, write_json, write_text
from services.commands.spools import read_spool
from services.followup.store.status import SqlBooks
from services.followup.usecases.pending import read_extent
from services.followup.usecases.status import (
    CONSUMER_GROUP,
    EMPTY_BOOKS,
    NO_LOG,
    Books,
    Extent,
    Spool,
    Status,
    status_of,
)


def show(arguments: Arguments) -> int:
    """Print the books; fail when they do not balance, or when a spool did not say what it holds."""
    spools = [read_spool(host, port) for host, port in arguments.ops]
    status = read_status(DataSource.of(arguments), spools)
    if arguments.json:
        write_json(status)
    else:
        _write_status(status)
    for problem in status.problems:
        tell(f"the books do not balance: {problem} [books-unbalanced]")
    for spool in status.spools:
        if spool.messages is None:
            tell(f"the listener at {spool.address} does not say what its spool holds: it is unknown [spool-unknown]")
    if not status.balanced:
        return REFUSED
    return OK if status.complete else TEMPORARY


def read_status(source: DataSource, spools: Sequence[Spool] = ()) -> Status:
    """Return the books against the log: the books first, since the log only grows.

    Raises:
        Permanent: the folder holds no data of ours.
        Transient: the database or the log is out of reach for now.
    """
    books = read_books(source)
    return status_of(books, asyncio.run(_read_extent(source, books)), spools)


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
    if status.spools:
        _write_counts(
            "in spools", {one.address: "unknown" if one.messages is None else one.messages for one in status.spools}
        )
    _write_counts("acknowledged", status.acknowledged)
    _write_counts(
        "outcomes", {"effect": outcomes.effect, "review": outcomes.review, "dead letter": outcomes.dead_letter}
    )
    _write_counts("no effect, by reason", outcomes.no_effect)
    _write_counts("dead letters, by reason", status.dead_letters)
    _write_counts("tasks", {f"{kind} {word}": n for kind, by in status.tasks.items() for word, n in by.items()})
    write_text(bold("the books balance" if status.balanced else "THE BOOKS DO NOT BALANCE"))


def _write_counts(title: str, counts: Mapping[str, object]) -> None:
    write_text(bold(title))
    write_facts({f"  {name}": n for name, n in counts.items()} or {"  none": 0})
