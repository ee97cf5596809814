"""`afterstay followup`."""

from functools import partial

from services.commands.arguments import Arguments
from services.commands.connections import closures_of, database_of, kafka_of, ops_of
from services.followup.stream_process import FollowupSettings, serve_followup
from services.runtime.process import run_process


def followup(arguments: Arguments) -> int:
    """Serve until told to stop."""
    settings = FollowupSettings(
        kafka=kafka_of(arguments), database=database_of(arguments), closures=closures_of(arguments)
    )
    return run_process("followup", ops_of(arguments), partial(serve_followup, settings))
