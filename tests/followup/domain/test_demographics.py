"""What is made comparable is equal where people would say so, and absent where it says nothing."""

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.domain.demographics import (
    HOMES_MAX,
    IDENTIFIERS_MAX,
    MBI,
    NAMES_MAX,
    PHONES_MAX,
    Identifier,
    RawAddress,
    RawDemographics,
    RawName,
    comparable,
    comparable_identifier,
)
from services.followup.domain.normalization import (
    TEXT_CHARACTERS_MAX,
    comparable_number,
    comparable_phone,
    comparable_sex,
    comparable_ssn4,
    comparable_street,
    comparable_zip,
    generation_of,
    name_part,
    name_words,
    words_of,
)
from services.followup.domain.placeholders import is_filler_birth_date, placeholder_name

SAME_NAMES = [
    ("O'Brien", "OBRIEN", "O’Brien", "o brien"),
    ("García", "GARCIA", "Garci\u0301a"),
    ("Müller", "MULLER"),
    ("Łukasz", "Lukasz"),
    ("Straße", "STRASSE"),
    ("Smith-Jones", "SMITH JONES", "Smith–Jones", "Smithjones"),
    ("de la Cruz", "DELACRUZ", "De La Cruz"),
    ("Robert (Bob)", "Robert", 'Robert "Bob"', "ROBERT [B]"),
    ("Ng", " ng ", "N\u200bg", "\u202eNg\u202c", "N\x00g", "Ng 😀"),
    ("J.R.", "JR"),
]


@pytest.mark.parametrize("spellings", SAME_NAMES, ids=lambda spellings: spellings[0])
def test_ways_to_write_a_name_are_one(spellings: tuple[str, ...]) -> None:
    assert len({"".join(name_words(spelling)) for spelling in spellings}) == 1


SAME_STREETS = [
    ("12 Oak Street", "12 OAK ST.", "12  oak str"),
    ("12 North Oak Avenue, Apt 4", "12 N. Oak Ave #4", "12 N OAK AVE UNIT 4", "12 N Oak Ave Apt #4"),
    ("P.O. Box 12", "PO BOX 12", "P O Box 12", "pobox 12", "Post Office Box 12"),
    ("1 MacArthur Boulevard", "1 Mac Arthur Blvd"),
    ("7 Fifth Avenue", "7 5th Ave"),
    ("3 Saint Clair Road", "3 St. Clair Rd"),
]
OTHER_STREETS = [
    ("1 23rd St", "12 3rd St"),
    ("12 Oak St", "12 Oak Ave"),
    ("12 Oak St Apt 4", "12 Oak St"),
    ("12 Oak St Apt 4", "12 Oak St Apt 5"),
    ("12 N Oak St", "12 S Oak St"),
]


@pytest.mark.parametrize("spellings", SAME_STREETS, ids=lambda spellings: spellings[0])
def test_ways_to_write_a_street_are_one(spellings: tuple[str, ...]) -> None:
    streets = {comparable_street(spelling) for spelling in spellings}
    assert len(streets) == 1
    assert None not in streets


@pytest.mark.parametrize(("left", "right"), OTHER_STREETS)
def test_other_streets_stay_other_streets(left: str, right: str) -> None:
    assert comparable_street(left) != comparable_street(right)


