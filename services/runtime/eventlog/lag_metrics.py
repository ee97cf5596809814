"""The lag as metrics, read from the observer's latest look when somebody scrapes.

Promise: after a look that failed there are no figures at all, and `afterstay_lag_observer_up` says why a dashboard is
empty; an old figure is never shown as a new one.
"""

from collections.abc import Callable, Sequence

from services.runtime import metrics as declared
from services.runtime.eventlog.lag import STATUSES, PartitionLag
from services.runtime.metrics import Labels, Metric, Metrics

Rows = Callable[[], Sequence[PartitionLag]]


def provide_lag_metrics(metrics: Metrics, rows: Rows) -> None:
    """Let what `rows` returns be read; no rows: the last look failed."""
    for metric, value in _FIGURES.items():
        metrics.provide(metric, _reader(rows, value))
    metrics.provide(
        declared.CONSUMER_STATUS,
        lambda: [((*_place(row), status), float(row.status == status)) for row in rows() for status in STATUSES],
    )
    metrics.provide_value(declared.LAG_OBSERVER_UP, lambda: float(bool(rows())))


def _reader(rows: Rows, value: Callable[[PartitionLag], float | None]) -> Callable[[], list[tuple[Labels, float]]]:
    def read() -> list[tuple[Labels, float]]:
        found = [(_place(row), value(row)) for row in rows()]
        return [(place, number) for place, number in found if number is not None]

    return read


def _place(row: PartitionLag) -> Labels:
    return row.group, row.topic, str(row.partition)


_FIGURES: dict[Metric, Callable[[PartitionLag], float | None]] = {
    declared.OLDEST_UNPROCESSED_AGE: lambda row: row.oldest_age_seconds,
    declared.CONSUMER_LAG: lambda row: row.lag,
    declared.DATA_LOST_RECORDS: lambda row: row.data_lost_records,
    declared.RETENTION_USED: lambda row: row.retention_used,
    declared.CATCH_UP_SECONDS: lambda row: row.catch_up_seconds,
    declared.LAG_CLOCK_SKEW: lambda row: row.clock_skew_seconds,
    declared.KAFKA_CONSUMERGROUP_LAG: lambda row: row.lag,
}
