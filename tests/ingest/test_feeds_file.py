"""Goal: a right file is read as it is meant, a wrong one is refused with every problem and its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.feeds import Feeds
from services.ingest.feeds_file import FEEDS_FILE_BYTES_MAX, FeedsError, load_feeds, read_feeds
from services.ingest.hl7.charset import resolve_charset

WHOLE = """
feeds:
  - name: mercy
    sending_application: EPIC
    sending_facility: MERCY
    authority: mercy
    zone: America/New_York
    facilities:
      0012: {name: Mercy General, zone: America/Chicago, authority: mg}
      NO: {name: Northern}
    classes: {V: OBSENC, s: SS}
    dispositions: {HOSP: 02, dead: "20"}
    processing: [P, T^T, D^I]
    charset: 8859/15
  - {name: lake, sending_facility: LAKE, zone: UTC}
  - {name: epic, sending_application: EPIC, zone: America/Denver}
default:
  zone: America/Los_Angeles
  authority: STATE
"""


def read(text: str) -> Feeds:
    return read_feeds(
        text.encode(), file=Path("feeds.yaml"), is_charset=lambda label: resolve_charset(label) is not None
    )


def problems(text: str) -> list[str]:
    with pytest.raises(FeedsError) as caught:
        read(text)
    assert caught.value.file == Path("feeds.yaml")
    return [f"{one.line}: {one.reason}" for one in caught.value.problems]


def test_a_whole_file_is_read_as_it_is_meant() -> None:
    feeds = read(WHOLE)
    mercy, lake, epic = feeds.profiles
    assert (mercy.name, mercy.sending_application, mercy.sending_facility) == ("mercy", "EPIC", "MERCY")
    assert (mercy.authority, mercy.zone.key, mercy.charset) == ("MERCY", "America/New_York", "8859/15")
    assert {code: one.name for code, one in mercy.facilities.items()} == {"0012": "Mercy General", "NO": "Northern"}
    assert [one.zone.key for one in mercy.facilities.values()] == ["America/Chicago", "America/New_York"]
    assert [one.authority for one in mercy.facilities.values()] == ["MG", None]
    assert dict(mercy.classes) == {"V": "OBSENC", "S": "SS"}
    assert dict(mercy.dispositions) == {"HOSP": "02", "DEAD": "20"}
    assert mercy.processing == {("P", ""), ("P", "T"), ("T", "T"), ("D", "I")}
    assert (lake.sending_application, lake.sending_facility, lake.authority) == (None, "LAKE", None)
    assert lake.processing == {("P", ""), ("P", "T")}
    assert (epic.sending_application, epic.sending_facility) == ("EPIC", None)
    assert feeds.default is not None
    assert (feeds.default.name, feeds.default.zone.key, feeds.default.authority) == (
        "default",
        "America/Los_Angeles",
        "STATE",
    )


def test_a_default_alone_is_enough_and_may_have_a_name() -> None:
    feeds = read("default: {name: everyone, zone: America/New_York, classes: {V: OBSENC}, processing: []}")
    assert feeds.default is not None
    assert feeds.default.name == "everyone"
    assert feeds.default.processing == frozenset()
    assert feeds.find("ANY", "BODY") is feeds.default


def test_an_anchor_can_be_shared() -> None:
    feeds = read(
        "feeds:\n"
        "  - {name: a, sending_facility: A, zone: UTC, classes: &words {V: OBSENC}}\n"
        "  - {name: b, sending_facility: B, zone: UTC, classes: *words}\n"
    )
    assert feeds.profiles[0].classes == feeds.profiles[1].classes


NOT_LISTABLE = "is not dns:, uri: or cn: with a whole name, nor sha256: with 64 digits"
FEED = "feeds:\n  - {name: a, sending_facility: A, zone: UTC%s}\n"
CLASS_NAMES = "ACUTE, AMB, EMER, FLD, HH, IMP, LTC, NONAC, OBSENC, PRENC, PSYCH, REHAB, SNF, SS, VR"
PROFILE_KEYS = "authority, certificates, charset, classes, dispositions, facilities, name, processing"
SENDER_KEYS = f"{PROFILE_KEYS}, sending_application, sending_facility"


def zoned(zone: str) -> str:
    return FEED.replace("UTC", zone) % ""


def no_zone(zone: str) -> str:
    return f"2: zone {zone!r} is not an IANA time zone, such as America/New_York"


NOT_ADMITTED = "is none of P, T and D, nor one with a mode such as P^I"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["None: is empty"]),
        ("# only a comment\n", ["None: is empty"]),
        ("feeds", ["1: the file has to be keys with their values: feeds, default"]),
        ("{}", ["1: names no feed: it needs a list `feeds:`, or `default:`, or both"]),
        ("feeds:\n", ["1: `feeds` has to be a list"]),
        ("feeds: {name: a}", ["1: `feeds` has to be a list"]),
        ("feed: []", ["1: unknown key 'feed' in the file; known here: default, feeds"]),
        ("feeds: []\nfeeds: []\n", ["2: the key 'feeds' is given twice in the file"]),
        ("? [a]\n: b\n", ["1: unknown key '?' in the file; known here: default, feeds"]),
        ("feeds: [\n", ["2: not YAML: expected the node content, but found '<stream end>'"]),
        ("a: b\n---\nc: d\n", ["2: not YAML: but found another document"]),
        ("feeds:\n  - {zone: UTC, sending_facility: A}", ["2: a feed has no 'name'"]),
        ("feeds:\n  - {name: a, sending_facility: A}", ["2: a feed has no 'zone'"]),
        (
            "feeds:\n  - {name: a, zone: UTC}",
            ["2: a feed names no sender: give sending_application, sending_facility or both"],
        ),
        ("default: {}", ["1: `default` has no 'zone'"]),
        (
            "default: {zone: UTC, sending_facility: A}",
            [f"1: unknown key 'sending_facility' in `default`; known here: {PROFILE_KEYS}, zone"],
        ),
        (FEED % ", colour: red", [f"2: unknown key 'colour' in a feed; known here: {SENDER_KEYS}, zone"]),
        (FEED % ", authority: [M]", ["2: `authority` has to be a text"]),
        (FEED % ", authority:", ["2: `authority` has to be a text"]),
        (FEED % ", authority: '  '", ["2: `authority` must not be blank; leave it out instead"]),
        (FEED % ", sending_application: ''", ["2: `sending_application` must not be blank; leave it out instead"]),
        (zoned("Mars/Olympus"), [no_zone("Mars/Olympus")]),
        (zoned("EST"), [no_zone("EST")]),
        (zoned("America"), [no_zone("America")]),
        (zoned("America/Indiana"), [no_zone("America/Indiana")]),
        (zoned("../../etc/passwd"), [no_zone("../../etc/passwd")]),
        (zoned("-5"), [no_zone("-5")]),
        (FEED % ", facilities: [A]", ["2: `facilities` has to be codes with their values"]),
        (
            FEED % ", facilities: {X: Mercy}",
            ["2: facility 'X' has to be keys with their values: name, zone, authority"],
        ),
        (FEED % ", facilities: {X: {zone: Nowhere}}", [no_zone("Nowhere")]),
        (
            FEED % ", facilities: {X: {city: Y}}",
            ["2: unknown key 'city' in facility 'X'; known here: authority, name, zone"],
        ),
        (FEED % ", facilities: {X: {name: a}, x: {name: b}}", ["2: 'x' stands in `facilities` already, on line 2"]),
        (FEED % ", facilities: {[X]: {name: a}}", ["2: a code of `facilities` has to be a text"]),
        (
            FEED % ", classes: {V: OBS, v: OBSENC}",
            ["2: 'v' stands in `classes` already, on line 2", f"2: class 'OBS' is not one of: {CLASS_NAMES}"],
        ),
        (FEED % ", classes: {V: [OBSENC]}", ["2: a class has to be a text"]),
        (FEED % ", dispositions: {HOME: 1}", ["2: disposition '1' is not a two-digit code of NUBC FL 17, such as 01"]),
        (FEED % ", dispositions: {H: 00}", ["2: disposition '00' is not a two-digit code of NUBC FL 17, such as 01"]),
        (FEED % ", processing: P", ["2: `processing` has to be a list"]),
        (
            FEED % ", processing: [X, P^Z, [P]]",
            [
                f"2: processing 'X' {NOT_ADMITTED}",
                f"2: processing 'P^Z' {NOT_ADMITTED}",
                "2: a processing id has to be a text",
            ],
        ),
        (
            FEED % ", certificates: [mercy.test, dns:*.mercy.test, [x]]",
            [
                f"2: certificate 'mercy.test' {NOT_LISTABLE}",
                f"2: certificate 'dns:*.mercy.test' {NOT_LISTABLE}",
                "2: a certificate has to be a text",
            ],
        ),
        (FEED % ", certificates: dns:a.test", ["2: `certificates` has to be a list"]),
        (
            FEED % ", certificates: []",
            ["2: `certificates` is empty, and nobody could send: leave it out, or list one"],
        ),
        (
            FEED % ", charset: KLINGON",
            ["2: charset 'KLINGON' is not known; HL7 table 0211 has the names, as UNICODE UTF-8"],
        ),
    ],
)
def test_a_wrong_file_is_refused(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_every_problem_is_told_at_once_with_its_line() -> None:
    text = (
        "feeds:\n"
        "  - name: a\n"
        "    sending_facility: A\n"
        "    zone: Nowhere/Land\n"
        "    classes:\n"
        "      V: OBSERVATION\n"
        "  - name: A\n"
        "    sending_facility: a\n"
        "    zone: UTC\n"
        "    processing: [Q]\n"
        "default:\n"
        "  name: a\n"
        "  zone: UTC\n"
        "  colour: red\n"
    )
    assert problems(text) == [
        "4: zone 'Nowhere/Land' is not an IANA time zone, such as America/New_York",
        f"6: class 'OBSERVATION' is not one of: {CLASS_NAMES}",
        "7: this feed names the same sender as the feed on line 2",
        "7: the name 'A' is already that of the feed on line 2",
        f"10: processing 'Q' {NOT_ADMITTED}",
        "12: the name 'a' is already that of the feed on line 7",
        f"14: unknown key 'colour' in `default`; known here: {PROFILE_KEYS}, zone",
    ]


def test_two_feeds_on_one_line_are_still_two() -> None:
    assert (
        len(problems("feeds: [{name: a, sending_facility: A, zone: UTC}, {name: a, sending_facility: A, zone: UTC}]"))
        == 2
    )


def test_the_error_reads_as_file_line_and_reason() -> None:
    with pytest.raises(FeedsError) as caught:
        read("feeds:\n  - {name: a, sending_facility: A, zone: EST}")
    assert str(caught.value) == "feeds.yaml:2: zone 'EST' is not an IANA time zone, such as America/New_York"


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    missing = tmp_path / "feeds.yaml"
    with pytest.raises(FeedsError, match="cannot be read: No such file"):
        load_feeds(missing, is_charset=lambda _: True)


def test_a_file_that_cannot_be_a_feeds_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "feeds.yaml"
    file.write_bytes(b"#" * (FEEDS_FILE_BYTES_MAX + 1))
    with pytest.raises(FeedsError, match="is larger than"):
        load_feeds(file, is_charset=lambda _: True)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"feeds: \x80", b"\x00"])
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    with pytest.raises(FeedsError):
        read_feeds(data, file=Path("feeds.yaml"), is_charset=lambda _: True)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read("\ufeffdefault: {zone: UTC}").default is not None


def test_a_recursive_alias_is_refused_like_any_other_wrong_value() -> None:
    assert problems("feeds: &all\n  - *all\n")


YAML_PIECES = st.text(alphabet="feds:-[]{}&*! \n\"'#|>UTCname zon,^?%@\t\\", max_size=80)


@given(YAML_PIECES)
def test_any_text_gives_feeds_or_their_error(text: str) -> None:
    try:
        told = str(read(text))
    except FeedsError as error:
        told = str(error)
    assert told


def test_the_certificates_of_a_feed_are_read_as_they_are_compared() -> None:
    listed = ", certificates: ['DNS:ADT.Mercy.test', 'cn:Mercy Gateway', 'sha256:" + ":".join(["AB"] * 32) + "']"
    (profile,) = read(FEED % listed).profiles
    assert profile.certificates == {"dns:adt.mercy.test", "cn:mercy gateway", "sha256:" + "ab" * 32}
    assert read(FEED % "").profiles[0].certificates == frozenset()
