"""Goal: one honest answer in the sender's own form, which nothing that a sender wrote can turn into another.

python-hl7 reads the answers as an independent client would; hl7apy checks them against the structures of five versions.
"""

from datetime import datetime, timedelta, timezone

import hl7
import hl7apy.core
import hl7apy.parser
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.hl7.ack import (
    ERROR_TEXTS,
    AckCode,
    AckError,
    build_ack,
    build_bare_refusal,
)
from services.ingest.hl7.delimiters import DEFAULT_DELIMITERS, Hl7SyntaxError, unescape
from services.ingest.hl7.message import parse

SENT_AT = datetime(2026, 11, 24, 8, 30, 15, tzinfo=timezone(-timedelta(hours=6)))
MISSING = AckError(code="101", location="PID-3")
_ERR_OF_MISSING = "ERR||PID^1^3|101^Required field missing^HL70357|E"


def _message(
    version: str = "2.5.1", *, control_id: str = "MSG1", kind: str = "ADT^A01^ADT_A01", tail: str = ""
) -> bytes:
    return (
        f"MSH|^~\\&|EPIC^1.2^ISO|MERCY&X|AFTER|PRACTICE^9|20261124||{kind}|{control_id}|P^T|{version}\rPID|1\r"
    ).encode()


def _ack(raw: bytes, code: AckCode = "AA", error: AckError | None = None, text: str | None = None) -> bytes:
    return build_ack(parse(raw), code=code, control_id="OURS1", sent_at=SENT_AT, error=error, text=text)


def test_an_acceptance_addresses_the_sender_and_echoes_what_it_sent() -> None:
    assert _ack(_message()) == (
        b"MSH|^~\\&|AFTER|PRACTICE^9|EPIC^1.2^ISO|MERCY&X|20261124083015-0600||ACK^A01|OURS1|P^T|2.5.1\rMSA|AA|MSG1\r"
    )


def test_a_refusal_says_why_and_where() -> None:
    error = AckError(code="101", location="PID-3", text="no identifier | name")
    assert _ack(_message(), "AE", error, "Refused & parked").splitlines()[1:] == [
        rb"MSA|AE|MSG1|Refused \T\ parked",
        rb"ERR||PID^1^3|101^Required field missing^HL70357|E||||no identifier \F\ name",
    ]


