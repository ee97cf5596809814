"""What the listener's log says: one line for what an operator should see, nothing of what a message holds.

A message that ends as it should is logged at the level ``debug``, so that the log costs nothing at full rate; it is
found by `afterstay trace` and counted by `afterstay status` in any case. Parked and refused messages have a line each.
"""

import time
from collections.abc import Callable
from typing import Final

from schemas.events import AdtEvent
from services.ingest.hl7.ack import AckCode
from services.ingest.mllp.frame import Anomaly
from services.ingest.mllp.inbound import PeerIdentity
from services.ingest.mllp.observation import CloseReason, FramingFault, HandshakeFailure, RefuseReason
from services.runtime.errors import AfterstayError
from services.runtime.log import Logger

SECURITY: Final = "security"
"""The kind of a log line that says that somebody tried what they may not."""
CONNECTION_LINES_PER_S: Final = 50
"""A region's feeds that all come back at once after a fault of the network are logged one by one."""
_USUAL_ENDS: Final = frozenset({CloseReason.PEER_CLOSED, CloseReason.IDLE_TIMEOUT, CloseReason.DRAINED})


class LoggingPipelineObserver:
    """Logs what became of messages."""

    def __init__(self, log: Logger) -> None:
        self._log = log

    def message_recorded(self, event: AdtEvent, code: AckCode | None) -> None:
        """Log a message by what intake made of it."""
        match event.intake.outcome:
            case "accepted" | "not_for_us":
                write, name = self._log.debug, "message_accepted"
            case "unreadable":
                write, name = self._log.warning, "message_refused"
            case _:
                write, name = self._log.info, "message_parked"
        write(
            name,
            event_id=event.event_id,
            control_id=event.control_id,
            feed=event.feed,
            trigger=event.trigger if event.kind != "other" else None,  # of a closed set, or a sender's own text
            outcome=event.intake.outcome,
            reason=event.intake.reason,
            acknowledgment=code,
        )

    def message_given_up(self, event: AdtEvent, error: AfterstayError | None) -> None:
        """Log a message that was not stored in time; its sender has to send it again."""
        code = error.code if error is not None else "log-slow"
        self._log.warning("message_unanswered", event_id=event.event_id, control_id=event.control_id, code=code)

    def log_blocked(self, error: AfterstayError | None) -> None:
        """Log that nothing can be stored."""
        self._log.error("intake_blocked", code=error.code if error is not None else "log-slow", exc_info=error)

    def log_recovered(self) -> None:
        """Log that messages can be stored again."""
        self._log.warning("intake_recovered")


class LoggingServerObserver:
    """Logs what happens to connections, of many in one second only some: who floods the door must not flood the log.

    A line costs more than the connection it is of, and the loop that writes it is the one that acknowledges. What is
    not logged is counted all the same, and said by its number.
    """

    def __init__(self, log: Logger, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._second = 0.0
        self._lines = 0

    def _may_log(self) -> bool:
        now = self._monotonic()
        if now - self._second >= 1.0:
            if (held_back := self._lines - CONNECTION_LINES_PER_S) > 0:
                self._log.warning("connections_unlogged", count=held_back)
            self._second, self._lines = now, 0
        self._lines += 1
        return self._lines <= CONNECTION_LINES_PER_S

    def connection_opened(self, connection_id: int, peer: str) -> None:
        """Log a new connection."""
        if self._may_log():
            self._log.info("connection_opened", connection=connection_id, peer=peer)

    def connection_refused(self, peer: str, reason: RefuseReason) -> None:
        """Log a connection that was not let in."""
        if self._may_log():
            self._log.warning("connection_refused", peer=peer, reason=reason)

    def handshake_done(self, connection_id: int, peer: str, version: str, identity: PeerIdentity | None) -> None:
        """Log who it is."""
        if self._may_log():
            names = sorted(identity.names) if identity is not None else None
            self._log.info("handshake_done", connection=connection_id, peer=peer, tls=version, certificate=names)

    def handshake_failed(self, connection_id: int, peer: str, failure: HandshakeFailure) -> None:
        """Log why a peer does not get in: a security event."""
        if self._may_log():
            self._log.warning("handshake_failed", kind=SECURITY, connection=connection_id, peer=peer, reason=failure)

    def connection_closed(self, connection_id: int, peer: str, reason: CloseReason) -> None:
        """Log the end of a connection, louder where we ended it."""
        if not self._may_log():
            return
        write = self._log.info if reason in _USUAL_ENDS else self._log.warning
        write("connection_closed", connection=connection_id, peer=peer, reason=reason)

    def framing_noticed(self, connection_id: int, kind: Anomaly | FramingFault) -> None:
        """Log a frame that is not a whole message; a sender's habits are counted only."""
        write = self._log.warning if isinstance(kind, FramingFault) else self._log.debug
        write("framing_noticed", connection=connection_id, kind=kind)

    def junk_dropped(self, connection_id: int, byte_count: int) -> None:
        """Log bytes outside of frames."""
        self._log.info("junk_dropped", connection=connection_id, bytes=byte_count)

    def handler_failed(self, connection_id: int, error: Exception) -> None:
        """Log a defect of ours, which left a message unanswered."""
        self._log.error("handler_failed", connection=connection_id, exc_info=error)