VALUES: list[tuple[Callable[[str], str | None], str, str | None]] = [
    (comparable_street, "UNKNOWN 0", None),
    (comparable_street, "Homeless", None),
    (comparable_street, "Oak Street", None),
    (comparable_phone, "(217) 483-0142", "2174830142"),
    (comparable_phone, "+1 217 483 0142", "2174830142"),
    (comparable_phone, "217-483-0142 ext. 7", "2174830142"),
    (comparable_phone, "217-483-0142X7788", "2174830142"),
    (comparable_phone, "+44 20 7946 0958", "2079460958"),
    (comparable_phone, "483-0142", None),
    (comparable_phone, "483-0142 x217", None),
    (comparable_phone, "N/A", None),
    (comparable_phone, "", None),
    (comparable_phone, "217-555-0142", None),
    (comparable_phone, "555-483-0142", None),
    (comparable_phone, "123-456-7890", None),
    (comparable_phone, "217-123-4567", None),
    (comparable_phone, "000-000-0000", None),
    (comparable_phone, "999-483-0142", None),
    (comparable_phone, "<script>alert(2174830142)</script>", "2174830142"),
    (comparable_zip, "62701", "62701"),
    (comparable_zip, "62701-1234", "62701"),
    (comparable_zip, "2134", "02134"),
    (comparable_zip, "00000", None),
    (comparable_zip, "627", None),
    (comparable_ssn4, "4821", "4821"),
    (comparable_ssn4, "219-01-4821", "4821"),
    (comparable_ssn4, "999-99-4821", None),
    (comparable_ssn4, "000-12-4821", None),
    (comparable_ssn4, "123-45-6789", None),
    (comparable_ssn4, "9999", None),
    (comparable_ssn4, "0000", None),
    (comparable_ssn4, "48", None),
    (comparable_number, "0001001", "1001"),
    (comparable_number, "a-12 b", "A12B"),
    (comparable_number, "000000", None),
    (comparable_number, "999999999", None),
    (comparable_number, "11", "11"),
    (comparable_number, "Unknown", None),
    (comparable_number, "", None),
    (comparable_sex, "f", "F"),
    (comparable_sex, "Male", "M"),
    (comparable_sex, "U", None),
    (generation_of, "Jr.", "JR"),
    (generation_of, "the third, MD", None),
    (generation_of, "III", "III"),
    (generation_of, "MD", None),
]


@pytest.mark.parametrize(("make", "text", "expected"), VALUES)
def test_what_says_something_is_made_comparable(
    make: Callable[[str], str | None], text: str, expected: str | None
) -> None:
    assert make(text) == expected


def test_a_generation_behind_a_name_is_no_part_of_it() -> None:
    assert name_part("Smith, Jr.") == (("SMITH",), "JR")
    assert name_part("Jr") == (("JR",), None)
    assert name_part("Senior") == (("SENIOR",), None)
    assert name_part("Costa Junior") == (("COSTA", "JUNIOR"), None)


PLACEHOLDERS = [
    ("SMITH", "BABY BOY", "newborn"),
    ("SMITH", "BABYGIRL A", "newborn"),
    ("SMITH", "BB", "newborn"),
    ("SMITH", "Boy Jane", "newborn"),
    ("SMITH", "Infant of Mary", "newborn"),
    ("BABYBOY", "SMITH", "newborn"),
    ("SMITH", "NEWBORN", "newborn"),
    ("DOE", "JOHN", "unknown"),
    ("DOE", "", "unknown"),
    ("UNKNOWN", "UNKNOWN", "unknown"),
    ("TRAUMA", "ALPHA", "unknown"),
    ("SMITH", "XXX", "unknown"),
    ("ZZTEST", "ANA", "test"),
    ("TEST", "PATIENT", "test"),
    ("SMITH", "TESTPATIENT", "test"),
    ("ZZZ", "A", "test"),
    ("DOE", "MARGARET", None),
    ("TESTA", "MARIA", None),
    ("BOYD", "GIRLIE", None),
    ("FNU", "ANA", None),
    ("SMITH", "", None),
]


@pytest.mark.parametrize(("family", "given_name", "expected"), PLACEHOLDERS)
def test_names_that_are_nobodys_are_known(family: str, given_name: str, expected: str | None) -> None:
    assert placeholder_name(name_words(family), name_words(given_name)) == expected
    person = comparable(RawDemographics(names=(RawName(family=family, given=given_name),)))
    assert person.placeholder == expected
    assert person.is_placeholder == (expected is not None)


def test_of_a_newborn_the_family_is_known_and_of_an_unknown_nothing() -> None:
    newborn = comparable(RawDemographics(names=(RawName(family="Smith", given="Baby Boy"),)))
    assert (set(newborn.families), set(newborn.givens)) == ({"SMITH"}, set())
    unknown = comparable(RawDemographics(names=(RawName(family="Doe", given="Jane"),)))
    assert unknown.names == ()


