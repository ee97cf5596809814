"""The lag and the canary through production's own processes: well, a worker killed, and well again.

Method: the times of the answers are the truth; the verb and the scheduler's metrics are held against it.
"""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.commands.lag_report import EXIT_CODES
from services.runtime.clock import SystemClock
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


def lag_until(production: Production, expected: Callable[[Any], bool], within_s: float = PATIENCE_S) -> Any:
    """Ask again until the answer is as expected, and return it; each time takes a process."""
    deadline = time.monotonic() + within_s
    while not expected(said := lag(production)[1]):
        assert time.monotonic() < deadline, said
    return said


def waited_s(report: Any, answered: datetime) -> float:
    """Return how long something that was answered then had been waiting when the verb looked."""
    return (datetime.fromisoformat(report["observed_at"]) - answered).total_seconds()


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

    (worker,) = production.workers
    assert figures(worker, "afterstay_source_delay_seconds_count") == {("mercy",): 1.0}

    # Killed: what comes now waits, by the second.
    worker.kill()
    production.send(PEOPLE[1].admitted(control_id="L2"))
    answered = SystemClock().now()
    dead = lag_until(production, lambda said: "STOPPED: nobody" in said["summary"])
    waiting = max(dead["partitions"], key=lambda row: row["oldest_age_seconds"])
    assert (dead["state"], waiting["status"]) == ("CRITICAL", "STOPPED")
    assert waiting["oldest_age_seconds"] == pytest.approx(waited_s(dead, answered), abs=WITHIN_S)
    until(truth(lambda: oldest(watcher) > 1.0), PATIENCE_S)
    scraped = (SystemClock().now() - answered).total_seconds()
    assert oldest(watcher) == pytest.approx(scraped, abs=WITHIN_S + 1.0)  # a look every 2 s
    words = figures(watcher, "afterstay_consumer_status")
    assert any(value for labels, value in words.items() if "STOPPED" in labels)

    # And again: exactly zero.
    worker.start()
    again = lag_until(production, lambda said: said["state"] == "OK", 3 * PATIENCE_S)
    assert {row["oldest_age_seconds"] for row in again["partitions"]} == {0.0}
    # The watcher looks every two seconds, and a canary may just be on its way.
    until(truth(lambda: sum(figures(watcher, "kafka_consumergroup_lag").values()) == 0), PATIENCE_S)
    assert figures(watcher, "afterstay_lag_observer_up") == {(): 1.0}


def test_while_kafka_is_away_the_spool_has_the_age_and_what_cannot_be_seen_is_unknown(
    postgres_url: str, tmp_path: Path
) -> None:
    brokers = Brokers(tmp_path / "kafka").start()
    try:
        fresh_log(brokers.bootstrap)
        with Production(
            tmp_path / "production", bootstrap=brokers.bootstrap, database=postgres_url, feeds=FEED, workers=1
        ) as production:
            _spool(production, brokers)
    finally:
        brokers.stop()


def _spool(production: Production, brokers: Brokers) -> None:
    # A worker that loses Kafka before it has joined its group ends, for its supervisor to start it again.
    lag_until(production, lambda said: all(row["client_id"] for row in said["partitions"]))
    brokers.kill()
    (answer,) = production.send(PEOPLE[0].admitted(control_id="S1"))
    answered = SystemClock().now()
    assert answer.code == "AA"

    code, away = lag(production)
    assert (code, away["state"], away["partitions"]) == (EXIT_CODES["UNKNOWN"], "UNKNOWN", [])
    (spool,) = away["spools"]
    assert spool["messages"] == 1
    assert spool["oldest_age_s"] == pytest.approx(waited_s(away, answered), abs=WITHIN_S)

    brokers.restart()
    production.settle()
    back = lag_until(production, lambda said: said["state"] == "OK", 3 * PATIENCE_S)
    assert [spool["messages"] for spool in back["spools"]] == [0]
    assert {row["oldest_age_seconds"] for row in back["partitions"]} == {0.0}
