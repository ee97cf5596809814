"""What the listener tells the outside about itself: reasons, counts and an observer. No metrics or log library here.

Nothing in here carries a byte of any message.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from services.ingest.mllp.frame import Anomaly
from services.ingest.mllp.inbound import PeerIdentity


class RefuseReason(StrEnum):
    """Why a connection was not let in."""

    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    PEER_CONNECTIONS_MAX = "peer-connections-max"
    CONNECTIONS_MAX = "connections-max"
    HANDSHAKES_MAX = "handshakes-max"
    PAUSED = "paused"
    DRAINING = "draining"


class CloseReason(StrEnum):
    """Why a connection ended."""

    PEER_CLOSED = "peer-closed"
    CONNECTION_LOST = "connection-lost"
    DRAINED = "drained"
    UNANSWERED = "unanswered"
    HANDLER_FAILED = "handler-failed"
    FRAME_TOO_LARGE = "frame-too-large"
    JUNK_LIMIT = "junk-limit"
    TALKS_TLS = "talks-tls"
    TALKS_HTTP = "talks-http"
    TALKS_JSON = "talks-json"
    TALKS_XML = "talks-xml"
    NO_START_BLOCK = "no-start-block"
    HEADER_TIMEOUT = "header-timeout"
    FRAME_TIMEOUT = "frame-timeout"
    SILENT_TIMEOUT = "silent-timeout"
    IDLE_TIMEOUT = "idle-timeout"
    WRITE_STALLED = "write-stalled"
    DISPLACED = "displaced"
    HANDSHAKE_FAILED = "handshake-failed"
    TLS_BROKEN = "tls-broken"


class HandshakeFailure(StrEnum):
    """Why a connection did not become a TLS one."""

    PLAINTEXT = "plaintext"
    TIMEOUT = "timeout"
    CUT_OFF = "cut-off"
    VERSION_UNSUPPORTED = "version-unsupported"
    CIPHERS_DIFFER = "ciphers-differ"
    CERTIFICATE_MISSING = "certificate-missing"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_REFUSED = "certificate-refused"
    REFUSED_BY_PEER = "refused-by-peer"
    BROKEN = "broken"


class FramingFault(StrEnum):
    """What went wrong with a frame that is not a whole message."""

    TRUNCATED = "truncated"
    OVERSIZED = "oversized"
    CUT_OFF = "cut-off"


@dataclass(slots=True)
class ServerStats:
    """Counts since the server was made; read them at any time, on the event loop.

    Attributes:
        frames: whole messages handed to the handler.
        answers: answers written.
        answers_mended: answers that held framing bytes and were sent without them.
        answers_undelivered: messages whose connection was gone before their answer.
        faults: frames that were not a whole message.
        anomalies: whole messages with unusual framing, by what was unusual.
        handshakes_open: connections whose TLS handshake is under way; they count as open connections too.
        handshakes: those that were completed, by the version of TLS.
        throttled: how often a connection was not read because its peer was over its rate.
    """

    connections_open: int = 0
    connections_accepted: int = 0
    connections_refused: Counter[RefuseReason] = field(default_factory=Counter)
    connections_closed: Counter[CloseReason] = field(default_factory=Counter)
    frames: int = 0
    frame_bytes: int = 0
    answers: int = 0
    answers_mended: int = 0
    answers_undelivered: int = 0
    junk_bytes: int = 0
    anomalies: Counter[Anomaly] = field(default_factory=Counter)
    faults: Counter[FramingFault] = field(default_factory=Counter)
    handshakes_open: int = 0
    handshakes: Counter[str] = field(default_factory=Counter)
    handshakes_failed: Counter[HandshakeFailure] = field(default_factory=Counter)
    throttled: int = 0


class ServerObserver(Protocol):
    """Hears of the rare things, for a log; called on the event loop, must return at once and not raise."""

    def connection_opened(self, connection_id: int, peer: str) -> None:
        """A connection was let in."""

    def connection_refused(self, peer: str, reason: RefuseReason) -> None:
        """A connection was closed at once."""

    def handshake_done(self, connection_id: int, peer: str, version: str, identity: PeerIdentity | None) -> None:
        """A connection speaks TLS; the identity is that of its certificate, if one was asked for."""

    def handshake_failed(self, connection_id: int, peer: str, failure: HandshakeFailure) -> None:
        """A connection does not speak TLS as it must; it is closed."""

    def connection_closed(self, connection_id: int, peer: str, reason: CloseReason) -> None:
        """A connection ended."""

    def framing_noticed(self, connection_id: int, kind: Anomaly | FramingFault) -> None:
        """A frame was unusual or not a whole message."""

    def junk_dropped(self, connection_id: int, byte_count: int) -> None:
        """Bytes outside frames were dropped."""

    def handler_failed(self, connection_id: int, error: Exception) -> None:
        """The handler raised, which it must not; the message stays unanswered and the connection is closed."""


class SilentObserver:
    """Hears nothing; the counts stay. Derive from it to hear of some things only."""

    def connection_opened(self, connection_id: int, peer: str) -> None:
        """Ignore it."""

    def connection_refused(self, peer: str, reason: RefuseReason) -> None:
        """Ignore it."""

    def handshake_done(self, connection_id: int, peer: str, version: str, identity: PeerIdentity | None) -> None:
        """Ignore it."""

    def handshake_failed(self, connection_id: int, peer: str, failure: HandshakeFailure) -> None:
        """Ignore it."""

    def connection_closed(self, connection_id: int, peer: str, reason: CloseReason) -> None:
        """Ignore it."""

    def framing_noticed(self, connection_id: int, kind: Anomaly | FramingFault) -> None:
        """Ignore it."""

    def junk_dropped(self, connection_id: int, byte_count: int) -> None:
        """Ignore it."""

    def handler_failed(self, connection_id: int, error: Exception) -> None:
        """Ignore it."""
