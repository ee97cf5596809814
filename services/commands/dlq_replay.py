"""`afterstay dlq replay`: the messages of dead letters, read anew with the feeds as they are now (`rereading`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas.events import AdtEvent
from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, required_database
from services.commands.exit_codes import OK, REFUSED
from services.commands.letter_records import find_letter, name_of, read_records
from services.commands.output import tell, write_json, write_table
from services.commands.rereading import Rereader
from services.followup.composition import build_apply
from services.followup.store.dead_letters import SqlDeadLetters
from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.dead_letters import BEFORE_ALL, KeptLetter
from services.followup.usecases.sorting import PARKED
from services.followup.usecases.status import ack_of
from services.runtime.clock import SystemClock
from services.runtime.eventlog.port import Record

BATCH: Final = 100
"""Letters of one transaction: short, so that the consumer beside it hardly waits."""
RECORD_GONE: Final = "record-unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """A dead letter as it reads now. `still` says why it stays dead; `None`: it can be applied."""

    kept: KeptLetter
    event: AdtEvent | None
    ack: str
    still: str | None


def replay(arguments: Arguments) -> int:
    """Apply what can be used now and print what stays; fail when a letter that was named stays."""
    rereader = Rereader(arguments.feeds)
    rereads: list[Reread] = []
    revived = 0
    clock = SystemClock()
    source = DataSource.of(arguments)
    with required_database(source) as engine:
        store, apply = SqlDeadLetters(engine), build_apply(engine, clock, closures=source.closures())
        for batch in _batches(store, arguments.letters):
            read = _read_anew(source, batch, rereader)
            rereads += read
            if any(one.still is None for one in read) and not arguments.dry_run:
                revived += _apply(apply, read)
                letters = [one.kept.letter for one in read if one.still is None]
                store.audit("dead_letter.replayed", letters, actor=arguments.actor, at=clock.now())
    usable = sum(one.still is None for one in rereads)
    _report(arguments, rereads, usable if arguments.dry_run else revived)
    if usable and revived < usable and not arguments.dry_run:
        tell(
            f"{usable - revived} read well but were not applied: they are dead letters no more, or never were an event"
        )
    return REFUSED if arguments.letters and usable < len(rereads) else OK


def _batches(store: SqlDeadLetters, names: list[str]) -> Iterator[list[KeptLetter]]:
    if names:
        yield [find_letter(store, name) for name in names]
        return
    place = BEFORE_ALL
    while batch := list(store.open_after(place, BATCH)):
        yield batch
        place = (batch[-1].letter.partition, batch[-1].letter.offset)


def _read_anew(source: DataSource, batch: list[KeptLetter], rereader: Rereader) -> list[Reread]:
    records = read_records(source, batch)
    return [_reread(kept, record, rereader) for kept, record in zip(batch, records, strict=True)]


def _reread(kept: KeptLetter, record: Record | None, rereader: Rereader) -> Reread:
    event = rereader.read(record) if record else None
    if record is None or event is None:
        return Reread(kept=kept, event=None, ack="", still=RECORD_GONE)
    intake = event.intake
    still = (intake.reason or intake.outcome) if intake.outcome in PARKED else None
    return Reread(kept=kept, event=event, ack=ack_of(record), still=still)


def _apply(apply: ApplyEvents, rereads: list[Reread]) -> int:
    usable = [(one.kept.letter, one.event, one.ack) for one in rereads if one.still is None and one.event is not None]
    return apply.replay(usable)


def _report(arguments: Arguments, rereads: list[Reread], revived: int) -> None:
    stay = [(name_of(one.kept), one.still) for one in rereads if one.still]
    if arguments.json:
        write_json(
            {
                "dry_run": arguments.dry_run,
                "letters": len(rereads),
                "revived": revived,
                "still_dead": [{"letter": letter, "reason": reason} for letter, reason in stay],
            }
        )
        return
    if stay:
        write_table(("letter", "still dead"), stay)
    verb = "would be applied" if arguments.dry_run else "applied"
    tell(f"{len(rereads)} dead letters read: {revived} {verb}, {len(stay)} stay")
