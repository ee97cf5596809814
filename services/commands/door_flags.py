"""Flags of the listener's door: where it listens, TLS, whom it lets in and how much of each."""

from pathlib import Path
from typing import Final

from services.commands.argument_types import port, positive, rate_or_none, seconds
from services.commands.flags import LOOPBACK, MLLP_PORT
from services.commands.parser import Parser

# As ingest.mllp.limits, ServerLimits, and ingest.door (a test holds them equal): this module loads neither.
CONNECTIONS_MAX: Final = 256
CONNECTIONS_PER_PEER_MAX: Final = 64
FRAME_BYTES_MAX: Final = 1_048_576
FRAME_TIMEOUT_S: Final = 30.0
IDLE_TIMEOUT_S: Final = 3_600.0
PEER_MESSAGES_PER_S: Final = 1_000


def add_door(verb: Parser) -> None:
    """Add everything that a listener's door is told."""
    verb.add_setting(
        "--mllp-host", metavar="HOST", default=LOOPBACK, help=f"address or name to listen on (default: {LOOPBACK})"
    )
    verb.add_setting(
        "--mllp-port", metavar="N", read=port, default=MLLP_PORT,
        help=f"MLLP port; 0 for any free one (default: {MLLP_PORT})",
    )  # fmt: skip
    _add_tls(verb)
    verb.add_setting(
        "--allow-from", metavar="NET", several=True, default=(), help="only these addresses and networks may connect"
    )
    _add_limits(verb)


def _add_tls(verb: Parser) -> None:
    verb.add_setting("--tls-cert", metavar="FILE", read=Path, help="PEM of our certificate with its chain: speak TLS")
    verb.add_setting("--tls-key", metavar="FILE", read=Path, help="PEM of its key")
    verb.add_setting(
        "--tls-client-ca", metavar="FILE", read=Path, help="PEM of the authorities whose certificates senders must show"
    )
    verb.add_setting(
        "--tls-any-client", read=None, help="beyond this machine: senders need no certificate (a standing warning)"
    )
    verb.add_setting(
        "--plaintext-beyond-loopback", read=None, help="beyond this machine: senders need no TLS (a standing warning)"
    )


def _add_limits(verb: Parser) -> None:
    verb.add_setting(
        "--connections-max", metavar="N", read=positive, default=CONNECTIONS_MAX,
        help=f"connections at once (default: {CONNECTIONS_MAX})",
    )  # fmt: skip
    verb.add_setting(
        "--connections-per-peer", metavar="N", read=positive, default=CONNECTIONS_PER_PEER_MAX,
        help=f"of them from one address (default: {CONNECTIONS_PER_PEER_MAX})",
    )  # fmt: skip
    verb.add_setting(
        "--messages-per-peer", metavar="N", read=rate_or_none,
        help=f"messages a second from one address, 0: no limit (default: 0; beyond this machine {PEER_MESSAGES_PER_S})",
    )  # fmt: skip
    verb.add_setting(
        "--frame-bytes-max", metavar="N", read=positive, default=FRAME_BYTES_MAX,
        help=f"largest message (default: {FRAME_BYTES_MAX})",
    )  # fmt: skip
    verb.add_setting(
        "--frame-timeout", metavar="SECONDS", read=seconds, default=FRAME_TIMEOUT_S,
        help=f"from a message's first byte to its last (default: {FRAME_TIMEOUT_S:g})",
    )  # fmt: skip
    verb.add_setting(
        "--idle-timeout", metavar="SECONDS", read=seconds, default=IDLE_TIMEOUT_S,
        help=f"between messages (default: {IDLE_TIMEOUT_S:g})",
    )  # fmt: skip
