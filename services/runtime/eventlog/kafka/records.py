"""What a record is in Kafka, and back.

Kafka keeps time in milliseconds, the port in microseconds: what is left over rides in a header of ours
(`MICROSECONDS_HEADER`), the last one, added only where there is something left over and hidden from whoever reads
through here. A key, value or header that is null in Kafka, which we never write, reads as empty.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from services.runtime.eventlog.port import Record

MICROSECONDS_HEADER: Final = "timestamp-us"
"""Record header: the microseconds of the time of receipt beyond its milliseconds, ASCII digits."""


class Stored(Protocol):
    """A record as aiokafka hands it out, whichever of its readers did."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970 UTC."""

    @property
    def key(self) -> bytes | None:
        """The key."""

    @property
    def value(self) -> bytes | None:
        """The value."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """The headers; names may repeat."""


def to_wire(headers: tuple[tuple[str, bytes], ...], timestamp_us: int) -> tuple[int, list[tuple[str, bytes]]]:
    """Return the timestamp in milliseconds, and the headers as they are written."""
    timestamp_ms, left_over_us = divmod(timestamp_us, 1000)
    written = list(headers)
    if left_over_us or (headers and headers[-1][0] == MICROSECONDS_HEADER):
        written.append((MICROSECONDS_HEADER, b"%d" % left_over_us))
    return timestamp_ms, written


def from_wire(topic: str, partition: int, stored: Stored) -> Record:
    """Return the record that was published."""
    timestamp_us = stored.timestamp * 1000
    headers = stored.headers
    if headers and headers[-1][0] == MICROSECONDS_HEADER:
        left_over = headers[-1][1] or b""
        if left_over.isdigit():
            timestamp_us += int(left_over)
            headers = headers[:-1]
    for header in headers:
        if header[1] is None:
            headers = [(name, content or b"") for name, content in headers]
            break
    return Record(
        topic=topic,
        partition=partition,
        offset=stored.offset,
        key=stored.key or b"",
        value=stored.value or b"",
        headers=tuple(headers),  # type: ignore[arg-type] # the None were replaced
        timestamp_us=timestamp_us,
    )
