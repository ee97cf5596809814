"""Goal: whatever has a header is read, what was odd about it is reported, and nothing of another message slips in."""

import time

import pytest

from services.ingest.hl7.delimiters import Hl7SyntaxError
from services.ingest.hl7.message import Message, parse
from services.ingest.hl7.segment import NULL

HEADER = "MSH|^~\\&|APP|FAC|RCV|RFAC|20261124083015-0600||ADT^A01^ADT_A01|MSG1|P|2.5.1"
PID = "PID|1||12^^^MERCY^MR||Doe^Jane||19480312|F"
PV1 = "PV1|1|I"


def _codes(message: Message) -> list[str]:
    return [finding.code for finding in message.findings]


def _labeled(label: str, patient: str, codec: str) -> bytes:
    return f"{HEADER}||||||{label}\rPID|1||12||{patient}\r".encode(codec)


def test_a_clean_message_is_read_without_findings() -> None:
    raw = f"{HEADER}\r{PID}\r{PV1}\r".encode()
    message = parse(raw)
    assert message.raw is raw
    assert message.findings == ()
    assert message.charset == "ascii"
    assert [segment.id for segment in message] == ["MSH", "PID", "PV1"]
    assert message.first("MSH") is message.header
    patient = message.first("PID")
    assert patient is not None
    assert message.first("PID") is patient
    assert patient.value(5, 2) == "Jane"
    assert message.first("OBX") is None
    assert message.all("OBX") == ()


def test_segments_of_one_name_keep_their_order_and_number() -> None:
    message = parse(f"{HEADER}\rNK1|1|A\rPV1|1\rNK1|2|B\r".encode())
    assert [segment.field(2) for segment in message.all("NK1")] == ["A", "B"]
    assert [segment.locate(2) for segment in message.all("NK1")] == ["NK1-2", "NK1[2]-2"]
    assert [segment.field(2) for segment in message] == ["^~\\&", "A", "", "B"]


@pytest.mark.parametrize("separator", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_segments_end_with_cr_lf_or_crlf_and_the_last_need_not(separator: str, last: bool) -> None:
    text = separator.join((HEADER, PID, PV1)) + (separator if last else "")
    message = parse(text.encode())
    assert [segment.id for segment in message] == ["MSH", "PID", "PV1"]
    expected = {"\r": [], "\n": ["line-ends-lf"], "\r\n": ["line-ends-crlf"]}
    assert _codes(message) == expected[separator]


@pytest.mark.parametrize(
    "body",
    [
        f"{HEADER}\r{PID}\n{PV1}\r\n",
        f"{HEADER}\r\n{PID}\n{PV1}",
        f"{HEADER}\r\n{PID}\r{PV1}",
        f"{HEADER}\n{PID}\r{PV1}\n\r",
        f"{HEADER}\r{PID}\n  {PV1}\n",
        f"{HEADER}\r{PID}\npv1|1|I\n",
        f"{HEADER}\r{PID}\n  \r{PV1}\r",
    ],
)
def test_mixed_line_ends_are_read(body: str) -> None:
    message = parse(body.encode())
    assert [segment.id for segment in message] == ["MSH", "PID", "PV1"]
    assert "line-ends-mixed" in _codes(message)


def test_a_line_feed_within_a_field_is_text_where_segments_end_with_cr() -> None:
    message = parse(f"{HEADER}\rOBX|1|TX|N||first\nsecond line|||F\n\r{PV1}\r".encode())
    text = message.first("OBX")
    assert text is not None
    assert (text.value(5), text.value(8)) == ("first\nsecond line", "F")
    assert _codes(message) == ["line-ends-mixed", "line-break-in-field", "blank-line"]


@pytest.mark.parametrize(
    ("line", "code", "where"),
    [
        ("", "blank-line", None),
        ("   ", "blank-line", None),
        ("\x1c", "stray-framing", None),
        ("\x0b", "stray-framing", None),
        ("junk", "junk-line", None),
        ("PIDX|1|x", "junk-line", None),
        ("PV|1|x", "junk-line", None),
        ("1ID|1|x", "junk-line", None),
        ("||E|||x", "junk-line", None),
        ("PID^1^x", "junk-line", None),
        ("ÄBC|1", "junk-line", None),
        ("Z.1|x", "junk-line", None),
        ("A_B|x", "junk-line", None),
    ],
)
def test_a_line_that_is_no_segment_is_left_out_and_found(line: str, code: str, where: str | None) -> None:
    message = parse(f"{HEADER}||||||UTF-8\r{line}\r{PID}\r".encode())
    assert [segment.id for segment in message] == ["MSH", "PID"]
    assert [(finding.code, finding.where) for finding in message.findings] == [(code, where)]


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("  PID|1||9", ["segment-indented"]),
        ("\t PID|1||9", ["segment-indented"]),
        ("\x0bPID|1||9", ["segment-indented"]),
        ("pid|1||9", ["segment-id-lower-case"]),
        (" Pid|1||9", ["segment-indented", "segment-id-lower-case"]),
    ],
)
def test_an_indented_or_lower_case_segment_is_read_and_found(line: str, codes: list[str]) -> None:
    message = parse(f"{HEADER}\r{line}\r".encode())
    patient = message.first("PID")
    assert patient is not None
    assert (patient.id, patient.value(3)) == ("PID", "9")
    assert [segment.id for segment in message] == ["MSH", "PID"]
    assert [(finding.code, finding.where) for finding in message.findings] == [(code, "PID") for code in codes]


