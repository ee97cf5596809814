"""Goal: what every kind of message becomes, whole, as a person can read and review it.

Method: golden pairs in ``tests/golden/adt/<trigger>/``; the messages are invented, one line a segment. With
``AFTERSTAY_REFRESH_GOLDEN=1`` the events are written anew instead: read the diff before it is committed.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from schemas.events import decode_event, encode_event
from services.ingest.feeds import Feeds
from services.ingest.feeds_file import load_feeds
from services.ingest.hl7.message import parse
from services.ingest.normalize import KINDS, normalize

GOLDEN = Path(__file__).parents[1] / "golden" / "adt"
MESSAGES = sorted(GOLDEN.glob("*/*.hl7"))
RECEIVED_AT = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def feeds() -> Feeds:
    return load_feeds(GOLDEN / "feeds.yaml", is_charset=lambda _: True)


@pytest.mark.parametrize("file", MESSAGES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_message_becomes_its_golden_event(file: Path, feeds: Feeds) -> None:
    message = parse(file.read_bytes().replace(b"\n", b"\r"))
    feed = feeds.find(message.header.component(3), message.header.component(4))
    event = normalize(message, feed, received_at=RECEIVED_AT)
    encoded = encode_event(event)
    golden = file.with_suffix(".json")
    if os.environ.get("AFTERSTAY_REFRESH_GOLDEN"):
        golden.write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    assert json.loads(encoded) == json.loads(golden.read_bytes())
    assert decode_event(encoded) == event


def test_every_trigger_that_is_used_has_a_golden_message() -> None:
    assert set(KINDS) <= {file.parent.name for file in MESSAGES}


def test_no_golden_event_is_left_without_its_message() -> None:
    assert {file.stem for file in GOLDEN.glob("*/*.json")} == {file.stem for file in MESSAGES}
