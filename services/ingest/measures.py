"""The listener's counts as metrics: read where they are kept, when somebody looks."""

from services.ingest.mllp.observation import ServerStats
from services.ingest.pipeline import PipelineStats
from services.runtime import metrics as declared
from services.runtime.metrics import Metrics


def provide_listener_metrics(metrics: Metrics, server: ServerStats, pipeline: PipelineStats) -> None:
    """Let the counts of a server and its pipeline be read."""
    metrics.provide_value(declared.CONNECTIONS_OPEN, lambda: server.connections_open)
    metrics.provide_value(declared.CONNECTIONS, lambda: server.connections_accepted)
    metrics.provide_counts(declared.CONNECTIONS_REFUSED, server.connections_refused)
    metrics.provide_counts(declared.CONNECTIONS_CLOSED, server.connections_closed)
    metrics.provide_value(declared.FRAMES, lambda: server.frames)
    metrics.provide_value(declared.FRAME_BYTES, lambda: server.frame_bytes)
    metrics.provide_counts(declared.FRAME_FAULTS, server.faults)
    metrics.provide_counts(declared.MESSAGES, pipeline.outcomes)
    metrics.provide_counts(declared.ACKS, pipeline.codes)
    metrics.provide_value(declared.MESSAGES_UNANSWERED, lambda: pipeline.given_up)
    metrics.provide_durations(declared.ACK_SECONDS, pipeline.durations)
    metrics.provide(
        declared.LAST_MESSAGE,
        lambda: [((feed,), moment.timestamp()) for feed, moment in list(pipeline.last_of_feed.items())],
    )
