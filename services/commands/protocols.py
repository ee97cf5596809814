"""`afterstay protocols due`."""

from services.commands.arguments import Arguments
from services.commands.exit_codes import OK
from services.commands.output import write_text
from services.followup.usecases.due_dates import run_protocols_due


def due(arguments: Arguments) -> int:
    """Print the dates that discharges would get."""
    write_text(run_protocols_due(arguments.protocol, arguments.zone, arguments.times, as_json=arguments.json))
    return OK
