"""What the listener hands to the pipeline, and how the pipeline answers.

The server never sees HL7 and the pipeline never sees a socket; both import only this. No I/O, no asyncio.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from services.ingest.mllp.frame import Anomaly


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIdentity:
    """Who the other end of a connection has proven to be, by a certificate that we trust.

    Attributes:
        names: What the certificate can be listed by: ``sha256:`` and its fingerprint in hexadecimal digits, ``dns:``
            and ``uri:`` its alternative names, ``cn:`` its common name; in lower case.
        fingerprint: That one of the names that no other certificate has.
        expires_at: End of the certificate's validity, in seconds since 1970.
    """

    names: frozenset[str]
    fingerprint: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """One message as it came off the wire.

    Attributes:
        payload: the bytes between the framing bytes; of an oversized frame only its first bytes.
        peer: the sender's address, `host:port`.
        connection_id: unique within the life of the server.
        anomalies: what was unusual about the framing.
        oversized: the frame is over the limit; the answer is sent, then the connection is closed.
        truncated: the sender broke this message off and began a new one. Record it; whatever it is answered is not
            sent, because the sender waits for the one answer to the message that follows.
        identity: who the sender has proven to be; None where nobody was asked.
    """

    payload: bytes
    peer: str
    connection_id: int
    anomalies: tuple[Anomaly, ...] = ()
    oversized: bool = False
    truncated: bool = False
    identity: PeerIdentity | None = None


Answer = Callable[[bytes | None], None]
"""Takes the acknowledgement, unframed, or None: nothing durable could be written, so close without answering."""


class Handler(Protocol):
    """Accepts messages; called on the event loop, once for each, in the order of arrival on a connection."""

    def __call__(self, inbound: Inbound, answer: Answer) -> None:
        """Start handling a message and return without waiting.

        Call `answer` exactly once, now or later, in any order among messages, on the event loop's thread. Answers
        leave in the order of arrival; those that are ready in one turn of the loop leave in one write. An answer after
        the connection is gone is dropped (the sender will send again).
        """
