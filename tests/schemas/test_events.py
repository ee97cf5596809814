"""Goal: ids and encodings that later releases can rely on."""

import hashlib
import uuid
from datetime import UTC, datetime

import pytest

from schemas.events import AdtEvent, Identifier, Intake, Patient, Processing, decode_event, encode_event, event_id_of
from schemas.topics import partition_of


def event(*identifiers: Identifier, event_id: str = "e") -> AdtEvent:
    return AdtEvent(
        event_id=event_id,
        normalizer=1,
        kind="other",
        intake=Intake(outcome="accepted"),
        processing=Processing(),
        received_at=datetime(2026, 11, 24, tzinfo=UTC),
        patient=Patient(identifiers=identifiers),
    )


def test_an_event_id_never_changes() -> None:
    digest = hashlib.sha256(b"MSH|^~\\&|A\r").digest()
    assert event_id_of(digest) == "3717cda1-2e39-5a0f-b125-a0f706be6132"
    assert uuid.UUID(event_id_of(digest)).version == 5


def test_other_bytes_are_another_event() -> None:
    ids = {event_id_of(hashlib.sha256(bytes([number])).digest()) for number in range(256)}
    assert len(ids) == 256


def test_an_event_comes_back_as_it_was() -> None:
    assert decode_event(encode_event(event(Identifier(value="1")))) == event(Identifier(value="1"))


def test_what_is_not_said_takes_no_room() -> None:
    encoded = encode_event(event(Identifier(value="1")))
    assert b"null" not in encoded
    assert b"visit" not in encoded


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"null", b"\xff", b"{"])
def test_what_is_no_event_is_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_event(value)


def test_the_partition_follows_the_smallest_identifier_and_never_changes() -> None:
    first, second = Identifier(value="1", authority="A"), Identifier(value="2", authority="A")
    assert partition_of(event(second, first), 12) == partition_of(event(first), 12) == 1
    assert partition_of(event(event_id="x"), 12) == partition_of(event(event_id="x"), 12)
    spread = {partition_of(event(Identifier(value=str(number))), 12) for number in range(200)}
    assert spread == set(range(12))
    assert {partition_of(event(event_id=str(number)), 12) for number in range(200)} == set(range(12))
