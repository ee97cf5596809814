"""`afterstay ingest`."""

from functools import partial
from typing import Final

from services.commands.arguments import Arguments
from services.commands.connections import kafka_of, ops_of
from services.ingest.bootstrap import ListenerSettings
from services.ingest.door import DoorSettings
from services.ingest.mllp.limits import ServerLimits
from services.ingest.process import IngestSettings, serve_ingest
from services.runtime.process import fast_loop, run_process

MEGABYTE: Final = 1_048_576


def ingest(arguments: Arguments) -> int:
    """Serve until told to stop."""
    settings = IngestSettings(
        listener=ListenerSettings(feeds_file=arguments.feeds, door=door_of(arguments)),
        kafka=kafka_of(arguments),
        spool=arguments.spool,
        spool_bytes_max=arguments.spool_max * MEGABYTE,
    )
    return run_process("ingest", ops_of(arguments), partial(serve_ingest, settings), loop_factory=fast_loop())


def door_of(arguments: Arguments) -> DoorSettings:
    """Return what the listener's door is told."""
    return DoorSettings(
        host=arguments.mllp_host,
        port=arguments.mllp_port,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        tls_client_ca=arguments.tls_client_ca,
        tls_any_client=arguments.tls_any_client,
        plaintext_beyond_loopback=arguments.plaintext_beyond_loopback,
        allow_from=tuple(arguments.allow_from),
        messages_per_peer_s=arguments.messages_per_peer,
        limits=ServerLimits(
            connections_max=arguments.connections_max,
            connections_per_peer_max=arguments.connections_per_peer,
            frame_bytes_max=arguments.frame_bytes_max,
            frame_timeout_s=arguments.frame_timeout,
            idle_timeout_s=arguments.idle_timeout,
        ),
    )
