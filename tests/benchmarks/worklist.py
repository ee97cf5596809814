"""From a discharge message to its task on the worklist, through a real `afterstay run`, at two rates.

Everybody sent of is on the panel of 10,000, and a third of the messages are discharges that make two tasks each: far
more work than a hospital's feed, of which most people are nobody's here. The delay counts from the moment the message
was due to be sent until its task could be read.
"""

from pathlib import Path
from typing import Any, Final

from tests.benchmarks import processes
from tests.benchmarks.figures import Spread, percentile, spread, table

RATES: Final = (200, 500)
SECONDS: Final = 5
ROUNDS: Final = 3
WARM_UP_PEOPLE: Final = 100


def measure(folder: Path, template: Path) -> str:
    """Run all rounds and return the report."""
    found: dict[int, list[dict[str, Any]]] = {rate: [] for rate in RATES}
    for round_number in range(ROUNDS):
        for rate, rounds in found.items():
            rounds.append(_round(folder / f"{rate}-{round_number}", template, rate))
    rows = []
    for rate, rounds in found.items():
        listener, worker = ([one["cpu_s"][place] / one["sent"] for one in rounds] for place in range(2))
        rows.append((
            f"{rate}",
            _ms(rounds, "answered_s", 50), _ms(rounds, "answered_s", 99),
            _ms(rounds, "task_s", 50), _ms(rounds, "task_s", 99),
            spread(listener).text(0, 1e6), spread(worker).text(0, 1e6),
        ))  # fmt: skip
    header = ("messages/s", "AA p50 ms", "p99 ms", "task p50 ms", "p99 ms", "listener µs", "worker µs")
    return f"""Event to task on the worklist, `afterstay run`, panel of 10,000, 8 connections, {SECONDS} s at each rate.
A third of the messages are discharges with two tasks each; median (min-max) of {ROUNDS} rounds.
Budget: p50 50 ms, p99 250 ms at 500 messages/s. The last columns are processor time a message.

{table(header, rows)}
"""


def _round(home: Path, template: Path, rate: int) -> dict[str, Any]:
    with processes.afterstay_run(home, template) as server:
        _load(server, home, rate, first=0, people=WARM_UP_PEOPLE)
        return _load(server, home, rate, first=WARM_UP_PEOPLE, people=rate * SECONDS // 3)


def _load(server: processes.Server, home: Path, rate: int, *, first: int, people: int) -> dict[str, Any]:
    said = processes.run_load([
        "tests.benchmarks.paced_load", f"--port={server.port}", f"--data={home / 'data'}", f"--rate={rate}",
        f"--first={first}", f"--people={people}", *(f"--pid={one.pid}" for one in server.processes.values()),
    ])  # fmt: skip
    assert said["broken"] is None, said["broken"]
    assert len(said["answered_s"]) == said["sent"], "every message is answered"
    assert not said["missing"], f"{said['missing']} discharges have no task"
    return said


def _ms(rounds: list[dict[str, Any]], of: str, percent: int) -> str:
    figures: Spread = spread(percentile(one[of], percent) for one in rounds)
    return figures.text(1, 1e3)
