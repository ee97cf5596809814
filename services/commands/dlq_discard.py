"""`afterstay dlq discard`: dead letters of which nothing is to come, closed by a person who says why."""

from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, required_database
from services.commands.exit_codes import OK, REFUSED
from services.commands.letter_records import find_letter, name_of
from services.commands.output import tell, write_json, write_table
from services.followup.store.dead_letters import SqlDeadLetters
from services.followup.store.unit_of_work import units_of
from services.followup.usecases.dead_letters import DiscardLetters, KeptLetter
from services.followup.usecases.sorting import DISCARDED
from services.runtime.clock import SystemClock


def discard(arguments: Arguments) -> int:
    """Close the letters named; fail when one of them has taken effect, of which nobody can say that nothing came."""
    with required_database(DataSource.of(arguments)) as engine:
        store = SqlDeadLetters(engine)
        named = {one.letter.place: one for one in (find_letter(store, name) for name in arguments.letters)}.values()
        is_open = [one for one in named if one.resolved_at is None]
        closed = len(is_open)
        if not arguments.dry_run:
            discarding = DiscardLetters(units_of(engine), SystemClock())
            closed = discarding.run([one.letter for one in is_open], why=arguments.reason, actor=arguments.actor)
    lively = [one for one in named if one.resolved_at is not None and one.resolution != DISCARDED]
    _report(arguments, len(named), closed, lively)
    return REFUSED if lively else OK


def _report(arguments: Arguments, named: int, closed: int, lively: list[KeptLetter]) -> None:
    rows = [(name_of(one), one.resolution) for one in lively]
    if arguments.json:
        took_effect = [{"letter": letter, "resolution": resolution} for letter, resolution in rows]
        write_json({"dry_run": arguments.dry_run, "letters": named, "discarded": closed, "took_effect": took_effect})
        return
    if rows:
        write_table(("letter", "took effect: it was"), rows)
    verb = "would be discarded" if arguments.dry_run else "discarded"
    tell(f"{named} dead letters named: {closed} {verb}, {named - closed - len(rows)} were already")
