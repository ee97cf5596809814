"""`afterstay web`."""

from functools import partial

from services.commands.arguments import Arguments
from services.commands.connections import database_of, ops_of
from services.followup.processes import WebSettings, serve_web
from services.runtime.process import run_process


def web(arguments: Arguments) -> int:
    """Serve until told to stop."""
    settings = WebSettings(database=database_of(arguments), http_port=arguments.http_port)
    return run_process("web", ops_of(arguments), partial(serve_web, settings))
