"""Goal: a message is decoded as its sender meant it, every guess is reported, and no byte is ever replaced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.hl7.charset import charset_of_ascii, declared_label, decode_bytes, detect_wide, resolve_charset


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("ASCII", "ascii"),
        ("8859/1", "iso8859-1"),
        ("8859/2", "iso8859-2"),
        ("8859/9", "iso8859-9"),
        ("8859/15", "iso8859-15"),
        ("8859/12", None),
        ("ISO IR6", "ascii"),
        ("ISO IR14", "iso2022_jp_ext"),
        ("ISO IR87", "iso2022_jp_ext"),
        ("ISO IR159", "iso2022_jp_ext"),
        ("~ISO IR87", "iso2022_jp_ext"),
        ("ASCII~ISO IR87~ISO IR159", "iso2022_jp_ext"),
        ("GB 18030-2000", "gb18030"),
        ("KS X 1001", "cp949"),
        ("BIG-5", "cp950"),
        ("CNS 11643-1992", None),
        ("UNICODE", "utf-8"),
        ("UNICODE UTF-8", "utf-8"),
        ("UNICODE UTF-16", "utf-16"),
        ("UNICODE UTF-32", "utf-32"),
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("8859-1", "iso8859-1"),
        ("ISO8859-1", "iso8859-1"),
        ("ISO-8859-15", "iso8859-15"),
        ("iso_8859-1", "iso8859-1"),
        ("LATIN1", "iso8859-1"),
        ("WINDOWS-1252", "cp1252"),
        ("CP1252", "cp1252"),
        ("windows-1250", "cp1250"),
        ("Shift_JIS", "cp932"),
        ("ISO-2022-JP", "iso2022_jp_ext"),
        ("8859/1~UNICODE UTF-8", "iso8859-1"),
        ("", None),
        ("~~", None),
        ("KLINGON", None),
    ],
)
def test_a_label_names_a_codec(label: str, codec: str | None) -> None:
    assert resolve_charset(label) == codec


@pytest.mark.parametrize(
    ("label", "charset", "findings"),
    [
        ("", "ascii", ()),
        ("UNICODE UTF-8", "utf-8", ()),
        ("8859/1", "iso8859-1", ()),
        ("KLINGON", "ascii", ("charset-unknown",)),
        ("UNICODE UTF-16", "ascii", ("charset-mismatch",)),
    ],
)
def test_plain_ascii_is_in_the_declared_charset_if_that_contains_ascii(
    label: str, charset: str, findings: tuple[str, ...]
) -> None:
    assert charset_of_ascii(label) == (charset, findings)


_MISMATCH = ("charset-mismatch",)
_GUESSED = ("charset-guessed",)


@pytest.mark.parametrize(
    ("data", "label", "text", "charset", "findings"),
    [
        # as declared
        ("Zoë".encode(), "UNICODE UTF-8", "Zoë", "utf-8", ()),
        ("Zoë".encode("latin-1"), "8859/1", "Zoë", "iso8859-1", ()),
        ("Œuf €".encode("iso8859-15"), "8859/15", "Œuf €", "iso8859-15", ()),
        ("JÓŹWIAK".encode("iso8859-2"), "8859/2", "JÓŹWIAK", "iso8859-2", ()),
        ("Łódź".encode("cp1250"), "WINDOWS-1250", "Łódź", "cp1250", ()),
        ("O\u2019Brien".encode("cp1252"), "CP1252", "O\u2019Brien", "cp1252", ()),
        ("山田^太郎".encode("iso2022_jp"), "~ISO IR87", "山田^太郎", "iso2022_jp_ext", ()),
        ("ﾔﾏﾀﾞ".encode("iso2022_jp_ext"), "ISO IR14~ISO IR87", "ﾔﾏﾀﾞ", "iso2022_jp_ext", ()),
        ("张伟".encode("gb18030"), "GB 18030-2000", "张伟", "gb18030", ()),
        ("功蓋".encode("cp950"), "BIG-5", "功蓋", "cp950", ()),
        ("김철수".encode("euc_kr"), "KS X 1001", "김철수", "cp949", ()),
        # contradicted
        ("Zoë".encode(), "ASCII", "Zoë", "utf-8", _MISMATCH),
        ("Zoë".encode("latin-1"), "UNICODE UTF-8", "Zoë", "cp1252", _MISMATCH),
        ("Zoë".encode(), "8859/1", "Zoë", "utf-8", _MISMATCH),
        ("Zoë".encode(), "8859/15", "Zoë", "utf-8", _MISMATCH),
        ("Zoë".encode(), "CP1252", "Zoë", "utf-8", _MISMATCH),
        ("O\u2019Brien".encode("cp1252"), "8859/1", "O\u2019Brien", "cp1252", _MISMATCH),
        (b"\x81\xff", "CP1252", "\x81ÿ", "iso8859-1", _MISMATCH),
        ("山田".encode("iso2022_jp"), "ASCII", "山田", "iso2022_jp_ext", _MISMATCH),
        ("山田".encode("iso2022_jp"), "UNICODE UTF-8", "山田", "iso2022_jp_ext", _MISMATCH),
        (b"\xff\xfe\xfd", "GB 18030-2000", "ÿþý", "cp1252", _MISMATCH),
        (b"\x1b$B\xff", "~ISO IR87", "\x1b$Bÿ", "cp1252", _MISMATCH),
        ("Zoë".encode(), "UNICODE UTF-16", "Zoë", "utf-8", _MISMATCH),
        # nothing known declared
        ("Zoë".encode(), "", "Zoë", "utf-8", _GUESSED),
        ("Zoë".encode("latin-1"), "", "Zoë", "cp1252", _GUESSED),
        (b"\x81Zo\xeb", "", "\x81Zoë", "iso8859-1", _GUESSED),
        ("山田".encode("iso2022_jp"), "", "山田", "iso2022_jp_ext", _GUESSED),
        (b"\x1bE printer", "", "\x1bE printer", "ascii", ()),
        ("Zoë".encode(), "KLINGON", "Zoë", "utf-8", ("charset-unknown", "charset-guessed")),
        (b"\x1bE", "KLINGON", "\x1bE", "ascii", ("charset-unknown",)),
    ],
)
def test_bytes_are_decoded_as_declared_or_by_the_best_strict_alternative(
    data: bytes, label: str, text: str, charset: str, findings: tuple[str, ...]
) -> None:
    decoded = decode_bytes(data, label)
    assert (decoded.text, decoded.charset, decoded.findings) == (text, charset, findings)


_LABELS = ("", "ASCII", "8859/1", "8859/2", "UNICODE UTF-8", "~ISO IR87", "GB 18030-2000", "BIG-5", "KS X 1001", "?!")


@given(st.binary(max_size=60), st.sampled_from(_LABELS))
def test_any_bytes_decode_strictly_under_any_label(data: bytes, label: str) -> None:
    decoded = decode_bytes(data, label)
    assert decoded.text == data.decode(decoded.charset, errors="strict")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_wide_encodings_are_told_by_their_mark_or_by_the_zeros_around_msh(codec: str, mark: str) -> None:
    wide = detect_wide(f"{mark}MSH|".encode(codec))
    assert wide is not None
    assert f"{mark}MSH|".encode(codec).decode(wide) == "MSH|"
    assert wide == (codec if not mark else codec.removesuffix("-le").removesuffix("-be"))


def test_narrow_bytes_are_not_wide() -> None:
    assert detect_wide(b"MSH|^~\\&|") is None


@pytest.mark.parametrize(
    ("header", "label"),
    [
        (b"MSH|^~\\&|A|B|C|D|2|8|ADT^A01|1|P|2.5|||||USA|8859/1|EN", "8859/1"),
        (b"MSH|^~\\&|A|B|C|D|2|8|ADT^A01|1|P|2.5|||||USA|8859/1\rPID|", "8859/1"),
        (b"MSH|^~\\&|A|B|C|D|2|8|ADT^A01|1|P|2.5|||||USA|8859/1\nPID|", "8859/1"),
        (b"MSH|^~\\&|A|B|C|D|2|8|ADT^A01|1|P|2.5\rZZZ|||||||||||||||||8859/1", ""),
        (b"MSH#^~\\&#A#B#C#D#2#8#ADT^A01#1#P#2.5#####USA#8859/1", "8859/1"),
        # The double-byte text has bytes of separators in it, which push MSH-18 to the right.
        ("MSH|^~\\&|育功|B|C|D|2|8|ADT^A01|1|P|2.5|||||TWN|BIG-5".encode("cp950"), "BIG-5"),
        (
            "MSH|^~\\&|万|病院|C|D|2|8|ADT^A01|1|P|2.5|||||JPN|~ISO IR87||ISO 2022-1994".encode("iso2022_jp"),
            "~ISO IR87",
        ),
        ("MSH|^~\\&|Zoë|B|C|D|2|8|ADT^A01|1|P|2.5".encode(), ""),
    ],
)
def test_the_declared_charset_is_found_before_anything_is_decoded(header: bytes, label: str) -> None:
    assert declared_label(header) == label
