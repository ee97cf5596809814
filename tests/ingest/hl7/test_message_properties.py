"""Goal: any bytes are read or refused, and well-formed messages read as an independent parser reads them."""

import contextlib
import string

import hl7
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.hl7.charset import resolve_charset
from services.ingest.hl7.delimiters import DEFAULT_DELIMITERS, Hl7SyntaxError, escape
from services.ingest.hl7.message import Message, parse
from services.ingest.hl7.segment import FINDINGS_MAX, NULL, Segment
from services.ingest.hl7.timestamps import parse_timestamp

_HEADER = b"MSH|^~\\&|APP|FAC|RCV|RFAC|20261124083015||ADT^A01|C1|P|2.5||||||"
_bytes_near_hl7 = st.lists(
    st.sampled_from(
        [
            b"MSH",
            *(bytes([byte]) for byte in b'|^~\\&#\r\n\x0b\x1c\x1b\x00"FSTREX0A.$B'),
            b"MSH|^~\\&|",
            b"\rPID|1||",
            b"\nPV1|",
            b"msh",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"\xe9",
            "é".encode(),
            b"||||||||||||||||8859/1",
            b"UNICODE UTF-8",
        ]
    ),
    max_size=40,
).map(b"".join)


def _read_everything(message: Message) -> None:
    for segment in message:
        assert message.first(segment.id) is not None
        assert segment in message.all(segment.id)
        for field in range(len(segment) + 2):
            _read_field(segment, field)
    assert len(message.findings) <= FINDINGS_MAX


def _read_field(segment: Segment, field: int) -> None:
    for component in range(4):
        for subcomponent in range(3):
            for repetition in range(3):
                value = segment.value(field, component, subcomponent, repetition)
                assert value is None or value is NULL or value
    assert isinstance(segment.is_null(field), bool)
    assert len(segment.repetitions(field)) <= len(segment.field(field)) + 1
    parse_timestamp(segment.component(field))


@given(
    st.one_of(st.binary(max_size=200), _bytes_near_hl7, st.builds(_HEADER.__add__, _bytes_near_hl7)),
    st.sampled_from([None, "UTF-8", "8859/1", "~ISO IR87", "nothing known"]),
)
def test_any_bytes_are_read_or_refused_and_nothing_else(raw: bytes, override: str | None) -> None:
    with contextlib.suppress(Hl7SyntaxError):
        message = parse(raw, charset_override=override)
        assert message.raw is raw
        _read_everything(message)


@given(st.binary(max_size=200))
def test_whatever_follows_a_good_header_is_read(tail: bytes) -> None:
    message = parse(_HEADER + b"\r" + tail)
    assert message.header.value(10) == "C1"
    _read_everything(message)


_plain = st.text(string.ascii_letters + string.digits + " .-/'\"é", max_size=8)
_subcomponents = st.lists(_plain, min_size=1, max_size=3).map("&".join)
_components = st.lists(_subcomponents, min_size=1, max_size=4).map("^".join)
_fields = st.lists(_components, min_size=1, max_size=3).map("~".join)
_segments = st.builds(
    lambda name, fields: "|".join([name, *fields]),
    st.sampled_from(["PID", "PV1", "NK1", "OBX", "ZZ1"]),
    # python-hl7 takes trailing white space off a message, so the last field has none
    st.lists(_fields, max_size=6).map(lambda fields: [*fields, "end"]),
)


@given(st.lists(_segments, min_size=1, max_size=6), st.sampled_from(["\r", "\n"]))
def test_a_well_formed_message_reads_as_python_hl7_reads_it(lines: list[str], end: str) -> None:
    text = end.join((_HEADER.decode() + "UNICODE UTF-8", *lines))
    ours = list(parse(text.encode()))
    theirs = hl7.parse("\r".join(text.split(end)))
    assert [segment.id for segment in ours] == [str(segment[0]) for segment in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert [our.field(field) for field in range(1, len(our) + 1)] == [str(field) for field in their[1:]]
    for name in {segment.id for segment in ours} - {"MSH"}:
        for number, segment in enumerate(parse(text.encode()).all(name), 1):
            _compare_fields(segment, theirs, number)


def _compare_fields(segment: Segment, theirs: hl7.Message, number: int) -> None:
    for field in range(1, len(segment) + 1):
        for repetition, text in enumerate(segment.repetitions(field)):
            for component, part in enumerate(text.split("^"), 1):
                for subcomponent in range(1, part.count("&") + 2):
                    their = theirs.extract_field(segment.id, number, field, repetition + 1, component, subcomponent)
                    our = segment.value(field, component, subcomponent, repetition)
                    assert ('""' if our is NULL else our or "") == their


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_any_text_written_escaped_is_read_back(texts: list[str]) -> None:
    fields = "|".join(escape(text, DEFAULT_DELIMITERS) for text in texts)
    message = parse(_HEADER + b"UNICODE UTF-8\rZZZ|" + fields.encode(errors="replace") + b"\r")
    segment = message.first("ZZZ")
    assert segment is not None
    assert len(segment) == len(texts)
    for field, text in enumerate(texts, 1):
        value = segment.value(field)
        assert ('""' if value is NULL else value) == text.encode(errors="replace").decode()
    assert not [finding for finding in message.findings if finding.code.startswith("escape")]


_labels = st.sampled_from(["8859/1", "8859/2", "8859/5", "UNICODE UTF-8", "~ISO IR87", "GB 18030-2000", "BIG-5"])


@given(_labels, st.text("AZ az|^~\\&äöŁŻЖя万田張偉功能育", max_size=12))
def test_text_of_any_charset_survives_with_its_delimiters(label: str, text: str) -> None:
    codec = resolve_charset(label)
    assert codec is not None
    name = text.encode(codec, errors="ignore").decode(codec)
    written = escape(name, DEFAULT_DELIMITERS)
    raw = f"{_HEADER.decode()}{label}\rPID|1||12||{written}^end\r".encode(codec)
    message = parse(raw)
    patient = message.first("PID")
    assert patient is not None
    if message.charset == codec:  # not where the bytes happen to be valid UTF-8, which is then a finding
        assert patient.component(5) == name
        assert message.findings == ()
    else:
        assert [finding.code for finding in message.findings] == ["charset-mismatch"]
    assert patient.value(5, 2) == "end"
