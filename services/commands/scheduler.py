"""`afterstay scheduler`."""

from functools import partial

from services.commands.arguments import Arguments
from services.commands.connections import closures_of, database_of, ops_of
from services.followup.processes import SchedulerSettings, serve_scheduler
from services.runtime.process import run_process


def scheduler(arguments: Arguments) -> int:
    """Serve until told to stop."""
    settings = SchedulerSettings(database=database_of(arguments), closures=closures_of(arguments))
    return run_process("scheduler", ops_of(arguments), partial(serve_scheduler, settings))
