"""From MLLP to a durable AA, beside python-hl7's own server, which parses and answers and stores nothing.

Three servers take turns over several rounds under the same load, each in a process of its own and alone on the
machine: `afterstay run` with its worker consuming at the same time, the listener without a worker, python-hl7.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.topics import ADT_EVENTS
from services.runtime.eventlog.embedded.reader import LogReader
from tests.benchmarks import processes
from tests.benchmarks.figures import Spread, ratio, spread, table

ROUNDS: Final = 3
CONNECTIONS: Final = (1, 8, 64)
WARM_UP_S: Final = 0.4
WINDOW_S: Final = 1.5

RUN, ALONE, PEER = "afterstay run", "its listener alone", "python-hl7, stores nothing"
Open = Callable[[Path], AbstractContextManager[processes.Server]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one load saw. Processor time is of the listening process, in seconds a message."""

    rate: float
    p50_s: float
    p99_s: float
    cpu_s: float
    load_share: float


def measure(folder: Path, template: Path) -> str:
    """Run all rounds and return the report."""
    servers: dict[str, Open] = {
        RUN: lambda place: processes.afterstay_run(place, template),
        ALONE: lambda place: processes.listener_alone(place, template),
        PEER: processes.python_hl7,
    }
    found: dict[tuple[str, int], list[Measured]] = {(name, n): [] for n in CONNECTIONS for name in servers}
    for round_number in range(ROUNDS):
        for place, (name, open_server) in enumerate(servers.items()):
            home = folder / f"{round_number}-{place}"
            for connections, measured in _load_server(open_server, home):
                found[name, connections].append(measured)
    return _report(found)


def _load_server(open_server: Open, home: Path) -> list[tuple[int, Measured]]:
    measured, sent = [], 0
    with open_server(home) as server:
        for connections in CONNECTIONS:
            said = _load(server, connections)
            measured.append((connections, _read(said)))
            sent += said["sent"]
    if (home / "data").exists():
        _check_durable(home / "data", sent)
    return measured


def _load(server: processes.Server, connections: int) -> dict[str, Any]:
    listener = server.processes["listener"].pid
    said = processes.run_load([
        "tests.benchmarks.closed_load", f"--port={server.port}", f"--connections={connections}", f"--pid={listener}",
        f"--seconds={WINDOW_S}", f"--warm-up-s={WARM_UP_S}", f"--prefix=C{connections:02d}",
    ])  # fmt: skip
    assert said["broken"] is None, said["broken"]
    return said


def _check_durable(data: Path, sent: int) -> None:
    """Refuse a measurement unless the log holds exactly the messages that were answered AA."""
    reader = LogReader(data)
    try:
        stored = sum(reader.end_offsets(ADT_EVENTS).values())
    finally:
        reader.close()
    assert stored == sent, f"{sent} messages were answered, {stored} are in the log"


def _read(said: dict[str, Any]) -> Measured:
    count = said["answered"]
    return Measured(
        rate=count / said["window_s"],
        p50_s=said["p50_s"],
        p99_s=said["p99_s"],
        cpu_s=said["cpu_s"][0] / count,
        load_share=said["load_cpu_s"] / said["window_s"],
    )


def _report(found: dict[tuple[str, int], list[Measured]]) -> str:
    rows = []
    for (name, connections), rounds in found.items():
        peer = found[PEER, connections]
        rate, cpu = _rate(rounds), _cpu(rounds)
        rows.append((
            f"{connections}: {name}",
            rate.text(),
            ratio(rate, _rate(peer)),
            spread(one.p50_s for one in rounds).text(2, 1e3),
            spread(one.p99_s for one in rounds).text(1, 1e3),
            cpu.text(0, 1e6),
            ratio(_cpu(peer), cpu),
            f"{spread(one.load_share for one in rounds).median:.0%}",
        ))  # fmt: skip
    header = (
        "connections: server", "messages/s", "rate", "p50 ms", "p99 ms", "CPU µs/message", "less CPU", "load's CPU",
    )  # fmt: skip
    return f"""MLLP to durable AA: one message in flight a connection, 5,000 patients, 1.4 KB each; median (min-max) of
{ROUNDS} rounds of {WINDOW_S:g} s. "rate" and "less CPU" compare with python-hl7 at as many connections. CPU is the
listening process's, user and system. The last column says how busy the load generator was (100% would be its limit).

{table(header, rows)}
"""


def _rate(rounds: list[Measured]) -> Spread:
    return spread(one.rate for one in rounds)


def _cpu(rounds: list[Measured]) -> Spread:
    return spread(one.cpu_s for one in rounds)
