"""`afterstay simulate`."""

import sys

from services.commands.arguments import Arguments
from services.simulator.simulate import run_simulate
from services.simulator.simulation import DEFAULT_PATIENTS


def simulate(arguments: Arguments) -> int:
    """Write a simulation into a folder, send it to a listener, or both."""
    return run_simulate(
        seed=arguments.seed,
        out_dir=arguments.out,
        to=arguments.destination,
        stdout=sys.stdout,
        patients=arguments.patients or DEFAULT_PATIENTS,
        rate=arguments.rate,
        as_json=arguments.json,
    )
