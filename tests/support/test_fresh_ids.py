"""The replacer touches MSH-10 and nothing else."""

import pytest

from tests.support.fresh_ids import with_control_id, without_framing


@pytest.mark.parametrize(
    ("raw", "replaced"),
    [
        (b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|old|P|2.5\rPID|1\r", b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|NEW|P|2.5\rPID|1\r"),
        (b"MSH#^~\\&#A#B#C#D#2026##ADT^A01##P\n", b"MSH#^~\\&#A#B#C#D#2026##ADT^A01#NEW#P\n"),
        (b"\xef\xbb\xbf MSH|^~\\&|A|B|C|D|2026||ADT|1|P", b"\xef\xbb\xbf MSH|^~\\&|A|B|C|D|2026||ADT|NEW|P"),
        (b"MSH|^~\\&|A\rPID|1", b"MSH|^~\\&|A|||||||NEW\rPID|1"),
        (b"MSH|^~\\&|A|B|C|D|2026||ADT|1|P\rMSH|^~\\&|A|B|C|D|2026||ADT|2|P", None),
    ],
)
def test_only_the_first_header_gets_another_control_id(raw: bytes, replaced: bytes | None) -> None:
    wanted = replaced or raw.replace(b"|1|", b"|NEW|")
    assert with_control_id(raw, "NEW") == wanted


@pytest.mark.parametrize("raw", [b"", b"PID|1", b"MSH", b"MSH\rPID|1"])
def test_what_has_no_header_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no MSH segment"):
        with_control_id(raw, "NEW")


def test_framing_bytes_are_taken_out() -> None:
    assert without_framing(b"\x0bMSH|\x1c\r") == b"MSH|\r"
