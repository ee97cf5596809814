"""How a record lies in the spool: as it is, behind one header that names its topic and partition.

The spool is one sequence, in the order of submission, so that order needs one number to remember and not one for
each partition. The header goes in front, where no header of the record can be taken for it.
"""

import re
from typing import Final

from services.runtime.eventlog.port import NewRecord, Record

SPOOL_TOPIC: Final = "spool"

_PLACE: Final = "spool-place"
_PLACE_VALUE: Final = re.compile(rb"(\d{1,9}) ([a-zA-Z0-9._-]{1,249})")


def to_spool(record: NewRecord) -> NewRecord:
    """Return the record as the spool keeps it."""
    place = b"%d %s" % (record.partition, record.topic.encode("ascii"))
    return NewRecord(
        topic=SPOOL_TOPIC,
        partition=0,
        key=record.key,
        value=record.value,
        headers=((_PLACE, place), *record.headers),
        timestamp_us=record.timestamp_us,
    )


def from_spool(record: Record) -> NewRecord | None:
    """Return the record as it was submitted; None if it is damaged or was not put there by `to_spool`."""
    if record.damaged or not record.headers:
        return None
    (name, value), *headers = record.headers
    place = _PLACE_VALUE.fullmatch(value)
    if name != _PLACE or place is None:
        return None
    return NewRecord(
        topic=place[2].decode("ascii"),
        partition=int(place[1]),
        key=record.key,
        value=record.value,
        headers=tuple(headers),
        timestamp_us=record.timestamp_us,
    )
