"""The CloudEvents attributes of an event's record, for readers that are not ours.

The Kafka protocol binding in binary mode: the value is the event's JSON, attributes are headers named ``ce_...`` and
the media type is ``content-type``. Our own consumers read none of them. They say what kind of record this is and when
it was received, never who it is about: ``source`` is the same for every feed, ``id`` is the event id, and there is no
``subject``. Source: CloudEvents 1.0.2, Kafka protocol binding §3.2.
"""

from datetime import datetime
from typing import Final

from schemas.events import ADT_EVENT_VERSION

SPEC_VERSION: Final = "1.0"
SOURCE: Final = "urn:afterstay:ingest"
TYPE: Final = f"afterstay.adt-event.v{ADT_EVENT_VERSION}"
CONTENT_TYPE: Final = "application/json"

_SAME_FOR_ALL: Final = (
    ("ce_specversion", SPEC_VERSION.encode()),
    ("ce_type", TYPE.encode()),
    ("ce_source", SOURCE.encode()),
    ("content-type", CONTENT_TYPE.encode()),
)


def cloud_event_headers(event_id: bytes, received_at: datetime) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of an event that was received at an aware moment (``ce_time``, RFC 3339)."""
    return (*_SAME_FOR_ALL, ("ce_id", event_id), ("ce_time", received_at.isoformat().encode()))