@pytest.mark.parametrize(
    ("version", "err"),
    [
        ("2.1", b"ERR|PID^1^3^101&Required field missing&HL70357"),
        ("2.3", b"ERR|PID^1^3^101&Required field missing&HL70357"),
        ("2.3.1", b"ERR|PID^1^3^101&Required field missing&HL70357"),
        ("2.4", b"ERR|PID^1^3^101&Required field missing&HL70357"),
        ("2.4^USA^X", b"ERR|PID^1^3^101&Required field missing&HL70357"),
        (" 2.4 ", b"ERR|PID^1^3^101&Required field missing&HL70357"),
        ("2.5", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
        ("2.5^USA", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
        ("2.5.1", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
        ("2.9", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
        ("2.10", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
        ("9.9", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
        ("", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
        ("unknown", b"ERR||PID^1^3|101^Required field missing^HL70357|E"),
    ],
)
def test_the_form_of_err_follows_the_version_which_is_echoed_as_sent(version: str, err: bytes) -> None:
    answer = _ack(_message(version), "AR", MISSING)
    assert answer.split(b"\r")[2] == err
    assert answer.split(b"\r")[0].split(b"|")[11] == version.encode()


@pytest.mark.parametrize(
    ("location", "old", "new"),
    [
        ("PID-3", b"PID^1^3^", b"PID^1^3"),
        ("NK1[2]-5", b"NK1^2^5^", b"NK1^2^5"),
        ("PV1", b"PV1^1^^", b"PV1^1"),
        ("PV1[3]", b"PV1^3^^", b"PV1^3"),
        (None, b"^^^", b""),
        ("somewhere | else", b"^^^", b""),
    ],
)
def test_the_place_of_an_error_is_written_in_both_forms(location: str | None, old: bytes, new: bytes) -> None:
    error = AckError(code="207", location=location)
    assert _ack(_message("2.3"), "AE", error).split(b"\r")[2] == (
        b"ERR|" + old + b"207&Application internal error&HL70357"
    )
    assert _ack(_message("2.6"), "AE", error).split(b"\r")[2] == (
        b"ERR||" + new + b"|207^Application internal error^HL70357|E"
    )


@pytest.mark.parametrize("code", [*ERROR_TEXTS, "999"])
def test_every_code_of_the_table_has_its_words_and_any_other_none(code: str) -> None:
    words = ERROR_TEXTS.get(code, "")
    answer = _ack(_message(), "AE", AckError(code=code)).decode()
    assert f"|{code}^{words}^HL70357|E" in answer


@pytest.mark.parametrize(
    ("kind", "answered"),
    [
        ("ADT^A01^ADT_A01", b"ACK^A01"),
        ("ADT^A08", b"ACK^A08"),
        ("ADT", b"ACK"),
        ("ADT^", b"ACK"),
        ("ADT^^ADT_A01", b"ACK"),
        ("", b"ACK"),
        ("ADT^A01~ADT^A02", b"ACK^A01"),
        ("ADT~ADT^A02", b"ACK"),
        ("ACK^A01^ACK", b"ACK^A01"),
    ],
)
def test_the_answer_names_the_event_it_answers(kind: str, answered: bytes) -> None:
    assert _ack(_message(kind=kind)).split(b"|")[8] == answered


@pytest.mark.parametrize(
    "control_id",
    [
        "MSG1",
        "",
        " 1 ",
        "00001",
        r"A\T\B",
        r"A\F\B\E\ ",
        "A^B&C~D",
        "half\\",
        '""',
        "{6AF4DC6C-5BF1}",
        "x" * 199,
        "id|",
    ],
)
def test_the_control_id_comes_back_exactly_as_it_was_sent(control_id: str) -> None:
    raw = _message(control_id=control_id)
    assert _ack(raw).split(b"\r")[1] == b"MSA|AA|" + control_id.split("|", maxsplit=1)[0].encode()


def test_a_message_cut_off_after_its_type_is_answered_with_what_it_has() -> None:
    assert _ack(b"MSH|^~\\&|APP|FAC") == b"MSH|^~\\&|||APP|FAC|20261124083015-0600||ACK|OURS1||\rMSA|AA|\r"


def test_the_answer_uses_the_delimiters_of_the_sender() -> None:
    raw = b"MSH#!@%*$#EPIC#MERCY#AFTER#PRACTICE#2026##ADT!A01#M%S%1#P#2.5\r"
    error = AckError(code="102", location="PID-7", text="a#b!c|d")
    assert _ack(raw, "AE", error) == (
        b"MSH#!@%*$#AFTER#PRACTICE#EPIC#MERCY#20261124083015-0600##ACK!A01#OURS1#P#2.5\r"
        b"MSA#AE#M%S%1\r"
        b"ERR##PID!1!7#102!Data type error!HL70357#E####a%F%b%S%c|d\r"
    )


@pytest.mark.parametrize(
    ("sent", "answered"), [(rb"^~&", rb"^~\&"), (rb"^", rb"^~\&"), (rb"^~\\&", rb"^~\&"), (rb"^~\&#", rb"^~\&#")]
)
def test_encoding_characters_are_completed_in_the_answer(sent: bytes, answered: bytes) -> None:
    answer = _ack(b"MSH|" + sent + b"|A|B|C|D|2026||ADT^A01|1|P|2.5\r")
    assert answer.startswith(b"MSH|" + answered + b"|C|D|A|B|")


@pytest.mark.parametrize(
    ("label", "codec", "application"),
    [
        ("UNICODE UTF-8", "utf-8", "Zoë-山田"),
        ("8859/1", "latin-1", "Zoë"),
        ("8859/15", "iso8859-15", "Zoë €"),
        ("~ISO IR87", "iso2022_jp", "万田"),
        ("GB 18030-2000", "gb18030", "張偉"),
        ("BIG-5", "cp950", "育功"),
        ("8859/1", "utf-8", "Zoë"),
        ("UNICODE UTF-16", "utf-16", "Zoë"),
        ("KLINGON", "utf-8", "Zoë"),
    ],
)
def test_the_answer_is_in_the_charset_of_the_message_and_names_it_as_sent(
    label: str, codec: str, application: str
) -> None:
    raw = f"MSH|^~\\&|{application}|B|C|D|2026||ADT^A01|1{application}|P|2.5||||||{label}\r".encode(codec)
    assert _ack(raw).decode(codec) == (
        f"MSH|^~\\&|C|D|{application}|B|20261124083015-0600||ACK^A01|OURS1|P|2.5||||||{label}\rMSA|AA|1{application}\r"
    )


def test_undeclared_text_is_answered_in_its_own_bytes_and_no_charset_is_named() -> None:
    raw = "MSH|^~\\&|Zoë|B|C|D|2026||ADT^A01|1|P|2.5\r".encode("latin-1")
    assert _ack(raw) == b"MSH|^~\\&|C|D|Zo\xeb|B|20261124083015-0600||ACK^A01|OURS1|P|2.5\rMSA|AA|1\r"


def test_words_of_ours_that_the_charset_lacks_are_replaced_and_never_fail() -> None:
    assert b"MSA|AE|MSG1|caf?\r" in _ack(_message(), "AE", MISSING, "café")


@pytest.mark.parametrize("mischief", ["\x0b", "\x1c", "\x00", "\x1b[31m", "\x85", "\u2028", "\n"])
def test_a_control_character_in_the_header_cannot_end_a_line_or_a_frame(mischief: str) -> None:
    raw = f"MSH|^~\\&|A{mischief}|B|C|D|2026||ADT^A01|1{mischief}|P|2.5||||||UNICODE UTF-8\rPID|1\r".encode()
    answer = _ack(raw)
    head, answered, rest = answer.decode().split("\r")
    assert head.split("|")[4].startswith("A")
    assert answered.startswith("MSA|AA|1")
    assert rest == ""
    assert (head + answered).isprintable()
    assert b"\x1c" not in answer


_header_text = st.text(
    st.characters(exclude_characters="|.", exclude_categories=["Cs"]) | st.sampled_from("\r\n\x0b\x1c^~\\&"),
    max_size=12,
)


@given(st.lists(_header_text, min_size=16, max_size=16), st.sampled_from(["", "UNICODE UTF-8", "8859/1", "~ISO IR87"]))
def test_nothing_in_a_header_can_forge_a_segment_or_a_field_of_the_answer(fields: list[str], label: str) -> None:
    raw = ("MSH|^~\\&|" + "|".join((*fields[:15], label)) + "\r").encode()
    message = parse(raw)
    answer = build_ack(message, code="AR", control_id="OURS1", sent_at=SENT_AT, error=MISSING)
    text = answer.decode(message.charset)
    assert text.endswith("\r")
    head, answered, error, rest = text.split("\r")
    assert (head[:4], answered[:7], error, rest) == ("MSH|", "MSA|AR|", _ERR_OF_MISSING, "")
    assert answered.count("|") == 2
    assert head.count("|") in (11, 17)
    assert not any(mark in text for mark in "\n\x00\x0b\x0c\x1b\x1c\x7f\x85\u2028\u2029")


@given(st.binary(max_size=200), st.sampled_from(["AA", "AE", "AR"]))
def test_whatever_can_be_read_can_be_answered(tail: bytes, code: AckCode) -> None:
    try:
        message = parse(b"MSH|^~\\&|A|B|C|D|" + tail)
    except Hl7SyntaxError:
        pytest.fail("a message with a good header is readable")
    answer = build_ack(message, code=code, control_id="OURS1", sent_at=SENT_AT, error=MISSING, text="x")
    text = answer.decode(message.charset)
    assert text.count("\r") == 3
    assert text.split("\r")[0].split("|")[2:6] == ["C", "D", "A", "B"]


def test_what_has_no_header_is_refused_in_the_usual_form() -> None:
    error = AckError(code="100", location="MSH-2", text="two separators are the same character")
    answer = build_bare_refusal(control_id="OURS1", sent_at=SENT_AT, error=error, text="separators-clash & more")
    assert answer == (
        b"MSH|^~\\&|||||20261124083015-0600||ACK|OURS1|P|2.5.1\r"
        b"MSA|AR||separators-clash \\T\\ more\r"
        b"ERR||MSH^1^2|100^Segment sequence error^HL70357|E||||two separators are the same character\r"
    )


def test_a_bare_refusal_needs_no_words() -> None:
    answer = build_bare_refusal(control_id="OURS1", sent_at=SENT_AT, error=AckError(code="100"), code="AE")
    assert answer.split(b"\r")[1:] == [b"MSA|AE|", b"ERR|||100^Segment sequence error^HL70357|E", b""]


def test_a_time_without_an_offset_is_a_mistake_of_ours() -> None:
    naive = SENT_AT.replace(tzinfo=None)
    with pytest.raises(AssertionError):
        build_ack(parse(_message()), code="AA", control_id="X", sent_at=naive)
    with pytest.raises(AssertionError):
        build_bare_refusal(control_id="X", sent_at=naive, error=MISSING)


def test_an_independent_client_reads_the_answer() -> None:
    answer = hl7.parse(_ack(_message(control_id=r"A\T\B"), "AE", MISSING, "a|b"))
    assert hl7.ishl7(str(answer))
    assert str(answer.segment("MSA")(2)) == r"A\T\B"
    assert answer.extract_field("MSA", 1, 2, 1, 1, 1) == "A&B"
    assert unescape(str(answer.segment("MSA")(3)), DEFAULT_DELIMITERS, "ascii") == ("a|b", ())
    assert str(answer.segment("ERR")(3)) == "101^Required field missing^HL70357"


@pytest.mark.parametrize("version", ["2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize(
    ("code", "error"), [("AA", None), ("AE", MISSING), ("AR", AckError(code="200", location="MSH-9", text="why"))]
)
def test_the_answer_conforms_to_the_structure_of_its_version(
    version: str, code: AckCode, error: AckError | None
) -> None:
    raw = f"MSH|^~\\&|EPIC|MERCY|AFTER|PRACTICE|20261124||ADT^A01|MSG1|P|{version}\rPID|1\r".encode()
    answer = build_ack(parse(raw), code=code, control_id="OURS1", sent_at=SENT_AT, error=error, text="why").decode()
    if version == "2.6":  # it requires the structure in MSH-9.3 too, which we leave out in every version
        answer = answer.replace("|ACK^A01|", "|ACK^A01^ACK|")
    checked = hl7apy.core.Message("ACK", version=version, validation_level=VALIDATION_LEVEL.STRICT)
    checked.children = hl7apy.parser.parse_segments(answer, version=version, validation_level=VALIDATION_LEVEL.STRICT)
    assert checked.validate()
    assert checked.msa.msa_1.value == code
    assert checked.msa.msa_2.value == "MSG1"