def test_a_segment_without_fields_is_a_segment() -> None:
    message = parse(f"{HEADER}\rPID\r{PV1}\r".encode())
    assert [segment.id for segment in message] == ["MSH", "PID", "PV1"]
    assert message.findings == ()


@pytest.mark.parametrize("second", [HEADER, "MSH#^~\\&#B", "  msh|^~\\&|B", "MSH"])
def test_a_second_message_in_the_frame_does_not_mix_with_the_first(second: str) -> None:
    message = parse(f"{HEADER}\r{PID}\r{second}\rPID|1||99\rNK1|1|Other\r".encode())
    assert [segment.id for segment in message] == ["MSH", "PID"]
    assert len(message.all("PID")) == 1
    assert message.all("NK1") == ()
    assert _codes(message) == ["several-messages"]


@pytest.mark.parametrize(
    ("leading", "codes"),
    [
        (b"\xef\xbb\xbf", ["byte-order-mark"]),
        (b" \t", ["leading-whitespace"]),
        (b"\r\n", ["leading-whitespace"]),
        (b"\x0b", ["stray-framing"]),
        (b"\x1c\r\x0b", ["stray-framing", "leading-whitespace"]),
        (b"\xef\xbb\xbf\x0b\n", ["byte-order-mark", "stray-framing", "leading-whitespace"]),
    ],
)
def test_what_stands_before_the_header_is_left_out_and_found(leading: bytes, codes: list[str]) -> None:
    raw = leading + f"{HEADER}\r{PID}\r".encode()
    message = parse(raw)
    assert message.raw is raw
    assert message.header.value(10) == "MSG1"
    assert _codes(message) == codes


@pytest.mark.parametrize("trailing", [b"\x1c", b"\x1c\r", b"\r\x1c\r\x1c\r"])
def test_framing_after_the_message_is_left_out_and_found(trailing: bytes) -> None:
    message = parse(f"{HEADER}\rMSA|AA|87".encode() + trailing)
    answer = message.first("MSA")
    assert answer is not None
    assert answer.value(2) == "87"
    assert _codes(message) == ["stray-framing"]


