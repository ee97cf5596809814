"""`afterstay run`."""

from services.commands.arguments import Arguments
from services.standalone import RunSettings
from services.standalone import run as run_standalone


def run(arguments: Arguments) -> int:
    """Serve until told to stop."""
    assert arguments.data is not None, "the grammar asks for it"
    return run_standalone(
        RunSettings(
            data_dir=arguments.data,
            feeds_file=arguments.feeds,
            mllp_port=arguments.mllp_port,
            http_port=arguments.http_port,
            log_level="debug" if arguments.debug else arguments.log_level,
        )
    )
