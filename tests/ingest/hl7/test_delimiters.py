"""Goal: legal delimiters are honored however unusual, a clash is refused, and no text breaks the escape rules."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.hl7.delimiters import (
    DEFAULT_DELIMITERS,
    ESCAPED_LINES_MAX,
    Delimiters,
    Hl7SyntaxError,
    escape,
    read_delimiters,
    unescape,
)

MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def _read(header: str) -> tuple[Delimiters, str | None]:
    separator = header[3:4]
    encoding, _, rest = header[4:].partition(separator or "|")
    return read_delimiters(separator, encoding, rest)


@pytest.mark.parametrize(
    ("header", "expected", "finding"),
    [
        (r"MSH|^~\&|APP", r"|^~\&", None),
        (r"MSH|^~\&#|APP", r"|^~\&#", None),
        ("MSH#!@%*#APP", "#!@%*", None),
        (r"MSH|^~\$|APP", r"|^~\$", None),
        ("MSH|^~`&|APP", "|^~`&", None),
        ("MSH|^&~\\|APP", "|^&~\\", None),
        ("MSH:-+?*:APP", ":-+?*", None),
        # too short: a usual character keeps its usual role
        (r"MSH|^|APP", r"|^~\&", "encoding-characters-short"),
        (r"MSH|^~|APP", r"|^~\&", "encoding-characters-short"),
        ("MSH|^~\\|APP", r"|^~\&", "encoding-characters-short"),
        (r"MSH|^~&|APP", r"|^~\&", "encoding-characters-short"),
        (r"MSH|^\&|APP", r"|^~\&", "encoding-characters-short"),
        (r"MSH|~\&|APP", r"|^~\&", "encoding-characters-short"),
        (r"MSH|@|APP", r"|@~\&", "encoding-characters-short"),
        (r"MSH|!@|APP", r"|!@\&", "encoding-characters-short"),
        (r"MSH|^~\ |APP", r"|^~\&", "encoding-characters-short"),
        (r"MSH||APP", r"|^~\&", "encoding-characters-short"),
        (r"MSH||||ADT^A01", r"|^~\&", "encoding-characters-short"),
        # too long
        (r"MSH|^~\\&|APP", r"|^~\&", "encoding-characters-doubled"),
        (r"MSH|^~\&#!|APP", r"|^~\&", "encoding-characters-long"),
        (r"MSH|^~\&^|APP", r"|^~\&", "encoding-characters-long"),
    ],
)
def test_legal_delimiters_are_honored_and_missing_ones_completed(
    header: str, expected: str, finding: str | None
) -> None:
    delimiters, found = _read(header)
    assert delimiters.field + delimiters.encoding == expected
    assert found == finding
    component, repetition, escape_mark, subcomponent = tuple(expected[1:5])
    assert (delimiters.component, delimiters.repetition) == (component, repetition)
    assert (delimiters.escape, delimiters.subcomponent) == (escape_mark, subcomponent)
    assert (delimiters.truncation or "") == expected[5:]


@pytest.mark.parametrize(
    ("header", "code", "location"),
    [
        ("MSH", "separators-missing", "MSH-1"),
        ("MSH|", "separators-missing", "MSH-2"),
        ("MSH|| |", "separators-missing", "MSH-2"),
        ("MSHH0", "separators-illegal", "MSH-1"),
        ("MSH0^~\\&0", "separators-illegal", "MSH-1"),
        ("MSH ^~\\& APP", "separators-illegal", "MSH-1"),
        ("MSH\x00^~\\&\x00APP", "separators-illegal", "MSH-1"),
        ("MSH\t^~\\&\tAPP", "separators-illegal", "MSH-1"),
        ("MSH\xa6^~\\&\xa6APP", "separators-illegal", "MSH-1"),
        (r"MSH|dd\&|APP", "separators-illegal", "MSH-2"),
        ("MSH|1234|APP", "separators-illegal", "MSH-2"),
        ("MSH|^~\x07&|APP", "separators-illegal", "MSH-2"),
        (r"MSH|^ ~\&|APP", "separators-illegal", "MSH-2"),
        ("MSH||||||ADT^A01", "separators-clash", "MSH-2"),
        ("MSH^^^^^^^^^^APP", "separators-clash", "MSH-2"),
        (r"MSH|^^\&|APP", "separators-clash", "MSH-2"),
        (r"MSH|^~\^|APP", "separators-clash", "MSH-2"),
        ("MSH|^^^^|APP", "separators-clash", "MSH-2"),
        (r"MSH&^~\|APP&", "separators-illegal", "MSH-2"),
        ("MSH&^~\\&APP", "separators-clash", "MSH-2"),
    ],
)
def test_separators_that_are_missing_illegal_or_clash_are_refused(header: str, code: str, location: str) -> None:
    with pytest.raises(Hl7SyntaxError) as caught:
        _read(header)
    assert (caught.value.code, caught.value.location) == (code, location)
    assert code in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected", "findings"),
    [
        ("plain", "plain", ()),
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f", ()),
        (r"\E\\E\ ", "\\\\ ", ()),
        (r"x\E\ ".strip(), "x\\", ()),
        (r"\H\bold\N\ plain", "bold plain", ()),
        (r"one\.br\two", "one\ntwo", ()),
        (r"one\.sp\two\.sp2\three\.sp+3\four", "one\ntwo\n\nthree\n\n\nfour", ()),
        (r"a\.sk3\b\.ce\c", "a   b\nc", ()),
        (r"\.fi\a\.nf\b\.in+2\c\.in-2\d\.ti4\e", "abcde", ()),
        (r"\.sp-2\a", "a", ()),
        (r"\.sp9999\a", "\n" * ESCAPED_LINES_MAX + "a", ()),
        (r"one\X0D0A\two", "one\r\ntwo", ()),
        (r"one\X0d0a\two", "one\r\ntwo", ()),
        (r"caf\XC3A9\ ", "café ", ()),
        # looks like an escape sequence but is none of ours
        (r"\Q\ ", r"\Q\ ", ("escape-unknown",)),
        (r"\P\ ", r"\P\ ", ("escape-unknown",)),
        (r"\.zz\ ", r"\.zz\ ", ("escape-unknown",)),
        (r"\.in-\ ", r"\.in-\ ", ("escape-unknown",)),
        (r"\C2842\ ", r"\C2842\ ", ("escape-unknown",)),
        (r"\Zab1\T\Zab2\ ", r"\Zab1\T\Zab2\ ", ("escape-unknown",)),
        (r"\X\ ", r"\X\ ", ("escape-hex-malformed",)),
        (r"\X0D0\ ", r"\X0D0\ ", ("escape-hex-malformed",)),
        (r"\X0G\ ", r"\X0G\ ", ("escape-hex-malformed",)),
        (r"\XE9\ ", r"\XE9\ ", ("escape-hex-malformed",)),
        (r"\X0D0\\X0D", r"\X0D0\\X0D", ("escape-hex-malformed", "escape-lone")),
        # an escape character that its sender should have escaped
        ("half\\", "half\\", ("escape-lone",)),
        (r"half\E", r"half\E", ("escape-lone",)),
        (r"half\X0D", r"half\X0D", ("escape-lone",)),
        (r"a\b", r"a\b", ("escape-lone",)),
        (r"\\ ", r"\\ ", ("escape-lone",)),
        (r"C:\Users\Jo", r"C:\Users\Jo", ("escape-lone",)),
        (r"a\b\T\c", r"a\b&c", ("escape-lone",)),
        (r"\rtf1\T\ ", r"\rtf1& ", ("escape-lone",)),
    ],
)
def test_escape_sequences_are_resolved_and_what_is_none_is_kept(
    text: str, expected: str, findings: tuple[str, ...]
) -> None:
    assert unescape(text, DEFAULT_DELIMITERS, "utf-8") == (expected, findings)


@pytest.mark.parametrize(
    ("charset", "sequence", "expected"),
    [
        ("iso8859-1", r"\XE9\ ", "é "),
        ("utf-8", r"\XC3A9\ ", "é "),
        ("ascii", r"\XC3A9\ ", "é "),
        ("utf-16", r"\XC3A9\ ", "é "),
        ("utf-32-be", r"\X41\ ", "A "),
        ("cp932", r"\X8E52\ ", "山 "),
    ],
)
def test_hex_is_read_in_the_charset_of_the_message(charset: str, sequence: str, expected: str) -> None:
    assert unescape(sequence, DEFAULT_DELIMITERS, charset) == (expected, ())


def test_the_truncation_character_has_its_escape_where_it_is_declared() -> None:
    delimiters = Delimiters(truncation="#")
    assert unescape(r"a\P\b", delimiters, "utf-8") == ("a#b", ())
    assert escape("a#b", delimiters) == r"a\P\b"


def _delimiters_of(marks: list[str]) -> Delimiters:
    separator, component, repetition, escape_mark, subcomponent, truncation = marks
    return Delimiters(
        field=separator,
        component=component,
        repetition=repetition,
        escape=escape_mark,
        subcomponent=subcomponent,
        truncation=truncation,
    )


_any_delimiters = st.lists(st.sampled_from(MARKS), min_size=6, max_size=6, unique=True).map(_delimiters_of)


@given(st.text(), _any_delimiters)
def test_text_comes_back_from_escaping_and_cannot_break_out_of_a_field(text: str, delimiters: Delimiters) -> None:
    escaped = escape(text, delimiters)
    marks = delimiters.field + delimiters.component + delimiters.repetition + delimiters.subcomponent
    assert not re.search(rf"[{re.escape(marks)}\x00-\x1f\x7f]", escaped)
    assert unescape(escaped, delimiters, "utf-8") == (text, ())


@given(st.text(alphabet="\\|^~&#FSTREPXHN.brspik+-0123459ABé\r", max_size=40), _any_delimiters)
def test_any_text_can_be_unescaped(text: str, delimiters: Delimiters) -> None:
    plain, findings = unescape(text, delimiters, "ascii")
    assert findings or plain.count(delimiters.escape) <= text.count(delimiters.escape)
    if delimiters.escape not in text:
        assert (plain, findings) == (text, ())


@pytest.mark.parametrize("piece", ["\\", "\\E", "\\X0", r"\.br", r"\Q\ ", "a\\", "\\\\x", r"\.sp9999\ "])
def test_a_megabyte_of_escapes_is_read_in_linear_time_and_space(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    plain, _ = unescape(text, DEFAULT_DELIMITERS, "utf-8")
    assert time.process_time() - started < 3  # a quadratic reader takes minutes
    assert len(plain) < ESCAPED_LINES_MAX * len(text)
