"""From a discharge message to its task on the worklist, through Kafka and PostgreSQL, at two rates.

`afterstay ingest` and one `afterstay followup`, on one broker and one server, with the load of `worklist`: everybody
sent of is on the panel of 10,000, and a third of the messages are discharges that make two tasks each. The delay counts
from the moment the message was due to be sent until PostgreSQL told of the commit of its task.
"""

from pathlib import Path
from typing import Any, Final

from tests.benchmarks import processes
from tests.benchmarks.figures import percentile, spread, table
from tests.benchmarks.paced_load import TASK_CHANNEL
from tests.support.kafka import Brokers
from tests.support.postgres import PostgresServer

RATES: Final = (200, 500)
SECONDS: Final = 10
ROUNDS: Final = 3
WARM_UP_PEOPLE: Final = 300

_TELL: Final = f"""
CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('{TASK_CHANNEL}', NEW.patient_id); RETURN NULL; END $$;
CREATE TRIGGER bench_tell AFTER INSERT ON task FOR EACH ROW WHEN (NEW.kind = 'contact') EXECUTE FUNCTION bench_tell();
"""


def measure(folder: Path, template: Path) -> str:
    """Run all rounds and return the report."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[int, list[dict[str, Any]]] = {rate: [] for rate in RATES}
    with Brokers(folder / "broker") as broker, PostgresServer() as server:
        processes.make_topics(broker.bootstrap)
        database = server.create("bench")
        processes.make_database(database, template)
        server.execute_in("bench", _TELL)
        with (
            processes.afterstay_ingest(folder / "ingest", template, broker.bootstrap) as listener,
            processes.afterstay_followup(folder, broker.bootstrap, database) as worker,
        ):
            pids = [listener.processes["listener"].pid, worker.pid]
            first = 0
            _load(listener.port, database, RATES[0], pids, first=first, people=WARM_UP_PEOPLE)
            first += WARM_UP_PEOPLE
            for _ in range(ROUNDS):
                for rate, rounds in found.items():
                    people = rate * SECONDS // 3
                    rounds.append(_load(listener.port, database, rate, pids, first=first, people=people))
                    first += people
    return _report(found)


def _load(port: int, database: str, rate: int, pids: list[int], *, first: int, people: int) -> dict[str, Any]:
    said = processes.run_load([
        "tests.benchmarks.paced_load", f"--port={port}", f"--database={database}", f"--rate={rate}",
        f"--first={first}", f"--people={people}", *(f"--pid={pid}" for pid in pids),
    ])  # fmt: skip
    assert said["broken"] is None, said["broken"]
    assert len(said["answered_s"]) == said["sent"], "every message is answered"
    assert not said["missing"], f"{said['missing']} discharges have no task"
    return said


def _report(found: dict[int, list[dict[str, Any]]]) -> str:
    rows = []
    for rate, rounds in found.items():
        listener, worker = ([one["cpu_s"][place] / one["sent"] for one in rounds] for place in range(2))
        rows.append((
            f"{rate}",
            _ms(rounds, "answered_s", 50), _ms(rounds, "answered_s", 99),
            _ms(rounds, "task_s", 50), _ms(rounds, "task_s", 99),
            spread(listener).text(0, 1e6), spread(worker).text(0, 1e6),
        ))  # fmt: skip
    header = ("messages/s", "AA p50 ms", "p99 ms", "task p50 ms", "p99 ms", "ingest µs", "followup µs")
    return f"""Event to task through Kafka (one broker that syncs each write) and PostgreSQL, one `ingest` and one
`followup`, panel of 10,000, 8 connections, {SECONDS} s at each rate. A third of the messages are discharges with two
tasks each; median (min-max) of {ROUNDS} rounds. Budget: p99 250 ms at 500 messages/s. The last columns are processor
time a message; broker, database and load share the two cores with them.

{table(header, rows)}
"""


def _ms(rounds: list[dict[str, Any]], of: str, percent: int) -> str:
    return spread(percentile(one[of], percent) for one in rounds).text(1, 1e3)
