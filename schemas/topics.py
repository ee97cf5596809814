"""Topics of the event log: names, keys, partitions and settings (DESIGN §4).

``adt.events.v1`` holds every message received, also those that are not for us or unusable: it is the source of truth
for replay. Its key is the event id; its partition is chosen explicitly, from the patient's smallest identifier, so
that one patient's rows are mostly locked by one consumer. Nothing depends on order.

The settings hold for Kafka; the embedded log keeps everything. An acknowledged record is on two disks at least before
its sender hears AA (``min.insync.replicas``), survives the loss of any one broker (``replicas``), is never given up for
a replica that lacks it (``unclean.leader.election.enable``), and lies there until its time is over, counted from its
receipt (``message.timestamp.type``), however full the disk is (``retention.bytes``).
"""

import zlib
from dataclasses import dataclass
from typing import Final

from schemas.events import AdtEvent

ADT_EVENTS: Final = "adt.events.v1"
FOLLOWUP_TASKS: Final = "followup.tasks.v1"

RECORD_BYTES_MAX: Final = 8 * 1024 * 1024
"""What a publisher takes: a frame of 1 MiB, its event, and JSON's escapes of both."""
_DAY_MS: Final = 24 * 60 * 60 * 1000
_NEVER: Final = 2**63 - 1
_NO_LIMIT: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """A topic as it is to be made: on three brokers, or on one that syncs each write."""

    name: str
    key: str
    """What its records are keyed by."""
    retention_ms: int
    partitions: int = 12
    """More than the consumers anybody runs, since raising it later moves patients to other partitions."""
    replicas: int = 3
    min_insync_replicas: int = 2
    record_bytes_max: int = RECORD_BYTES_MAX

    def replicas_on(self, *, single_broker: bool) -> int:
        """Return how many brokers keep each record."""
        return 1 if single_broker else self.replicas

    def exact(self, *, single_broker: bool) -> dict[str, str]:
        """Return the settings that have one right value, by Kafka's names."""
        settings = {
            "cleanup.policy": "delete",
            "message.timestamp.type": "CreateTime",
            "unclean.leader.election.enable": "false",
        }
        # Without a second broker nothing but the disk keeps a record through a power cut.
        return settings | ({"flush.messages": "1"} if single_broker else {})

    def at_least(self, *, single_broker: bool) -> dict[str, int]:
        """Return the settings that may be higher than this, or unlimited (-1), by Kafka's names."""
        return {
            "min.insync.replicas": 1 if single_broker else self.min_insync_replicas,
            "retention.ms": self.retention_ms,
            "retention.bytes": _NO_LIMIT,
            "max.message.bytes": self.record_bytes_max + 1024 * 1024,  # and what a batch adds
            # The time of receipt is the listener's clock or, after an outage, the spool's: neither is a reason to
            # refuse the record.
            "message.timestamp.before.max.ms": _NEVER,
            "message.timestamp.after.max.ms": _NEVER,
        }


TOPICS: Final = (
    TopicSettings(
        name=ADT_EVENTS,
        key="event id",
        # A stay of two months and the 30 days after it can be read again under new rules.
        retention_ms=90 * _DAY_MS,
    ),
    TopicSettings(name=FOLLOWUP_TASKS, key="task id", retention_ms=30 * _DAY_MS),
)


def partition_of(event: AdtEvent, partitions: int) -> int:
    """Return the partition of an event among ``partitions``: a stable hash of the patient's smallest identifier.

    An event without an identifier is spread by its own id.
    """
    smallest = min(
        (f"{identifier.authority or ''}|{identifier.value}" for identifier in event.patient.identifiers),
        default=event.event_id,
    )
    return zlib.crc32(smallest.encode()) % partitions