def test_a_lower_case_header_is_read_and_found() -> None:
    message = parse(f"msh{HEADER[3:]}\r{PID}\r".encode())
    assert message.header.value(10) == "MSG1"
    assert [segment.id for segment in message] == ["MSH", "PID"]
    assert _codes(message) == ["segment-id-lower-case"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "message-empty"),
        (b" \r\n", "message-empty"),
        (b"\x0b\x1c\r", "message-empty"),
        (b"GET / HTTP/1.1\r\n\r\n", "header-missing"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "header-missing"),
        (b'{"resourceType": "Patient"}', "header-missing"),
        (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>', "header-missing"),
        (b"PID|1||12\r", "header-missing"),
        (b"junk\rMSH|^~\\&|A\r", "header-missing"),
        (b"MS", "header-missing"),
        (b"\xff\xfe\x00", "charset-undecodable"),
        ("\ufeffPID|1".encode("utf-16-le"), "header-missing"),
        (b"FHS|^~\\&|A\rBHS|^~\\&|A\rMSH|^~\\&|A\r", "batch-envelope"),
        (b"BHS|^~\\&|A\r", "batch-envelope"),
        (b"MSH", "separators-missing"),
        (b"msh", "separators-missing"),
        (b"\x0bMSH", "separators-missing"),
        (b"\x0bMSH\r\xff", "separators-missing"),
        ("MSH".encode("utf-16"), "separators-missing"),
        (b"MSH\rPID|1", "separators-missing"),
        (b"MSH|\r", "separators-missing"),
        (b"MSHH0", "separators-illegal"),
        (b"MSH|||||||||", "separators-missing"),
        (b"MSH||||||||ADT^A01|1", "separators-clash"),
        (b"MSH|^~^&|A", "separators-clash"),
        (b"MSH|abcd|A", "separators-illegal"),
        (b"MSH|" + b"!" * 500_000 + b"|A", "separators-clash"),
        (b"MSH\x1f^~\\&\x1fA", "separators-illegal"),
        ("MSH§^~\\&§A".encode(), "separators-illegal"),
    ],
)
def test_what_has_no_readable_header_is_refused_with_code_and_place(raw: bytes, code: str) -> None:
    with pytest.raises(Hl7SyntaxError) as caught:
        parse(raw)
    assert caught.value.code == code
    assert caught.value.location.startswith("MSH")
    assert caught.value.text


def test_short_encoding_characters_are_completed_and_found() -> None:
    message = parse(b"MSH|^~&|APP||||||ADT^A01|1\rPID|1||A~B\\T\\C\r")
    patient = message.first("PID")
    assert patient is not None
    assert patient.value(3, repetition=1) == "B&C"
    assert [(finding.code, finding.where) for finding in message.findings] == [("encoding-characters-short", "MSH-2")]


def test_the_input_on_which_another_parser_hangs_is_read_at_once() -> None:
    started = time.process_time()
    message = parse(b"MSH|^|||||||^A|||2.2\r^AA")
    assert time.process_time() - started < 0.1
    assert message.header.value(9, 2) == "A"
    assert message.header.value(12) == "2.2"
    assert _codes(message) == ["encoding-characters-short", "junk-line"]


def test_null_is_kept_apart_from_empty() -> None:
    message = parse(f'{HEADER}\rPV1|1||""\r'.encode())
    visit = message.first("PV1")
    assert visit is not None
    assert (visit.value(2), visit.value(3), visit.is_null(3)) == (None, NULL, True)


@pytest.mark.parametrize(
    ("raw", "name", "charset", "codes"),
    [
        (_labeled("UNICODE UTF-8", "Müller^Zoë", "utf-8"), "Müller", "utf-8", []),
        (_labeled("8859/1", "Müller^Zoë", "latin-1"), "Müller", "iso8859-1", []),
        (_labeled("8859/1", "Müller^Zoë", "utf-8"), "Müller", "utf-8", ["charset-mismatch"]),
        (_labeled("UNICODE UTF-8", "Müller^Zoë", "latin-1"), "Müller", "cp1252", ["charset-mismatch"]),
        (_labeled("", "Müller^Zoë", "utf-8"), "Müller", "utf-8", ["charset-guessed"]),
        (_labeled("", "Müller^Zoë", "latin-1"), "Müller", "cp1252", ["charset-guessed"]),
        (_labeled("8859/1", "Muller", "ascii"), "Muller", "iso8859-1", []),
        (_labeled("NONE", "Muller", "ascii"), "Muller", "ascii", ["charset-unknown"]),
        (_labeled("NONE", "Müller", "utf-8"), "Müller", "utf-8", ["charset-unknown", "charset-guessed"]),
        (_labeled("~ISO IR87", "万田^太郎", "iso2022_jp"), "万田", "iso2022_jp_ext", []),
        (_labeled("", "万田^太郎", "iso2022_jp"), "万田", "iso2022_jp_ext", ["charset-guessed"]),
        (_labeled("GB 18030-2000", "張偉", "gb18030"), "張偉", "gb18030", []),
        (_labeled("BIG-5", "育功", "cp950"), "育功", "cp950", []),
        (b"\xef\xbb\xbf" + _labeled("8859/1", "Müller", "utf-8"), "Müller", "utf-8", ["byte-order-mark"]),
        (_labeled("UNICODE UTF-16", "Müller", "utf-16"), "Müller", "utf-16", ["byte-order-mark"]),
        (_labeled("", "Müller", "utf-16-le"), "Müller", "utf-16-le", []),
        (_labeled("", "Müller", "utf-16-be"), "Müller", "utf-16-be", []),
        (_labeled("", "Müller", "utf-32"), "Müller", "utf-32", ["byte-order-mark"]),
        (b"\r\n" + _labeled("", "Müller", "utf-16"), "Müller", "utf-16", ["leading-whitespace", "byte-order-mark"]),
    ],
)
def test_text_is_decoded_before_it_is_split(raw: bytes, name: str, charset: str, codes: list[str]) -> None:
    message = parse(raw)
    patient = message.first("PID")
    assert patient is not None
    assert patient.value(5) == name
    assert message.charset == charset
    assert _codes(message) == codes
    assert all(finding.where == "MSH-18" for finding in message.findings if finding.code.startswith("charset"))
    assert message.raw is raw


