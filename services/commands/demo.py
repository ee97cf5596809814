"""`afterstay demo`."""

import sys

from services.commands.arguments import Arguments
from services.simulator.demo import run_demo
from services.simulator.simulation import DEFAULT_PATIENTS


def demo(arguments: Arguments) -> int:
    """Let simulated hospitals send to a real `run`."""
    return run_demo(
        once=arguments.once,
        as_json=arguments.json,
        seed=arguments.seed,
        data_dir=arguments.folder,
        stdout=sys.stdout,
        stderr=sys.stderr,
        patients=arguments.patients or DEFAULT_PATIENTS,
    )
