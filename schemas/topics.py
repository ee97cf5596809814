"""Topics of the event log: names, keys and partitions (DESIGN §4).

``adt.events.v1`` holds every message received, also those that are not for us or unusable: it is the source of truth
for replay. Its key is the event id; its partition is chosen explicitly, from the patient's smallest identifier, so
that one patient's rows are mostly locked by one consumer. Nothing depends on order.
"""

import zlib
from typing import Final

from schemas.events import AdtEvent

ADT_EVENTS: Final = "adt.events.v1"


def partition_of(event: AdtEvent, partitions: int) -> int:
    """Return the partition of an event among ``partitions``: a stable hash of the patient's smallest identifier.

    An event without an identifier is spread by its own id.
    """
    smallest = min(
        (f"{identifier.authority or ''}|{identifier.value}" for identifier in event.patient.identifiers),
        default=event.event_id,
    )
    return zlib.crc32(smallest.encode()) % partitions
