"""Goal: reading anew lets nobody in who was kept out at the door, and keeps nobody out who was let in (fault B44)."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.events import ACK_HEADER, RAW_HEADER, SENDER_HEADER, encode_event
from services.commands.rereading import Rereader
from services.ingest.feeds import Feeds
from services.ingest.feeds_file import read_feeds
from services.ingest.mllp.inbound import Inbound, PeerIdentity
from services.ingest.reception import Reception
from services.ingest.senders import Senders, write_names
from services.runtime.clock import to_timestamp_us
from services.runtime.eventlog.port import Record
from tests.support.adt import adt

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
OPEN = "feeds:\n  - {name: mercy, sending_facility: MERCY, zone: America/New_York}\n"
LISTED = OPEN.replace("zone:", "certificates: [dns:adt.mercy.test], zone:")
ELSEWHERE = OPEN.replace("MERCY", "OTHER")
RAW = adt("A01", sent="20261124083000", control_id="M1")
MERCY = PeerIdentity(names=frozenset({"dns:adt.mercy.test"}), fingerprint="", expires_at=1.0)
IMPOSTOR = PeerIdentity(names=frozenset({"dns:other.test"}), fingerprint="", expires_at=1.0)


def feeds_of(text: str) -> Feeds:
    return read_feeds(text.encode(), file=Path("feeds.yaml"), is_charset=lambda _: True)


def received(feeds: str, identity: PeerIdentity | None) -> Record:
    """Return the record of a message as the listener wrote it with these feeds."""
    reception = Reception(feeds_of(feeds), control_ids=iter("abc"), senders=Senders(feeds_of(feeds)))
    decision = reception.receive(Inbound(payload=RAW, peer="p", connection_id=1, identity=identity), NOW)
    headers = [(RAW_HEADER, RAW), (ACK_HEADER, (decision.code or "none").encode())]
    if identity is not None:
        headers.append((SENDER_HEADER, write_names(identity)))
    return Record(
        topic="t", partition=0, offset=0, key=b"", value=encode_event(decision.event), headers=tuple(headers),
        timestamp_us=to_timestamp_us(NOW),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("then", "identity", "now", "outcome"),
    [
        (LISTED, MERCY, LISTED, "accepted"),
        (LISTED, IMPOSTOR, LISTED, "unreadable"),  # kept out, and still
        (LISTED, IMPOSTOR, OPEN, "accepted"),  # kept out by a list that an operator has taken back
        (LISTED, MERCY, LISTED.replace("adt.mercy", "new.mercy"), "accepted"),  # let in with the certificate of then
        (OPEN, None, LISTED, "accepted"),  # let in when nobody was asked
        (ELSEWHERE, IMPOSTOR, LISTED, "unreadable"),  # nobody could be asked then; so now
        (ELSEWHERE, MERCY, LISTED, "accepted"),
        (ELSEWHERE, None, LISTED, "unreadable"),
        (ELSEWHERE, None, OPEN, "accepted"),
    ],
)
def test_who_sent_is_asked_anew_only_where_it_was_refused_or_could_not_be_asked(
    then: str, identity: PeerIdentity | None, now: str, outcome: str, tmp_path: Path
) -> None:
    file = tmp_path / "feeds.yaml"
    file.write_text(now, encoding="utf-8")
    event = Rereader(file).read(received(then, identity))
    assert event is not None
    assert event.intake.outcome == outcome
    assert event.intake.reason == ("sender-not-allowed" if outcome == "unreadable" else None)
