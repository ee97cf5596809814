"""The listener's limits: every one named, with its source, and none without one.

A sender is not trusted to be a sender: anything may connect to the port, talk slowly, talk nonsense, never listen.
Each limit ends one of these without touching the others.
"""

from dataclasses import dataclass

from services.ingest.mllp.frame import FRAME_BYTES_MAX, JUNK_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one listener allows. The defaults are for hospital feeds; tests and small machines set their own.

    Attributes:
        connections_max: open at once (a region has tens of feeds, each with a few connections); one more takes the
            place of one that is unproven, see below, or is refused.
        connections_per_peer_max: of one address, or of one IPv6 network of 64 bits, which is what one subscriber is
            given (RFC 6177). A quarter of all: an exchange may send for many hospitals from one address, but one
            address must not be able to take every place.
        unproven_grace_s: how long a connection that has not sent one whole message keeps its place when all are taken
            and another wants it (faults.md S9). Handshake and first message take a good sender less; where a whole
            message came from the other's address before, it does not wait.
        handshakes_max: TLS handshakes under way at once: each is tens of kilobytes of state for who has proven nothing.
        handshake_timeout_s: from the connection to the end of its TLS handshake (faults.md §3, header time).
        messages_per_peer_s: messages a second from one address over all of its connections; beyond it they are not
            read for a while, so that nothing is lost. None: as many as we can store.
        frame_bytes_max: one message (DESIGN §7).
        junk_bytes_max: bytes outside frames, per gap (faults.md B01).
        in_flight_max: messages of one connection that wait for their answer; beyond it the socket is not read.
        in_flight_bytes_max: the same in bytes, because 256 messages may be 256 MB.
        held_bytes_max: messages and unfinished frames of all connections (faults.md P8, F15: half of the 64 MB that
            no input may make the process grow, the other half being copies on their way to the log).
        header_timeout_s: from the start byte to `header_bytes` (faults.md F33 and §3), and from the first byte on a new
            connection to its first start byte.
        header_bytes: what counts as a begun message; every MSH segment is longer, one byte a second is slower.
        frame_timeout_s: from the start byte to the end of the frame (1 MB in 30 s is 35 kB/s).
        silent_timeout_s: a connection that never sent a byte must not hold a place (faults.md S9); engines that connect
            ahead of their first message connect again.
        idle_timeout_s: between messages; feeds of small hospitals are quiet for most of a night (faults.md F32).
        write_stalled_timeout_s: a sender that does not read its answers.
        write_buffer_bytes_max: answers waiting for such a sender before its socket is not read any more.
        end_grace_s: how long to wait for the 0x0D after a 0x1C that is the last byte received. Longer than one
            retransmission on a lossy line (200 ms on Linux), shorter than any sender waits for an answer.
        linger_s: after the last answer, how long to go on discarding what the sender still sends, because closing with
            unread bytes resets the connection and can destroy the answer before it is read.
        close_timeout_s: from closing to aborting, when the peer does not take what is left.
        sweep_interval_s: how often the time limits are looked at.
    """

    connections_max: int = 256
    connections_per_peer_max: int = 64
    unproven_grace_s: float = 1.0
    handshakes_max: int = 128
    handshake_timeout_s: float = 10.0
    messages_per_peer_s: float | None = None
    frame_bytes_max: int = FRAME_BYTES_MAX
    junk_bytes_max: int = JUNK_BYTES_MAX
    in_flight_max: int = 256
    in_flight_bytes_max: int = 4 * 1_048_576
    held_bytes_max: int = 32 * 1_048_576
    header_timeout_s: float = 10.0
    header_bytes: int = 64
    frame_timeout_s: float = 30.0
    silent_timeout_s: float = 60.0
    idle_timeout_s: float = 3_600.0
    write_stalled_timeout_s: float = 30.0
    write_buffer_bytes_max: int = 262_144
    end_grace_s: float = 0.5
    linger_s: float = 2.0
    close_timeout_s: float = 5.0
    sweep_interval_s: float = 0.5
