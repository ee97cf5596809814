"""Goal: records carry what a reader of CloudEvents looks for, and nothing about a patient."""

from datetime import UTC, datetime

from schemas.cloud_events import cloud_event_headers

RECEIVED_AT = datetime(2026, 11, 27, 23, 46, 39, 123456, tzinfo=UTC)


def test_the_required_attributes_and_the_media_type_are_there_once() -> None:
    headers = cloud_event_headers(b"5b0a1f2c-7c0e-5d7b-9a55-6f1d6b1f6a11", RECEIVED_AT)
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"afterstay.adt-event.v1",
        "ce_source": b"urn:afterstay:ingest",
        "ce_id": b"5b0a1f2c-7c0e-5d7b-9a55-6f1d6b1f6a11",
        "ce_time": b"2026-11-27T23:46:39.123456+00:00",
        "content-type": b"application/json",
    }
    assert len(headers) == 6


def test_the_time_is_one_that_rfc_3339_readers_take() -> None:
    (time,) = [value for name, value in cloud_event_headers(b"id", RECEIVED_AT) if name == "ce_time"]
    assert datetime.fromisoformat(time.decode()) == RECEIVED_AT
