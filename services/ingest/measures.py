"""The listener's counts as metrics: read where they are kept, when somebody looks."""

from services.ingest.mllp.observation import ServerStats
from services.ingest.mllp_door import MllpDoor
from services.ingest.pipeline import PipelineStats
from services.ingest.senders import Senders
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


def provide_door_metrics(metrics: Metrics, door: MllpDoor, senders: Senders) -> None:
    """Let what a door counts and warns of be read, and who was refused as whom."""
    server = door.stats
    metrics.provide_value(declared.HANDSHAKES_OPEN, lambda: server.handshakes_open)
    metrics.provide_counts(declared.HANDSHAKES, server.handshakes)
    metrics.provide_counts(declared.HANDSHAKES_FAILED, server.handshakes_failed)
    metrics.provide_value(declared.THROTTLED, lambda: server.throttled)
    metrics.provide_counts(declared.SENDERS_REFUSED, senders.refused)
    metrics.provide_counts(declared.CLIENT_CERTIFICATE_EXPIRY, senders.expiries)
    metrics.provide(declared.LISTENER_WARNINGS, lambda: [((one.code,), 1.0) for one in door.warnings()])
    metrics.provide_value(declared.CERTIFICATE_RELOADS, lambda: door.certificate_reloads)
    metrics.provide(
        declared.CERTIFICATE_EXPIRY,
        lambda: [] if door.certificate_expires_at is None else [((), door.certificate_expires_at)],
    )