@pytest.mark.parametrize(
    ("override", "data", "name", "codes"),
    [
        ("8859/2", "Ż".encode("iso8859-2"), "Ż", []),
        ("WINDOWS-1250", "ś".encode("cp1250"), "ś", []),
        ("UTF-8", b"\xff", "ÿ", ["charset-mismatch"]),
        ("NONE", b"x", "x", ["charset-unknown"]),
        ("8859/2", b"x", "x", []),
    ],
)
def test_a_feed_can_override_the_declared_charset(override: str, data: bytes, name: str, codes: list[str]) -> None:
    raw = _labeled("8859/1", "?", "ascii").replace(b"?", data)
    message = parse(raw, charset_override=override)
    patient = message.first("PID")
    assert patient is not None
    assert patient.value(5) == name
    assert _codes(message) == codes


def test_double_byte_text_in_the_header_does_not_shift_its_fields() -> None:
    text = "MSH|^~\\&|万^育|FAC|||||ADT^A01|C1|P|2.5||||||~ISO IR87||ISO 2022-1994\rPID|1||7\r"
    message = parse(text.encode("iso2022_jp"))
    assert message.header.value(3) == "万"
    assert message.header.value(10) == "C1"
    assert message.findings == ()


HOSTILE = {
    "50,000 Z segments": HEADER + "".join(f"\rZ{number % 1000:03d}"[:4] + "|x|y" for number in range(50_000)),
    "50,000 indented segments": HEADER + "\r  ZZZ|x|y" * 50_000,
    "50,000 junk lines": HEADER + "\rjunk" * 50_000,
    "a million blank lines": HEADER + "\r" * 1_000_000 + PID,
    "a million mixed line ends": HEADER + "\r\n\n" * 330_000 + PID,
    "a million spaces after a line feed": HEADER + "\r" + PID + "\n" + " " * 1_000_000 + "x",
    "200,000 empty fields": f"{HEADER}\rZZZ" + "|" * 200_000,
    "10,000 repetitions": f"{HEADER}\rPID|1||" + "12^^^MERCY^MR~" * 10_000,
    "a field of 100 KB": f"{HEADER}\rOBX|1|TX|N||" + "x" * 100_000,
    "a field of 1 MB of escapes": f"{HEADER}\rOBX|1|TX|N||" + r"\T\ " * 250_000,
    "a header of 1 MB": HEADER + "^" * 1_000_000,
    "500,000 line feeds within a field": f"{HEADER}\r{PID}" + "\nx" * 500_000,
    "a million line feeds in a row": f"{HEADER}\r{PID}" + "\n" * 1_000_000 + "x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_in_linear_time_and_bounded_memory(name: str) -> None:
    raw = HOSTILE[name].encode()
    started = time.process_time()
    message = parse(raw)
    for segment in message:
        segment.value(2)
        segment.value(3, repetition=9_999)
        segment.value(5)
        segment.is_null(3)
    # Some 50 ms on a quiet machine; a quadratic reader takes minutes.
    assert time.process_time() - started < 3
    assert len(message.findings) <= 100
