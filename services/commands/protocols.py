"""`afterstay protocols due`."""

from services.commands.arguments import Arguments
from services.commands.exit_codes import OK
from services.commands.output import write_text
from services.followup.protocols.closures import read_closures
from services.followup.usecases.due_dates import run_protocols_due


def due(arguments: Arguments) -> int:
    """Print the dates that discharges would get."""
    closures = read_closures(arguments.closures) if arguments.closures else frozenset()
    write_text(
        run_protocols_due(
            arguments.protocol, arguments.zone, arguments.times, as_json=arguments.json, closures=closures
        )
    )
    return OK
