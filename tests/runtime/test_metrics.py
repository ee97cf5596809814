"""The registry of a process: what is provided is read when somebody looks, and nothing else is said."""

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.runtime import metrics as declared
from services.runtime.errors import Transient
from services.runtime.metrics import ALL, Metric, Metrics

DEPTH = Metric(name="afterstay_test_depth", kind="gauge", help="A depth.")
SEEN = Metric(name="afterstay_test_seen_total", kind="counter", help="A count.", labels=("reason",))
TOOK = Metric(name="afterstay_test_seconds", kind="histogram", help="A time.", buckets=(0.1, 1.0))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in families
        for one in family.samples
        if not one.name.endswith("_created")
    }


def test_a_provided_value_is_read_each_time() -> None:
    metrics, depth = Metrics(), [3]
    metrics.provide_value(DEPTH, lambda: depth[0])
    assert samples(metrics) == {("afterstay_test_depth", ()): 3}
    depth[0] = 5
    assert samples(metrics) == {("afterstay_test_depth", ()): 5}


def test_counts_of_several_parts_add_up() -> None:
    metrics = Metrics()
    metrics.provide_counts(SEEN, Counter(late=2, lost=1))
    metrics.provide_counts(SEEN, Counter(late=5))
    assert samples(metrics) == {
        ("afterstay_test_seen_total", ("late",)): 7,
        ("afterstay_test_seen_total", ("lost",)): 1,
    }


def test_a_histogram_records_as_it_happens() -> None:
    metrics = Metrics()
    metrics.histogram(TOOK).observe(0.5)
    found = samples(metrics)
    assert found["afterstay_test_seconds_bucket", ("0.1",)] == 0
    assert found["afterstay_test_seconds_bucket", ("1.0",)] == 1
    assert found["afterstay_test_seconds_sum", ()] == 0.5


def test_a_part_that_is_away_does_not_blind_the_others() -> None:
    metrics = Metrics()

    def away() -> float:
        raise Transient("database-unavailable", "it is away")

    metrics.provide_value(DEPTH, away)
    metrics.provide_counts(SEEN, {"late": 1})
    assert samples(metrics) == {("afterstay_test_seen_total", ("late",)): 1}


def test_every_metric_is_declared_once_under_our_name_with_units_last() -> None:
    names = [one.name for one in ALL]
    assert len(names) == len(set(names)) > 10
    assert all(name.startswith(("afterstay_", "kafka_consumergroup_")) for name in names)
    assert {value for value in vars(declared).values() if isinstance(value, Metric)} == set(ALL)


@pytest.mark.parametrize("metric", ALL, ids=lambda one: one.name)
def test_labels_are_of_closed_sets(metric: Metric) -> None:
    closed = {
        "version", "process", "reason", "kind", "outcome", "code", "feed", "state", "facility", "group", "topic",
        "partition", "trigger", "status", "consumergroup", "mode",
    }  # fmt: skip
    assert set(metric.labels) <= closed
