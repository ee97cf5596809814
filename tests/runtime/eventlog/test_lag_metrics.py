"""The lag as Prometheus sees it: each figure under its name, and none at all after a look that failed."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from services.runtime.eventlog.lag import STATUSES, PartitionLag
from services.runtime.eventlog.lag_metrics import provide_lag_metrics
from services.runtime.metrics import Metrics

ROW = PartitionLag(
    group="followup",
    topic="adt.events.v1",
    partition=3,
    current_offset=5,
    log_end_offset=9,
    lag=4,
    oldest_age_seconds=12.5,
    status="STALLED",
    catch_up_seconds=None,
    retention_used=0.25,
    client_id="worker",
    host="127.0.0.1",
    log_start_offset=0,
    data_lost_records=0,
    data_loss_in_seconds=9.0,
    clock_skew_seconds=0.0,
)
PLACE = {"group": "followup", "topic": "adt.events.v1", "partition": "3"}


def scrape(*rows: PartitionLag) -> dict[str, list[tuple[dict[str, str], float]]]:
    metrics = Metrics()
    provide_lag_metrics(metrics, lambda: rows)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def test_each_figure_stands_under_its_name_with_the_place_it_is_of() -> None:
    found = scrape(ROW)
    assert found["afterstay_oldest_unprocessed_age_seconds"] == [(PLACE, 12.5)]
    assert found["afterstay_consumer_lag"] == [(PLACE, 4.0)]
    assert found["afterstay_data_lost_records"] == [(PLACE, 0.0)]
    assert found["afterstay_retention_used_ratio"] == [(PLACE, 0.25)]
    assert found["afterstay_clock_skew_seconds"] == [(PLACE, 0.0)]
    assert "afterstay_catch_up_seconds" not in found
    assert found["afterstay_lag_observer_up"] == [({}, 1.0)]


def test_dashboards_that_exist_find_the_name_of_kafka_exporter() -> None:
    labels = {"consumergroup": "followup", "topic": "adt.events.v1", "partition": "3"}
    assert scrape(ROW)["kafka_consumergroup_lag"] == [(labels, 4.0)]


def test_one_word_is_1_and_all_others_are_0() -> None:
    words = {labels["status"]: value for labels, value in scrape(ROW)["afterstay_consumer_status"]}
    assert words == {word: float(word == "STALLED") for word in STATUSES}


def test_an_age_that_cannot_be_known_is_absent_and_not_zero() -> None:
    found = scrape(replace(ROW, oldest_age_seconds=None))
    assert "afterstay_oldest_unprocessed_age_seconds" not in found
    assert found["afterstay_consumer_lag"] == [(PLACE, 4.0)]


def test_after_a_look_that_failed_there_are_no_figures_and_that_is_said() -> None:
    assert scrape() == {"afterstay_lag_observer_up": [({}, 0.0)]}
