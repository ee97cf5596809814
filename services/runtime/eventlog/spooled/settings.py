"""How much may wait and lie in a spool, and how patient its publisher is: named limits with their sources."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """The limits of one spool.

    Attributes:
        bytes_max: What the spool may take on the disk before it refuses; what is on its way then is still stored.
        segment_bytes: The size at which a new segment begins; never more than a quarter of `bytes_max`, so that
            forwarding makes room before all is forwarded.
        record_bytes_max: The largest record; at most what the log takes, or it is accepted and then set aside.
        queue_records_max: How many records may wait for an answer; as the embedded publisher's.
        queue_bytes_max: How many bytes of them.
        answer_timeout_s: How long the log may leave a record unanswered, the grace included (issue 4: within 2 s).
        grace_s: The end of that time, in which answers that have arrived are read: the loop may have been held up.
        close_timeout_s: How long a publisher that is left may take to close; a client flushes when it stops, and hangs
            on a frozen broker (`streaming.md` §8).
        probe_interval_s: The pause between two tries to reach the log again (`streaming.md` §8).
        start_patience_s: How long a start waits for the log when it remembers what partitions that has; it accepts
            all the sooner, and the log is found a moment later.
        handover_s: How long new records may wait in memory while the last of the spool is forwarded.
    """

    bytes_max: int
    segment_bytes: int = 64 * 1024 * 1024
    record_bytes_max: int = 8 * 1024 * 1024
    queue_records_max: int = 10_000
    queue_bytes_max: int = 32 * 1024 * 1024
    answer_timeout_s: float = 2.0
    grace_s: float = 0.2
    close_timeout_s: float = 5.0
    probe_interval_s: float = 0.25
    start_patience_s: float = 0.5
    handover_s: float = 0.5
