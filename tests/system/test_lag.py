"""The lag and the canary through production's own processes: well, a worker killed, and well again.

Method: the times of the answers are the truth; the verb and the scheduler's metrics are held against it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.commands.lag_report import EXIT_CODES
from tests.support.kafka import Brokers
from tests.system.people import FEED, people
from tests.system.production import PARTITIONS, Child, Production, fresh_log
from tests.system.service import PATIENCE_S, afterstay, until

pytestmark = pytest.mark.system

WITHIN_S = 2.0
PEOPLE = people(3)


def lag(production: Production) -> tuple[int, Any]:
    """Return the exit code and the answer of the verb."""
    said = afterstay("lag", *production.kafka, "--ops", production.listener.ops, "--json")
    return said.code, said.json


def figures(child: Child, name: str) -> dict[tuple[str, ...], float]:
    """Return a metric's samples by their label values, in the order of the labels' names."""
    families = text_string_to_metric_families(child.get("/metrics").text)
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(value for _, value in sorted(one.labels.items())): one.value for one in found}


def oldest(child: Child) -> float:
    return max(figures(child, "afterstay_oldest_unprocessed_age_seconds").values(), default=-1.0)


def truth(condition: Callable[[], bool]) -> Callable[[], bool | None]:
    return lambda: condition() or None


def test_the_lag_is_true_and_a_canary_flies_while_a_worker_runs_is_killed_and_runs_again(
    kafka: Brokers, postgres_url: str, tmp_path: Path
) -> None:
    fresh_log(kafka.bootstrap)
    with Production(tmp_path, bootstrap=kafka.bootstrap, database=postgres_url, feeds=FEED, workers=1) as production:
        host, port = production.mllp
        watcher = Child(
            tmp_path,
            "watcher",
            ["scheduler", *production.database, *production.kafka, "--canary-to", f"{host}:{port}"],
        ).start()
        try:
            _watch(production, watcher)
        finally:
            watcher.close()
        assert watcher.complaints() == []


def _watch(production: Production, watcher: Child) -> None:
    # Well: everything consumed, a canary too.
    production.send(PEOPLE[0].admitted(control_id="L1"))
    until(truth(lambda: figures(watcher, "afterstay_canary_roundtrip_seconds_count").get((), 0) >= 1), PATIENCE_S)
    assert production.settle().outcomes.no_effect["canary"] >= 1
    code, well = lag(production)
    assert (code, well["state"]) == (0, "OK"), well
    assert len(well["partitions"]) == PARTITIONS
    assert {row["oldest_age_seconds"] for row in well["partitions"]} == {0.0}
    assert {row["client_id"] for row in well["partitions"]} == {"afterstay-followup"}
    until(truth(lambda: oldest(watcher) == 0.0), PATIENCE_S)

    # Killed: what comes now waits, by the second.
    (worker,) = production.workers
    worker.kill()
    production.send(PEOPLE[1].admitted(control_id="L2"))
    answered_s = time.monotonic()
    until(truth(lambda: lag(production)[1]["summary"].startswith("STOPPED")), PATIENCE_S)
    code, dead = lag(production)
    waiting = max(dead["partitions"], key=lambda row: row["oldest_age_seconds"])
    assert code == EXIT_CODES["CRITICAL"]
    assert waiting["status"] == "STOPPED"
    assert waiting["oldest_age_seconds"] == pytest.approx(time.monotonic() - answered_s, abs=WITHIN_S)
    until(truth(lambda: oldest(watcher) > 1.0), PATIENCE_S)
    assert oldest(watcher) == pytest.approx(time.monotonic() - answered_s, abs=WITHIN_S + 1.0)  # a look every 2 s
    words = figures(watcher, "afterstay_consumer_status")
    assert any(value for labels, value in words.items() if "STOPPED" in labels)

    # And again: exactly zero.
    worker.start()
    until(truth(lambda: lag(production)[1]["state"] == "OK"), PATIENCE_S)
    _, again = lag(production)
    assert {row["oldest_age_seconds"] for row in again["partitions"]} == {0.0}
    assert sum(figures(watcher, "kafka_consumergroup_lag").values()) == 0
    assert figures(watcher, "afterstay_lag_observer_up") == {(): 1.0}
