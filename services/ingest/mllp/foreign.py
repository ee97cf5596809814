"""Recognize other protocols by their first bytes, so that a sender set up wrongly is told apart at once.

Nothing of them is parsed (faults.md B08); the reason goes to the log for whoever configured the sender. What is not
recognized here is junk like any other and ends at the junk limit or the header time-out.
"""

from services.ingest.mllp.frame import START_BLOCK
from services.ingest.mllp.observation import CloseReason

# RFC 8446 §5.1: handshake record, legacy version 3.x. What follows is random and lists extension 0x0B in nearly every
# hello, so a start byte in it says nothing.
_TLS_OPENING = b"\x16\x03"
_OPENINGS = (
    (b"GET ", CloseReason.TALKS_HTTP),
    (b"POST ", CloseReason.TALKS_HTTP),
    (b"PUT ", CloseReason.TALKS_HTTP),
    (b"HEAD ", CloseReason.TALKS_HTTP),
    (b"OPTIONS ", CloseReason.TALKS_HTTP),
    (b"CONNECT ", CloseReason.TALKS_HTTP),
    (b"PRI * HTTP/2", CloseReason.TALKS_HTTP),  # RFC 9113 §3.4
    (b"{", CloseReason.TALKS_JSON),
    (b"<", CloseReason.TALKS_XML),
)


def recognize_foreign(first_read: bytes) -> CloseReason | None:
    """Name the protocol of a connection's first bytes; None when there is a start byte or nothing is certain."""
    if first_read.startswith(_TLS_OPENING):
        return CloseReason.TALKS_TLS
    if START_BLOCK in first_read:
        return None
    return next((reason for opening, reason in _OPENINGS if first_read.startswith(opening)), None)
