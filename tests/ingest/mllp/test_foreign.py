import pytest

from services.ingest.mllp.foreign import recognize_foreign
from services.ingest.mllp.observation import CloseReason


@pytest.mark.parametrize(
    ("first_read", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", CloseReason.TALKS_HTTP),
        (b"OPTIONS * HTTP/1.1\r\n", CloseReason.TALKS_HTTP),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CloseReason.TALKS_HTTP),
        (b"\x16\x03\x01\x00\xf4\x01", CloseReason.TALKS_TLS),
        (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03\x0bMSH", CloseReason.TALKS_TLS),  # a hello holds any byte
        (b"{}", CloseReason.TALKS_JSON),
        (b"<ADT_A01/>", CloseReason.TALKS_XML),
        (b"GETTING STARTED", None),
        (b"MSH|^~\\&|", None),  # junk that may still be followed by a frame
        (b"\x0bMSH|", None),
        (b"<banner>\x0bMSH|", None),
        (b"\r\n", None),
        (b"", None),
    ],
)
def test_only_what_is_certainly_another_protocol_is_recognized(first_read: bytes, expected: CloseReason | None) -> None:
    assert recognize_foreign(first_read) is expected
