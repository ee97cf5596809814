"""Builds HL7 segments by field number, for tests of what single fields become."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schemas.events import AdtEvent
from services.ingest.feeds import FeedProfile
from services.ingest.hl7.message import Message, parse
from services.ingest.normalize import normalize

RECEIVED_AT = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
FEED = FeedProfile(name="mercy", zone=ZoneInfo("America/New_York"), authority="MERCY")

Fields = dict[int, str]
HEADER: Fields = {3: "EPIC", 4: "MERCY", 7: "20261124083000", 9: "ADT^A01", 10: "M1", 11: "P", 12: "2.5.1"}
PERSON: Fields = {3: "1001^^^MERCY^MR", 5: "RIVERA^ANA", 7: "19520314"}


def segment(name: str, fields: Fields) -> str:
    """Return one segment with these fields and no others."""
    texts = [name, *[""] * max(fields, default=0)]
    for number, text in fields.items():
        texts[number] = text
    return "|".join(texts)


def message_of(*, header: Fields | None = None, **segments: Fields | list[Fields]) -> Message:
    """Return a message of these segments; of the header only what differs from `HEADER`."""
    fields = HEADER | (header or {})
    lines = ["MSH|^~\\&" + segment("", {number - 2: text for number, text in fields.items()})]
    for name, given in segments.items():
        lines += [segment(name, one) for one in (given if isinstance(given, list) else [given])]
    return parse("\r".join(lines).encode())


def event_of(
    *, feed: FeedProfile | None = FEED, header: Fields | None = None, **segments: Fields | list[Fields]
) -> AdtEvent:
    """Return the event of such a message, about `PERSON` unless it has a PID of its own."""
    message = message_of(header=header, **({"PID": PERSON} | segments))
    return normalize(message, feed, received_at=RECEIVED_AT)


def codes_of(event: AdtEvent) -> dict[str, str | None]:
    """Return the findings of an event: code to place."""
    return {finding.code: finding.where for finding in event.findings}
