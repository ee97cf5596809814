"""`afterstay trace`: the way of a message, step by step."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from schemas.topics import ADT_EVENTS
from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, found_database, found_log
from services.commands.exit_codes import OK, REFUSED
from services.commands.output import bold, shown, tell, write_json, write_text
from services.commands.status import read_books
from services.followup.store.trace import SqlTrace
from services.followup.usecases.pending import read_pending
from services.followup.usecases.status import Books
from services.followup.usecases.trace import MESSAGES_MAX, Traced, steps_of, traced_pending
from services.runtime.clock import SystemClock


def show(arguments: Arguments) -> int:
    """Print every message with a control id, and leave an audit row; fail when there is none."""
    found = _find(arguments)
    if arguments.json:
        messages = [{**asdict(one), "steps": steps_of(one)} for one in found]
        write_json({"control_id": arguments.control_id, "feed": arguments.feed, "messages": messages})
    else:
        for one in found:
            _write_way(one)
    if not found:
        of_feed = f" of feed {arguments.feed}" if arguments.feed else ""
        tell(
            f"no message with control id {arguments.control_id}{of_feed} has been received here: check MSH-10 in the "
            "sender's log and whether it was acknowledged by this listener [message-unknown]"
        )
    return OK if found else REFUSED


def _find(arguments: Arguments) -> Sequence[Traced]:
    """Return the messages: pending ones first. What is consumed meanwhile is found in both places, never in none."""
    control_id, feed = arguments.control_id, arguments.feed
    source = DataSource.of(arguments)
    pending = asyncio.run(_find_pending(source, read_books(source), control_id, feed))
    with found_database(source) as engine:
        if engine is None:
            return pending
        store = SqlTrace(engine)
        known = store.find(control_id, feed, MESSAGES_MAX)
        places = {(one.partition, one.offset) for one in known}
        found = [*(one for one in pending if (one.partition, one.offset) not in places), *known]
        event_ids = [one.event_id for one in found]
        store.audit(actor=arguments.actor, at=SystemClock().now(), control_id=control_id, event_ids=event_ids)
    return found


async def _find_pending(source: DataSource, books: Books, control_id: str, feed: str | None) -> list[Traced]:
    found: list[Traced] = []
    async with found_log(source) as log:
        if log is not None:
            ends = await log.end_offsets(ADT_EVENTS)
            async for record in read_pending(log, ADT_EVENTS, books, ends):
                one = traced_pending(record, control_id, feed)
                if one is not None and len(found) < MESSAGES_MAX:
                    found.append(one)
    return found


def _write_way(traced: Traced) -> None:
    write_text(
        bold(f"message {shown(traced.control_id)}  {shown(traced.trigger)} {traced.kind}  event {traced.event_id}")
    )
    for step in steps_of(traced):
        mark = "yes" if step.reached else "no"
        write_text(f"  {step.name:<13}{mark:<5}{shown(step.at):<22}{shown(step.text)}")
    if traced.stay is not None and traced.stay.sets:
        write_text(f"  it sets {', '.join(traced.stay.sets)} of stay {traced.stay.id}")
