"""The states of a publisher with a spool, and how one follows from another: one table, and nothing else decides.

- `direct`: the spool is empty; a record goes to the log itself, and its answer is passed on.
- `spooling`: the log is away; records go to the spool, and a new way to the log is tried again and again.
- `draining`: the log answers again; what is in the spool is forwarded, and new records go behind it.
- `full`: the spool has reached its limit; new records are refused while what is in it waits or is forwarded.

Source: `streaming.md` §8 (the recipe), DESIGN §2 (what happens past the limit).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["direct", "spooling", "draining", "full"]
Trigger = Literal["log-lost", "log-found", "drained", "limit-passed", "room-made"]

STATES: Final[tuple[State, ...]] = ("direct", "spooling", "draining", "full")

# Room is only ever made by forwarding, so it ends in `draining`; while the spool is full, a log that comes and goes
# changes nothing for a sender.
TRANSITIONS: Final[Mapping[tuple[State, Trigger], State]] = {
    ("direct", "log-lost"): "spooling",
    ("spooling", "log-lost"): "spooling",
    ("spooling", "log-found"): "draining",
    ("spooling", "limit-passed"): "full",
    ("draining", "log-lost"): "spooling",
    ("draining", "limit-passed"): "full",
    ("draining", "drained"): "direct",
    ("full", "log-found"): "full",
    ("full", "log-lost"): "full",
    ("full", "room-made"): "draining",
    ("full", "drained"): "direct",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStats:
    """What metrics and `status` show of a spool at one moment; every field is a word or a number, or None.

    Attributes:
        state: One of `STATES`.
        state_since_us: When it came into this state, in microseconds since 1970 UTC.
        records: Acknowledged and not forwarded yet.
        bytes: Their size on the disk, estimated.
        oldest_timestamp_us: When the oldest of them was received; None when there is none.
        disk_bytes: What the spool takes on the disk, with what is forwarded and not deleted yet.
        bytes_max: The limit of `disk_bytes`.
        spooled_total: Records that went into the spool since the start of the process.
        drained_total: Records that were forwarded from it since then.
        quarantined_total: Records set aside since then, because they are damaged or the log refuses them for good.
        quarantined_segments: Folders that lie in the quarantine, whenever they came there.
        refused_total: Records refused since the start because the spool was full.
        outages_total: How often the log was lost since the start.
        last_error: Code of what the log last failed with; None if it never has.
    """

    state: State
    state_since_us: int
    records: int
    bytes: int
    oldest_timestamp_us: int | None
    disk_bytes: int
    bytes_max: int
    spooled_total: int
    drained_total: int
    quarantined_total: int
    quarantined_segments: int
    refused_total: int
    outages_total: int
    last_error: str | None
