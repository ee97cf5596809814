"""Messages read anew from their records, with the feeds as they are now (port: `followup.usecases.readings.Reader`).

Promise: only whole messages are read anew. What a sender broke off, or what was too large to keep, stays what it was
found to be, whatever its bytes look like: half a message may read well and say the wrong thing.
"""

from itertools import repeat
from pathlib import Path
from typing import Final

from schemas.events import RAW_HEADER, AdtEvent
from services.followup.usecases.sorting import Unusable, decode
from services.ingest.bootstrap import open_feeds
from services.ingest.mllp.inbound import Inbound
from services.ingest.normalize import NORMALIZER
from services.ingest.reception import TOO_LARGE, TRUNCATED, Reception
from services.runtime.clock import from_timestamp_us
from services.runtime.eventlog.port import Record

INCOMPLETE: Final = frozenset({TRUNCATED, TOO_LARGE})


class Rereader:
    """Reads with one feeds file and the rules of this release; it decides as the listener does and answers nobody."""

    revision: int = NORMALIZER

    def __init__(self, feeds_file: Path | None) -> None:
        """Read the feeds file.

        Raises:
            ConfigurationError: `feeds-file-invalid`.
        """
        self._reception = Reception(open_feeds(feeds_file), control_ids=repeat("replay"))

    def read(self, record: Record) -> AdtEvent | None:
        """Return the event of a record's bytes; `None` where the record is damaged or has no bytes."""
        raw = None if record.damaged else record.header(RAW_HEADER)
        if raw is None:
            return None
        own = decode(record)
        if not isinstance(own, Unusable) and own.intake.reason in INCOMPLETE:
            return own
        inbound = Inbound(payload=raw, peer="", connection_id=0)
        return self._reception.receive(inbound, from_timestamp_us(record.timestamp_us)).event
