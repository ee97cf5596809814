"""`afterstay dlq`: dead letters to see, and to replay once what was wrong is mended."""

from dataclasses import asdict
from typing import Any

from schemas.events import RAW_HEADER
from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, required_database
from services.commands.exit_codes import OK
from services.commands.letter_records import find_letter, name_of, read_records
from services.commands.output import bold, shown, tell, write_facts, write_json, write_table, write_text
from services.followup.store.dead_letters import SqlDeadLetters
from services.followup.usecases.dead_letters import KeptLetter
from services.followup.usecases.sorting import Unusable, decode
from services.runtime.clock import SystemClock
from services.runtime.eventlog.port import Record

_HEADER = ("letter", "since", "reason", "feed", "trigger", "control id", "answered", "event", "resolved")


def ls(arguments: Arguments) -> int:
    """Print dead letters, oldest first."""
    with required_database(DataSource.of(arguments)) as engine:
        store = SqlDeadLetters(engine)
        found = store.listed(include_resolved=arguments.resolved, limit=arguments.limit)
        open_count = store.open_count()
    if arguments.json:
        write_json({"items": [_fields(kept) for kept in found], "open": open_count})
        return OK
    if found:
        write_table(_HEADER, [_cells(kept) for kept in found])
    for reason, text in sorted({(kept.letter.reason, kept.letter.text) for kept in found}):
        tell(f"{reason}: {text}")
    tell(f"{open_count} open" + (", more than are shown: raise --limit" if open_count > len(found) else ""))
    return OK


def show(arguments: Arguments) -> int:
    """Print one dead letter; the message itself only if asked for, which is audited."""
    source = DataSource.of(arguments)
    with required_database(source) as engine:
        store = SqlDeadLetters(engine)
        kept = find_letter(store, arguments.letter)
        (record,) = read_records(source, [kept])
        if arguments.show_phi:
            store.audit("dead_letter.shown", [kept.letter], actor=arguments.actor, at=SystemClock().now())
    message = _message_of(record) if arguments.show_phi else None
    findings = _findings_of(record)
    if arguments.json:
        write_json({**_fields(kept), "findings": findings, "message": message})
        return OK
    write_facts(dict(zip(_HEADER, _cells(kept), strict=True)))
    write_facts({"what to do": kept.letter.text})
    for finding in findings:
        write_text(f"finding  {finding['code']} {shown(finding['where'])}")
    if message is not None:
        write_text(bold("message"))
        for line in message.splitlines():
            write_text(f"  {shown(line)}")
    return OK


def _fields(kept: KeptLetter) -> dict[str, Any]:
    return {
        "letter": name_of(kept),
        **asdict(kept.letter),
        "feed": kept.feed,
        "control_id": kept.control_id,
        "trigger": kept.trigger,
        "received_at": kept.received_at,
        "acknowledged": kept.acknowledged,
        "resolved_at": kept.resolved_at,
        "resolution": kept.resolution,
    }


def _cells(kept: KeptLetter) -> tuple[object, ...]:
    letter = kept.letter
    return (
        name_of(kept),
        letter.at,
        letter.reason,
        kept.feed,
        kept.trigger,
        kept.control_id,
        kept.acknowledged,
        letter.event_id,
        kept.resolution,
    )


def _message_of(record: Record | None) -> str | None:
    raw = record.header(RAW_HEADER) if record else None
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def _findings_of(record: Record | None) -> list[dict[str, Any]]:
    """Return what was wrong or guessed in a message: codes and places, never content (`schemas.events.Finding`)."""
    event = decode(record) if record else None
    if event is None or isinstance(event, Unusable):
        return []
    return [{"code": one.code, "where": one.where} for one in event.findings]
