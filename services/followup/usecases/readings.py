"""Readings: what a message's bytes say, as the rules and feeds of a moment read them.

A record holds the bytes and the reading of the listener that received them. Reading the bytes anew may say something
else; the reading *in force* is the one that was joined into stays. It is the record's own, unless a replay put another
in its place, which the event's row then marks by its digest. Pure, but for the reader that is handed in.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from schemas.events import AdtEvent, encode_event
from services.followup.usecases.ports import EventRow, Place
from services.followup.usecases.sorting import PARKED, Unusable, decode, took_no_effect
from services.followup.usecases.texts import storable
from services.runtime.eventlog.port import Record

UNKNOWN_READING: Final = "(reading in force unknown)"
"""Stands for the names of fields where what was read before is not kept: an earlier replay read it otherwise."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGEST_BYTES: Final = 16


class Reader(Protocol):
    """Reads a message's bytes with the rules and feeds of now."""

    @property
    def revision(self) -> int:
        """Revision of the rules (`AdtEvent.normalizer`)."""

    def read(self, record: Record) -> AdtEvent | None:
        """Return the event of a record's bytes; `None` where the record is damaged or has no bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A record's bytes read anew. `own` is what the record itself says they read, if that can be decoded."""

    place: Place
    event: AdtEvent
    own: AdtEvent | None
    digest: str
    own_digest: str | None

    @property
    def mark(self) -> str | None:
        """What the event's row holds while this reading is in force (`EventRow.reading`)."""
        return None if self.digest == self.own_digest else self.digest


def read_anew(record: Record, reader: Reader) -> Reading | None:
    """Read a record anew; `None` where it cannot be."""
    read = reader.read(record)
    if read is None:
        return None
    event = storable(read)
    own = decode(record)
    return Reading(
        place=(record.topic, record.partition, record.offset),
        event=event,
        own=None if isinstance(own, Unusable) else own,
        digest=digest_of(event),
        own_digest=None if isinstance(own, Unusable) else digest_of(own),
    )


def digest_of(event: AdtEvent) -> str:
    """Return a digest of what a message says, whenever it came and whichever revision read it."""
    told = msgspec.structs.replace(event, received_at=_EPOCH, normalizer=0)
    return hashlib.blake2b(encode_event(told), digest_size=_DIGEST_BYTES).hexdigest()


def is_in_force(reading: Reading, row: EventRow) -> bool:
    """Say whether an event's row stands by this very reading already."""
    if row.reading is not None:
        return row.reading == reading.digest
    return _own_is_in_force(reading.own, row) and reading.digest == reading.own_digest


def fields_changed(reading: Reading, row: EventRow) -> tuple[str, ...]:
    """Return the names of the fields that read otherwise than before; never their content."""
    if row.reading is not None or reading.own is None or not _own_is_in_force(reading.own, row):
        return (UNKNOWN_READING,)
    left, right = (_parts(one) for one in (reading.own, reading.event))
    return tuple(sorted(set(_differences(left, right))))


def _own_is_in_force(own: AdtEvent | None, row: EventRow) -> bool:
    """Say whether a row without a mark stands by its record's own reading.

    A dead letter that an earlier release replayed has no mark; its row tells by not being dead.
    """
    if own is None or (own.feed, own.kind) != (row.feed, row.kind):
        return False
    return (own.intake.outcome in PARKED) == took_no_effect(row)


def _parts(event: AdtEvent) -> dict[str, object]:
    parts = msgspec.to_builtins(event)
    return {name: part for name, part in parts.items() if name not in ("received_at", "normalizer")}


def _differences(left: object, right: object, path: str = "") -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in left.keys() | right.keys():
            yield from _differences(left.get(name), right.get(name), f"{path}.{name}" if path else name)
    elif left != right:
        yield path
