"""Goal: the right profile for a sender, and its words and codes without a guess."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from services.followup.protocols import loading
from services.ingest.feeds import CLASS_WORDS, CLASSES, DISPOSITIONS, FacilityProfile, FeedProfile, Feeds, fold

NEW_YORK = ZoneInfo("America/New_York")


def profile(name: str, application: str | None = None, facility: str | None = None) -> FeedProfile:
    return FeedProfile(name=name, zone=NEW_YORK, sending_application=application, sending_facility=facility)


BOTH, BY_FACILITY, BY_APPLICATION = (
    profile("both", "EPIC", "MERCY"),
    profile("by-facility", None, "MERCY"),
    profile("by-application", "EPIC", None),
)
ANY = profile("any")


@pytest.mark.parametrize(
    ("application", "facility", "expected"),
    [
        ("EPIC", "MERCY", "both"),
        (" epic ", "Mercy", "both"),
        ("CERNER", "MERCY", "by-facility"),
        ("", "MERCY", "by-facility"),
        ("EPIC", "LAKE", "by-application"),
        ("EPIC", "", "by-application"),
        ("EPI", "LAKE", None),
        ("EPICX", "MERCYX", None),
        ("", "", None),
    ],
)
def test_the_most_specific_entry_wins(application: str, facility: str, expected: str | None) -> None:
    profiles = (BY_APPLICATION, BY_FACILITY, BOTH)
    for order in (profiles, profiles[::-1]):
        found = Feeds(order).find(application, facility)
        assert (found.name if found else None) == expected
        defaulted = Feeds(order, default=ANY).find(application, facility)
        assert defaulted is not None
        assert defaulted.name == (expected or "any")


def test_a_facility_says_more_than_an_application() -> None:
    found = Feeds((BY_APPLICATION, BY_FACILITY)).find("EPIC", "MERCY")
    assert found is BY_FACILITY


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("I", "IMP"),
        ("i ", "IMP"),
        ("E", "EMER"),
        ("O", "AMB"),
        ("P", "PRENC"),
        ("R", "AMB"),
        ("B", "IMP"),
        ("OBS", "OBSENC"),
        ("IMP", "IMP"),
        ("C", None),
        ("N", None),
        ("U", None),
        ("V", None),
        ("S", None),
        ("", None),
        ("INP", None),
    ],
)
def test_a_class_has_our_word_or_none(raw: str, expected: str | None) -> None:
    assert profile("plain").class_of(raw) == expected


def test_the_feed_says_what_its_own_words_mean() -> None:
    mapped = FeedProfile(
        name="mapped", zone=NEW_YORK, classes={"V": "OBSENC", "O": "OBSENC"}, dispositions={"HOSP": "02", "1": "06"}
    )
    assert [mapped.class_of(raw) for raw in ("v", "O", "I")] == ["OBSENC", "OBSENC", "IMP"]
    assert [mapped.disposition_of(raw) for raw in ("hosp", "1", "01", "AMA")] == ["02", "06", "01", "07"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("01", "01"),
        ("1", "01"),
        (" 7 ", "07"),
        ("20", "20"),
        ("001", "01"),
        ("65", "65"),
        ("0", None),
        ("00", None),
        ("123", None),
        ("\u0661", None),
        ("1A", None),
        ("home", "01"),
        ("Ama", "07"),
        ("EXPIRED", "20"),
        ("SNF", "03"),
        ("REHAB", "62"),
        ("H", None),
        ("HOSP", None),
        ("DC", None),
        ("", None),
    ],
)
def test_a_disposition_has_a_two_digit_code_or_none(raw: str, expected: str | None) -> None:
    assert profile("plain").disposition_of(raw) == expected


def test_the_built_in_tables_hold_what_they_may() -> None:
    assert set(CLASSES.values()) <= CLASS_WORDS
    assert all(code.isdigit() and len(code) == 2 for code in DISPOSITIONS.values())
    assert all(key == fold(key) for key in (*CLASSES, *DISPOSITIONS))


def test_every_class_that_a_protocol_speaks_of_can_come_from_a_feed() -> None:
    for file in Path(loading.__file__).parent.glob("*.yaml"):
        classes = yaml.safe_load(file.read_text(encoding="utf-8")).get("classes", {})
        assert {word for words in classes.values() for word in words} <= CLASS_WORDS, file.name


def test_a_facility_is_found_by_the_first_code_that_the_feed_lists() -> None:
    main = FacilityProfile(code="MAIN", zone=NEW_YORK)
    west = FacilityProfile(code="West", zone=NEW_YORK)
    feed = FeedProfile(name="two", zone=NEW_YORK, facilities={"MAIN": main, "WEST": west})
    assert feed.facility_of("", "west", "MAIN") is west
    assert feed.facility_of("elsewhere") is None
    assert feed.facility_of() is None
    assert profile("none").facility_of("MAIN") is None