def test_a_name_of_which_one_part_is_not_known_keeps_the_other() -> None:
    person = comparable(RawDemographics(names=(RawName(family="FNU", given="Ana"),)))
    assert (set(person.families), set(person.givens), person.is_placeholder) == (set(), {"ANA"}, False)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (Identifier(authority="Mercy ", value="01001", type="MRN"), ("MERCY", "MR", "1001")),
        (Identifier(authority="MERCY", value="1001", type=None), ("MERCY", "MR", "1001")),
        (Identifier(authority="MERCY", value="1001", type="PT"), ("MERCY", "PI", "1001")),
        (Identifier(authority="1.2.34", value="1001", type="MR"), ("1.2.34", "MR", "1001")),
        (Identifier(authority="whatever", value="1EG4-TE5-MK72", type="mc"), ("", MBI, "1EG4TE5MK72")),
        (Identifier(authority="MERCY", value="0000000", type="MR"), None),
        (Identifier(authority=None, value="1001", type="MR"), None),
        (Identifier(authority="SSA", value="219014821", type="SS"), None),
        (Identifier(authority="MERCY", value="1001", type="AN"), None),
    ],
)
def test_a_number_is_comparable_within_its_authority(identifier: Identifier, expected: tuple[str, ...] | None) -> None:
    found = comparable_identifier(identifier)
    assert (found and (found.authority, found.type, found.value)) == expected


@pytest.mark.parametrize("birth_date", [date(1900, 1, 1), date(1899, 12, 31), date(1800, 1, 1), date(9999, 12, 31)])
def test_a_default_birth_date_says_nothing(birth_date: date) -> None:
    assert is_filler_birth_date(birth_date)
    assert comparable(RawDemographics(birth_date=birth_date)).birth_date is None


def test_of_one_person_only_so_much_is_compared() -> None:
    flood = comparable(
        RawDemographics(
            names=tuple(RawName(family=f"F{n}", given="A") for n in range(1000)),
            phones=tuple(f"217483{n:04}" for n in range(1000, 2000)),
            addresses=tuple(RawAddress(street=f"{n} Oak St", zip="62701") for n in range(1000)),
            identifiers=tuple(Identifier(authority="M", value=f"1{n}", type="MR") for n in range(1000)),
        )
    )
    sizes = (len(flood.names), len(flood.phones), len(flood.homes), len(flood.identifiers))
    assert sizes == (NAMES_MAX, PHONES_MAX, HOMES_MAX, IDENTIFIERS_MAX)


TEXT = st.text(max_size=300) | st.text(alphabet="aéŁß'’.-\u0301\u200b\u202e\x00 ①ﬁİ#x1", max_size=40)
MAKERS = [comparable_phone, comparable_zip, comparable_street, comparable_ssn4, comparable_number]


@given(TEXT)
def test_any_text_is_words_and_words_stay_what_they_are(text: str) -> None:
    words = words_of(text)
    assert all(word and word.isalnum() and word == word.upper() for word in words)
    assert words_of(" ".join(words)) == words


@given(TEXT, st.sampled_from(MAKERS))
def test_making_comparable_twice_is_making_comparable_once(text: str, make: Callable[[str], str | None]) -> None:
    once = make(text)
    if once is not None and len(once) <= TEXT_CHARACTERS_MAX:
        assert make(once) == once


@given(st.text(alphabet="abcxyzST 0123456789.-#'", max_size=60), st.sampled_from(MAKERS))
def test_case_and_outer_spaces_do_not_matter(text: str, make: Callable[[str], str | None]) -> None:
    assert make(text.lower()) == make(text.upper()) == make(f"  {text} ")


@given(
    st.builds(
        RawDemographics,
        names=st.lists(st.builds(RawName, family=TEXT, given=TEXT, suffix=TEXT), max_size=3).map(tuple),
        birth_date=st.none() | st.dates(),
        sex=TEXT,
        phones=st.lists(TEXT, max_size=3).map(tuple),
        addresses=st.lists(st.builds(RawAddress, street=TEXT, zip=TEXT), max_size=3).map(tuple),
        ssn=TEXT,
        identifiers=st.lists(st.builds(Identifier, authority=TEXT, value=TEXT, type=TEXT), max_size=3).map(tuple),
    )
)
def test_any_texts_give_comparable_demographics(raw: RawDemographics) -> None:
    assert comparable(raw) == comparable(raw)


def test_the_longest_texts_are_cut() -> None:
    flood = "a" + "\u0301" * 100_000
    assert words_of(flood) == ("A",)
    assert comparable_phone("x" * 100_000) is None
    assert len(words_of("a " * 100_000)) <= TEXT_CHARACTERS_MAX
