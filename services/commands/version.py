"""`afterstay --version`."""

import importlib.metadata
import platform

from services.commands.arguments import Arguments
from services.commands.exit_codes import OK
from services.commands.output import write_text


def show(_arguments: Arguments) -> int:
    """Print which version of what this is."""
    try:
        version = importlib.metadata.version("afterstay")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed: run from its source)"
    write_text(f"afterstay {version}, Python {platform.python_version()}")
    return OK
