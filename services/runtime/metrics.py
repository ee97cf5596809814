"""Every metric of Afterstay, declared once, and the registry that a process serves at `/metrics`.

Promises: a name means one thing in every process; units are base units and stand last in the name; labels are closed
sets (feed, topic, partition, reason …), never a person, a record number, a control id or free text, so that no patient
reaches a dashboard. Counts and gauges are read from the parts that keep them when somebody looks, so that they cost a
message nothing; only durations are recorded as they happen. The table in docs/reference/metrics.md is made from here.

Source: product.md §2.1 and §2.2; house style 33; the Prometheus exposition format by prometheus-client.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from services.runtime.errors import AfterstayError
from services.runtime.log import get_logger

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]
"""Label values, in the order of the metric's label names, and the value."""

SECONDS_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SECONDS_OF_SOURCES: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0)
SECONDS_LONG: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: its name without `afterstay_` where `prefix` adds it, and what a number of it says."""

    name: str
    kind: Kind
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        assert (self.kind == "histogram") == bool(self.buckets), "a histogram has buckets and nothing else has"
        assert (self.kind == "counter") == self.name.endswith("_total"), "a counter's name ends in _total"


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"afterstay_{name}_total", kind="counter", help=text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"afterstay_{name}", kind="gauge", help=text, labels=labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name=f"afterstay_{name}", kind="histogram", help=text, labels=labels, buckets=buckets)


_PLACE: Final = ("group", "topic", "partition")

# --- every process ---------------------------------------------------------------------------------------------------

BUILD_INFO: Final = _gauge("build_info", "Always 1; the release that runs.", "version", "process")

# --- intake ----------------------------------------------------------------------------------------------------------

CONNECTIONS_OPEN: Final = _gauge("ingest_connections_open", "Connections that are open.")
CONNECTIONS: Final = _counter("ingest_connections", "Connections that were let in.")
CONNECTIONS_REFUSED: Final = _counter("ingest_connections_refused", "Connections turned away at the door.", "reason")
CONNECTIONS_CLOSED: Final = _counter("ingest_connections_closed", "Connections that ended.", "reason")
FRAMES: Final = _counter("ingest_frames", "Frames read.")
FRAME_BYTES: Final = _counter("ingest_frame_bytes", "Bytes of the frames read.")
FRAME_FAULTS: Final = _counter("ingest_frame_faults", "Frames that are no whole message.", "kind")
MESSAGES: Final = _counter("ingest_messages", "Messages made durable, by what intake decided.", "outcome")
ACKS: Final = _counter("ingest_acks", "Answers given, by acknowledgement code (table 0008).", "code")
MESSAGES_UNANSWERED: Final = _counter("ingest_messages_unanswered", "Messages that could not be stored in time.")
ACK_SECONDS: Final = _histogram(
    "ingest_ack_seconds", "From the last byte of a message until it is durable.", SECONDS_SHORT
)
LAST_MESSAGE: Final = _gauge(
    "ingest_last_message_timestamp_seconds", "When a feed's last message was received.", "feed"
)

HANDSHAKES_OPEN: Final = _gauge("tls_handshakes_open", "Connections whose TLS handshake is under way.")
HANDSHAKES: Final = _counter("tls_handshakes", "TLS handshakes completed.", "version")
HANDSHAKES_FAILED: Final = _counter("tls_handshakes_failed", "Connections that did not become TLS ones.", "reason")
CERTIFICATE_EXPIRY: Final = _gauge(
    "tls_certificate_expiry_timestamp_seconds", "Until when the listener's own certificate is valid."
)
CERTIFICATE_RELOADS: Final = _counter("tls_certificate_reloads", "How often new certificates were taken up.")
CLIENT_CERTIFICATE_EXPIRY: Final = _gauge(
    "tls_client_certificate_expiry_timestamp_seconds",
    "Until when the certificate is valid that was last seen of a feed.",
    "feed",
)
SENDERS_REFUSED: Final = _counter(
    "ingest_senders_refused", "Messages refused for the certificate of who sent them, by the feed they named.", "feed"
)
THROTTLED: Final = _counter("ingest_throttled", "How often a connection was not read for its peer's rate.")
LISTENER_WARNINGS: Final = _gauge(
    "ingest_listener_warnings", "1 for what should be changed about the listener.", "code"
)

# --- the spool in front of Kafka -------------------------------------------------------------------------------------

SPOOL_MESSAGES: Final = _gauge("spool_messages", "Messages acknowledged and not in Kafka yet.")
SPOOL_BYTES: Final = _gauge("spool_bytes", "Bytes that the spool holds of them.")
SPOOL_OLDEST_AGE: Final = _gauge("spool_oldest_age_seconds", "How long ago the oldest of them was received.")
SPOOL_STATE: Final = _gauge("spool_state", "1 for the state that the spool is in.", "state")
SPOOL_DRAINED: Final = _counter("spool_drained", "Messages that left the spool for Kafka.")
SPOOL_QUARANTINED: Final = _counter("spool_quarantined", "Damaged spool records that were kept aside.")

# --- follow-up: the consumer -----------------------------------------------------------------------------------------

EVENT_TO_TASK_SECONDS: Final = _histogram(
    "event_to_task_seconds", "From the receipt of a message until its effect is committed.", SECONDS_LONG, "feed"
)
SOURCE_DELAY_SECONDS: Final = _histogram(
    "source_delay_seconds", "From the time that a hospital states until receipt.", _SECONDS_OF_SOURCES, "feed"
)
SOURCE_CLOCK_SKEW: Final = _counter(
    "source_clock_skew", "Events whose stated time lies ahead of their receipt; not in the delays.", "feed"
)
CONSUMER_PROCESSED: Final = _counter(
    "consumer_processed", "Records committed, by the outcome each had then.", "outcome"
)
CONSUMER_RETRIES: Final = _counter("consumer_retries", "Attempts that have to be made again, by why.", "code")
CONSUMER_REBALANCES: Final = _counter("consumer_rebalances", "Times that this worker was given its partitions.")
CONSUMER_PARTITIONS: Final = _gauge("consumer_partitions", "Partitions that this worker has now.")
CONSUMER_CAUGHT_UP: Final = _counter(
    "consumer_records_caught_up", "Records that the group had passed over and were read from the log."
)
CONSUMER_LOST: Final = _counter(
    "consumer_records_lost", "Records that retention took before anybody applied them: an alarm."
)
CONSUMER_IDLE_SECONDS: Final = _gauge("consumer_idle_seconds", "How long ago a batch was last committed.")

# --- lag, seen from outside the consumer -----------------------------------------------------------------------------

OLDEST_UNPROCESSED_AGE: Final = _gauge(
    "oldest_unprocessed_age_seconds", "How long the oldest message that is not consumed has been waiting.", *_PLACE
)
CONSUMER_LAG: Final = _gauge("consumer_lag", "Records that are not consumed, of those that can still be read.", *_PLACE)
CONSUMER_STATUS: Final = _gauge(
    "consumer_status", "1 for the word that fits (docs/reference/lag.md).", *_PLACE, "status"
)
DATA_LOST_RECORDS: Final = _gauge(
    "data_lost_records", "Offsets that retention deleted before the group read them: an alarm above 0.", *_PLACE
)
RETENTION_USED: Final = _gauge(
    "retention_used_ratio", "Age of the oldest unread record by the topic's retention; at 1 it is deleted.", *_PLACE
)
CATCH_UP_SECONDS: Final = _gauge(
    "catch_up_seconds", "Until nothing waits, at the present rates; absent while the lag does not fall.", *_PLACE
)
LAG_CLOCK_SKEW: Final = _gauge(
    "clock_skew_seconds", "How far the oldest unread record's time lies ahead of the observer's clock.", *_PLACE
)
LAG_OBSERVER_UP: Final = _gauge("lag_observer_up", "1 if the last look was taken; at 0 the figures are absent.")
KAFKA_CONSUMERGROUP_LAG: Final = Metric(
    name="kafka_consumergroup_lag", kind="gauge", labels=("consumergroup", "topic", "partition"),
    help="As kafka_exporter serves it, for dashboards that exist.",
)  # fmt: skip

# --- the canary ------------------------------------------------------------------------------------------------------

CANARY_SENT: Final = _counter("canary_sent", "Canaries that this process sent.")
CANARY_LOST: Final = _counter("canary_lost", "Canaries not consumed within a minute, by why.", "reason")
CANARY_ROUNDTRIP: Final = _histogram(
    "canary_roundtrip_seconds", "From sending a canary to finding it consumed in the database.", SECONDS_LONG
)

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


class Durations:
    """Counts durations by size, for a histogram on a path where each microsecond counts (a third of one)."""

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: tuple[float, ...] = SECONDS_SHORT) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds


class Metrics:
    """The registry of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._provided = _Provided()
        self._registry.register(self._provided)

    def provide(self, metric: Metric, read: Callable[[], Samples]) -> None:
        """Let a counter or gauge be read by `read` whenever somebody looks; several readers of one metric add up."""
        assert metric.kind != "histogram", "a histogram is recorded as it happens: use histogram()"
        self._provided.add(metric, read)

    def provide_value(self, metric: Metric, read: Callable[[], float]) -> None:
        """Let a metric without labels be read."""
        self.provide(metric, lambda: (((), read()),))

    def provide_counts(self, metric: Metric, counts: Mapping[Any, float]) -> None:
        """Let a metric with one label be read from a mapping, such as a `Counter` that goes on counting."""
        self.provide(metric, lambda: [((str(key),), value) for key, value in list(counts.items())])

    def provide_durations(self, metric: Metric, durations: Durations) -> None:
        """Let a histogram without labels be read from durations that go on being counted."""
        assert metric.buckets == durations.bounds, "the buckets are those that were counted by"
        self._provided.durations.append((metric, durations))

    def histogram(self, metric: Metric) -> Histogram:
        """Return a histogram to record into."""
        return Histogram(
            metric.name, metric.help, labelnames=metric.labels, registry=self._registry, buckets=metric.buckets
        )

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Provided(Collector):
    """Reads what was provided, each time somebody looks."""

    def __init__(self) -> None:
        self.durations: list[tuple[Metric, Durations]] = []
        self._readers: dict[Metric, list[Callable[[], Samples]]] = {}

    def add(self, metric: Metric, read: Callable[[], Samples]) -> None:
        self._readers.setdefault(metric, []).append(read)

    def describe(self) -> Iterable[Any]:
        return ()  # so that registering reads nothing

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        for metric, durations in self.durations:
            cumulative = list(accumulate(list(durations.counts)))
            bounds = [*map(str, durations.bounds), "+Inf"]
            buckets = list(zip(bounds, cumulative, strict=True))
            yield HistogramMetricFamily(metric.name, metric.help, buckets=buckets, sum_value=durations.total_s)
        for metric, readers in self._readers.items():
            family_type = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = family_type(metric.name, metric.help, labels=metric.labels)
            for labels, value in _read(metric, readers):
                family.add_metric(labels, value)
            yield family


def _read(metric: Metric, readers: Iterable[Callable[[], Samples]]) -> Iterator[tuple[Labels, float]]:
    found: dict[Labels, float] = {}
    for read in readers:
        try:
            for labels, value in read():
                found[labels] = found.get(labels, 0.0) + value
        except AfterstayError as error:  # one part that is away must not blind the others; its metric is absent
            _log.warning("metric_unread", kind=metric.name, code=error.code)
    yield from found.items()
