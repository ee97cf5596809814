"""Messages read anew from their records, with the feeds as they are now (port: `followup.usecases.readings.Reader`).

Promise: only whole messages are read anew. What a sender broke off, or what was too large to keep, stays what it was
found to be, whatever its bytes look like: half a message may read well and say the wrong thing. Whether its sender may
send as the feed it names was decided when it came and is not decided again; but where it was refused, or where no feed
was known to ask, it is asked now, of the certificate that its record names.
"""

from itertools import repeat
from pathlib import Path
from typing import Final

from schemas.events import ACK_HEADER, RAW_HEADER, SENDER_HEADER, AdtEvent
from services.followup.usecases.sorting import Unusable, decode
from services.ingest.bootstrap import open_feeds
from services.ingest.mllp.inbound import Inbound
from services.ingest.normalize import NORMALIZER
from services.ingest.reception import TOO_LARGE, TRUNCATED, Reception
from services.ingest.senders import Senders, read_names
from services.runtime.clock import from_timestamp_us
from services.runtime.eventlog.port import Record

REFUSED: Final = b"AR"
INCOMPLETE: Final = frozenset({TRUNCATED, TOO_LARGE})


class Rereader:
    """Reads with one feeds file and the rules of this release; it decides as the listener does and answers nobody."""

    revision: int = NORMALIZER

    def __init__(self, feeds_file: Path | None) -> None:
        """Read the feeds file.

        Raises:
            ConfigurationError: `feeds-file-invalid`.
        """
        feeds = open_feeds(feeds_file)
        self._reception = Reception(feeds, control_ids=repeat("replay"))
        self._asking = Reception(feeds, control_ids=repeat("replay"), senders=Senders(feeds))

    def read(self, record: Record) -> AdtEvent | None:
        """Return the event of a record's bytes; `None` where the record is damaged or has no bytes."""
        raw = None if record.damaged else record.header(RAW_HEADER)
        if raw is None:
            return None
        own = decode(record)
        if not isinstance(own, Unusable) and own.intake.reason in INCOMPLETE:
            return own
        sender = record.header(SENDER_HEADER)
        inbound = Inbound(
            payload=raw, peer="replay", connection_id=0, identity=None if sender is None else read_names(sender)
        )
        unknown = not isinstance(own, Unusable) and own.intake.outcome == "unknown_feed"
        reception = self._asking if unknown or record.header(ACK_HEADER) == REFUSED else self._reception
        return reception.receive(inbound, from_timestamp_us(record.timestamp_us)).event
