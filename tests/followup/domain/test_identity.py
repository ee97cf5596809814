"""Whom the rules link, doubt and leave alone.

Goal: no wrong person is ever called. Each case is a message beside a panel; "ana" is the patient of
`tests.support.panel_people`.
"""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.domain.demographics import Identifier, RawAddress, RawDemographics, RawName, comparable
from services.followup.domain.identity import (
    Linked,
    MatchResult,
    Membership,
    PanelPerson,
    Uncertain,
    Unmatched,
    is_member,
    match,
)
from services.followup.domain.match_keys import demographic_keys, identifier_keys, match_keys
from tests.support.panel_people import ANA, mr, name, other, panel_person, person

NOBODY: dict[str, Any] = {"phones": (), "addresses": (), "ssn": None, "identifiers": ()}
"""No third field and no number."""
NUMBER = (mr("1001"),)
ELSEWHERE = (RawAddress(street="9 Elm St", zip="10023"),)


def said(result: MatchResult) -> str:
    """Return a result in one word: the rule of a link, or the reason of the rest."""
    match result:
        case Linked():
            return f"linked by {result.rule}"
        case Uncertain():
            return f"uncertain: {result.reason}"
        case Unmatched():
            return f"unmatched: {result.reason}"


BY_IDENTIFIER = "linked by identifier"
BY_DEMOGRAPHICS = "linked by demographics"
CONTRADICTED = "uncertain: identifier-contradicted"
UNCONFIRMED = "uncertain: identifier-unconfirmed"
PARTLY = "uncertain: partly-agrees"
AGAINST = "uncertain: demographics-contradicted"
PLACEHOLDER = "uncertain: placeholder-name"
NOBODY_ALIKE = "unmatched: nobody-alike"

IDENTIFIER_CASES = {
    "everything equal": ({}, BY_IDENTIFIER),
    "zeros that pad a number": ({"identifiers": (mr("1001"),)}, BY_IDENTIFIER),
    "written as PI": ({"identifiers": (mr("1001", type_="PI"),)}, BY_IDENTIFIER),
    "written without type": ({"identifiers": (mr("1001", type_=None),)}, BY_IDENTIFIER),
    "authority in other case": ({"identifiers": (mr("1001", "Mercy"),)}, BY_IDENTIFIER),
    "an MBI under any authority": ({"identifiers": (mr("1eg4-te5-mk72", "HIC", "MC"),)}, BY_IDENTIFIER),
    "an MBI without authority": ({"identifiers": (mr("1EG4TE5MK72", None, "MC"),)}, BY_IDENTIFIER),
    "name alone confirms": ({"birth_date": None}, BY_IDENTIFIER),
    "birth date alone confirms": ({"names": ()}, BY_IDENTIFIER),
    "an initial does not contradict": ({"names": name("Rivera-Soto", "A")}, BY_IDENTIFIER),
    "no given name does not contradict": ({"names": name("Rivera Soto", None)}, BY_IDENTIFIER),
    "one given name of two": ({"names": name("Rivera-Soto", "Maria")}, BY_IDENTIFIER),
    "one family name of two": ({"names": name("Soto", "Ana Maria")}, BY_IDENTIFIER),
    "a previous name": ({"names": (*name("Lopez", "Ana Maria"), *name("RIVERA SOTO", "ANA MARIA"))}, BY_IDENTIFIER),
    "another sex beside name and birth date": ({"sex": "M"}, BY_IDENTIFIER),
    "a newer number beside it": ({"identifiers": (mr("7"), mr("1001"))}, BY_IDENTIFIER),
    "another birth date": ({"birth_date": date(1952, 4, 14)}, CONTRADICTED),
    "another given name": ({"names": name("Rivera-Soto", "Luz")}, CONTRADICTED),
    "another family name": ({"names": name("Lopez", "Ana Maria")}, CONTRADICTED),
    "another sex and an initial": ({"sex": "M", "names": name("Rivera-Soto", "A")}, CONTRADICTED),
    "another person altogether": ({"names": name("Ng", "Bo"), "birth_date": date(1990, 1, 2)}, CONTRADICTED),
    "nothing to confirm": ({"names": (), "birth_date": None}, UNCONFIRMED),
    "an initial and no birth date": ({"names": name("Rivera-Soto", "A"), "birth_date": None}, UNCONFIRMED),
    "an unknown birth date": ({"names": (), "birth_date": date(1900, 1, 1)}, UNCONFIRMED),
    "a newborn under the mother's number": (
        {"names": name("Rivera-Soto", "Baby Boy"), "birth_date": date(2026, 11, 20)},
        PLACEHOLDER,
    ),
    "a newborn without birth date": ({"names": name("Rivera-Soto", "BB"), "birth_date": None}, PLACEHOLDER),
    "an unknown under her number": ({"names": name("Doe", "Jane")}, PLACEHOLDER),
    "a test under her number": ({"names": name("ZZTEST", "ANA")}, PLACEHOLDER),
}


@pytest.mark.parametrize(("changes", "expected"), IDENTIFIER_CASES.values(), ids=list(IDENTIFIER_CASES))
def test_a_number_links_only_with_a_name_or_birth_date_that_says_so(changes: dict[str, Any], expected: str) -> None:
    assert said(match(person(**{**NOBODY, "identifiers": NUMBER, **changes}), [panel_person()])) == expected


NO_HIT_CASES = {
    "the number of another authority": mr("1001", "LAKESIDE"),
    "the number without any authority": mr("1001", None),
    "an account number": mr("1001", type_="AN"),
    "a visit number": mr("1001", type_="VN"),
    "a driver's license of that number": mr("1001", type_="DL"),
    "a Social Security number": Identifier(authority="SSA", value="219014821", type="SS"),
}


@pytest.mark.parametrize("identifier", NO_HIT_CASES.values(), ids=list(NO_HIT_CASES))
def test_a_number_of_another_kind_is_no_hit(identifier: Identifier) -> None:
    panel = [panel_person(identifiers=(*ANA.identifiers, Identifier(authority="SSA", value="219014821", type="SS")))]
    stranger = {"names": name("Ng", "Bo"), "birth_date": date(1990, 1, 2)}
    assert said(match(person(**{**NOBODY, **stranger, "identifiers": (identifier,)}), panel)) == NOBODY_ALIKE


def test_two_numbers_of_two_patients_are_for_a_person_to_decide() -> None:
    panel = [panel_person(), panel_person("ben", names=name("Okafor", "Ben"), identifiers=(mr("2002"),))]
    result = match(person(identifiers=(mr("1001"), mr("2002"))), panel)
    assert said(result) == "uncertain: identifiers-disagree"
    assert isinstance(result, Uncertain)
    assert [one.patient_id for one in result.candidates] == ["ana", "ben"]


def test_one_number_of_two_patients_is_for_a_person_to_decide() -> None:
    panel = [panel_person(), panel_person("ben", names=name("Okafor", "Ben"))]
    assert said(match(person(), panel)) == "uncertain: identifiers-disagree"


DEMOGRAPHIC_CASES = {
    "all of them": ({}, BY_DEMOGRAPHICS),
    "with the telephone only": ({"addresses": (), "ssn": None}, BY_DEMOGRAPHICS),
    "with the address only": ({"phones": (), "ssn": None}, BY_DEMOGRAPHICS),
    "with the SSN-4 only": ({"phones": (), "addresses": ()}, BY_DEMOGRAPHICS),
    "with nine digits of the SSN": ({"phones": (), "addresses": (), "ssn": "219-01-4821"}, BY_DEMOGRAPHICS),
    "written in another way": (
        {
            "names": name("RIVERA SOTO", "ANA MARIA"),
            "phones": ("1-217-483-0142 x12",),
            "addresses": (RawAddress(street="12 N. OAK ST., #4", zip="62701-1234"),),
        },
        BY_DEMOGRAPHICS,
    ),
    "one of two telephones": (
        {"phones": ("312-274-1111", "217.483.0142"), "addresses": (), "ssn": None},
        BY_DEMOGRAPHICS,
    ),
    "no third": ({"phones": (), "addresses": (), "ssn": None}, PARTLY),
    "another third": ({"phones": ("312-274-1111",), "addresses": ELSEWHERE, "ssn": "7777"}, PARTLY),
    "another apartment and no more": (
        {"phones": (), "ssn": None, "addresses": (RawAddress(street="12 N Oak St Apt 5", zip="62701"),)},
        PARTLY,
    ),
    "no birth date": ({"birth_date": None}, PARTLY),
    "no name": ({"names": ()}, "unmatched: says-too-little"),
    "another birth date, as a parent of the same name": ({"birth_date": date(1925, 3, 14)}, PARTLY),
    "another given name, as a twin": ({"names": name("Rivera-Soto", "Luz")}, PARTLY),
    "another family name, as after a wedding": ({"names": name("Lopez", "Ana Maria")}, PARTLY),
    "an initial": ({"names": name("Rivera-Soto", "A")}, PARTLY),
    "part of a family name": ({"names": name("Soto", "Ana Maria")}, PARTLY),
    "another sex": ({"sex": "M"}, AGAINST),
    "another number of her hospital": ({"identifiers": (mr("5005"),)}, AGAINST),
    "another number without type of her hospital": ({"identifiers": (mr("5005", type_=None),)}, AGAINST),
    "another MBI": ({"identifiers": (mr("9AA9AA9AA99", None, "MC"),)}, AGAINST),
    "a number of another hospital": ({"identifiers": (mr("5005", "LAKESIDE"),)}, BY_DEMOGRAPHICS),
    "an internal number where we know a record number": ({"identifiers": (mr("5005", type_="PI"),)}, BY_DEMOGRAPHICS),
    "a spouse": ({"names": name("Rivera-Soto", "Luis"), "birth_date": date(1950, 8, 1), "ssn": None}, NOBODY_ALIKE),
    "a housemate": ({"names": name("Ng", "Bo"), "birth_date": date(1990, 1, 2), "ssn": None}, NOBODY_ALIKE),
    "a namesake": ({**NOBODY, "birth_date": date(1990, 1, 2)}, NOBODY_ALIKE),
    "somebody born that day in that house": ({"names": name("Ng", "Bo")}, NOBODY_ALIKE),
    "a newborn at her address": (
        {"names": name("Rivera-Soto", "Baby Girl"), "birth_date": date(2026, 11, 20)},
        "unmatched: placeholder-name",
    ),
    "a test patient with all her data": ({"names": name("TEST", "ANA")}, "unmatched: test-patient"),
    "an unknown with her address and birth date": ({"names": name("Doe", "Jane")}, "unmatched: placeholder-name"),
}


@pytest.mark.parametrize(("changes", "expected"), DEMOGRAPHIC_CASES.values(), ids=list(DEMOGRAPHIC_CASES))
def test_without_a_number_name_birth_date_and_a_third_must_be_equal(changes: dict[str, Any], expected: str) -> None:
    assert said(match(person(**{"identifiers": (), **changes}), [panel_person()])) == expected


FILLERS = {
    "telephone of 555": ("phones", ("217-555-0142",)),
    "telephone of nines": ("phones", ("999-999-9999",)),
    "telephone of zeros": ("phones", ("0000000",)),
    "telephone of one digit": ("phones", ("217-111-1111",)),
    "SSN-4 of nines": ("ssn", "9999"),
    "SSN of zeros": ("ssn", "000-00-0000"),
    "address unknown": ("addresses", (RawAddress(street="UNKNOWN 1", zip="62701"),)),
    "address homeless": ("addresses", (RawAddress(street="Homeless 0", zip="62701"),)),
    "address without number": ("addresses", (RawAddress(street="General Delivery", zip="62701"),)),
    "address without ZIP": ("addresses", (RawAddress(street="12 Oak St", zip=None),)),
}


@pytest.mark.parametrize(("field", "filler"), FILLERS.values(), ids=list(FILLERS))
def test_a_filler_makes_nobody_one(field: str, filler: object) -> None:
    alike: dict[str, Any] = {**NOBODY, field: filler}
    assert said(match(person(**alike), [panel_person(**alike)])) == PARTLY


def test_a_birth_date_that_stands_for_unknown_confirms_nothing() -> None:
    unknown: dict[str, Any] = {"birth_date": date(1900, 1, 1)}
    assert said(match(person(**unknown), [panel_person(**unknown)])) == BY_IDENTIFIER
    assert said(match(person(**{**unknown, "names": ()}), [panel_person(**unknown)])) == UNCONFIRMED
    without: dict[str, Any] = {**unknown, "identifiers": ()}
    assert said(match(person(**without), [panel_person(**without)])) == PARTLY


def test_father_and_son_are_told_apart_by_suffix() -> None:
    father = other(identifiers=(), names=name("Rivera", "Luis", "Sr"))
    son = other(identifiers=(), names=name("Rivera Jr", "Luis"))
    assert said(match(comparable(son), [panel_person(raw=father)])) == AGAINST
    assert said(match(comparable(son), [panel_person(raw=son)])) == BY_DEMOGRAPHICS
    assert said(match(person(son, birth_date=date(1980, 5, 5)), [panel_person(raw=father)])) == PARTLY


def test_of_a_parent_and_a_child_of_one_name_the_birth_date_says_who() -> None:
    parent = panel_person("parent", birth_date=date(1925, 3, 14), identifiers=())
    assert match(person(identifiers=()), [parent, panel_person()]) == Linked(
        patient_id="ana", rule="demographics", agreements=("name", "birth-date", "phone", "address", "ssn4")
    )


def test_two_patients_who_match_equally_are_for_a_person_to_decide() -> None:
    panel = [panel_person("ana"), panel_person("ana-again", identifiers=())]
    assert said(match(person(identifiers=()), panel)) == "uncertain: several-patients-match"
    contradicted = [panel_person("ana"), panel_person("ana-again", sex="M")]
    assert said(match(person(identifiers=()), contradicted)) == "uncertain: several-patients-match"


def test_a_placeholder_on_the_panel_is_never_linked_to() -> None:
    newborn: dict[str, Any] = {"names": name("Rivera-Soto", "Baby Boy")}
    assert said(match(person(), [panel_person(**newborn)])) == PLACEHOLDER
    assert said(match(person(identifiers=()), [panel_person(**newborn)])) == PARTLY
    renamed = (*name("Rivera-Soto", "Baby Boy"), *name("Rivera-Soto", "Leo"))
    leo = person(identifiers=(), names=name("Rivera-Soto", "Leo"))
    assert said(match(leo, [panel_person(names=renamed)])) == PLACEHOLDER


def test_a_newborn_who_has_a_name_by_now_is_no_placeholder() -> None:
    named = (*name("Rivera-Soto", "Leo"), *name("Rivera-Soto", "Baby Boy"))
    assert said(match(person(names=named), [panel_person(names=name("Rivera-Soto", "Leo"))])) == BY_IDENTIFIER


def test_a_reviewer_sees_what_speaks_for_and_against() -> None:
    result = match(person(identifiers=(mr("5005"),), sex="M", ssn=None), [panel_person()])
    assert isinstance(result, Uncertain)
    (candidate,) = result.candidates
    assert candidate.agreements == ("name", "birth-date", "phone", "address")
    assert candidate.contradictions == ("sex", "identifier")


def test_nobody_on_the_panel_is_nobody_alike() -> None:
    assert said(match(person(), [])) == NOBODY_ALIKE
    assert said(match(comparable(RawDemographics()), [])) == "unmatched: says-too-little"


@pytest.mark.parametrize(
    ("periods", "expected"),
    [
        ([], False),
        ([(None, None)], True),
        ([(date(2026, 11, 20), None)], True),
        ([(date(2026, 11, 21), None)], False),
        ([(None, date(2026, 11, 20))], True),
        ([(None, date(2026, 11, 19))], False),
        ([(None, date(2026, 1, 1)), (date(2026, 11, 1), date(2026, 11, 30))], True),
        ([(date(2026, 11, 21), date(2026, 11, 19))], False),
    ],
)
def test_a_membership_holds_on_its_first_and_last_day(
    periods: list[tuple[date | None, date | None]], expected: bool
) -> None:
    memberships = [Membership(effective_from=first, effective_to=last) for first, last in periods]
    assert is_member(memberships, date(2026, 11, 20)) is expected


# --- properties ------------------------------------------------------------------------------------------------------

FEW = {
    "family": st.sampled_from(["Rivera", "Rivera-Soto", "Soto", "Ng", "Doe", "ZZTEST", "", "Baby Girl", "O'Neil Jr"]),
    "given": st.sampled_from(["Ana", "Ana María", "A", "Luz", "Jane", "Baby Boy", "", "BB"]),
    "suffix": st.sampled_from([None, "JR", "Sr.", "MD"]),
}
RAW = st.builds(
    RawDemographics,
    names=st.lists(st.builds(RawName, **FEW), max_size=2).map(tuple),
    birth_date=st.sampled_from([None, date(1952, 3, 14), date(1980, 5, 5), date(1900, 1, 1)]),
    sex=st.sampled_from([None, "F", "M", "U"]),
    phones=st.lists(st.sampled_from(["217-483-0142", "(312) 274-1111", "999", "555-1234"]), max_size=2).map(tuple),
    addresses=st.lists(
        st.builds(
            RawAddress,
            street=st.sampled_from(["12 Oak St", "12 OAK STREET", "9 Elm Ave", "Unknown"]),
            zip=st.sampled_from(["62701", "62701-0001", None]),
        ),
        max_size=2,
    ).map(tuple),
    ssn=st.sampled_from([None, "4821", "219014821", "9999"]),
    identifiers=st.lists(
        st.builds(
            Identifier,
            authority=st.sampled_from(["MERCY", "LAKESIDE", None]),
            value=st.sampled_from(["1001", "01001", "2002", "000"]),
            type=st.sampled_from(["MR", "PI", None, "MC", "SS"]),
        ),
        max_size=2,
    ).map(tuple),
)


@given(raw=RAW, panel=st.lists(RAW, max_size=4), order=st.randoms(use_true_random=False))
def test_who_is_linked_does_not_depend_on_the_order_of_the_candidates(
    raw: RawDemographics, panel: list[RawDemographics], order: Any
) -> None:
    candidates = [panel_person(f"p{at}", one) for at, one in enumerate(panel)]
    result = match(comparable(raw), candidates)
    order.shuffle(candidates)
    assert match(comparable(raw), candidates) == result


@given(raw=RAW, patient=RAW)
def test_whoever_is_linked_or_doubted_has_a_key_in_common(raw: RawDemographics, patient: RawDemographics) -> None:
    compared, candidate = comparable(raw), panel_person(raw=patient)
    result = match(compared, [candidate])
    keys = match_keys(candidate.demographics)
    if not isinstance(result, Unmatched):
        assert match_keys(compared) & keys
    if not identifier_keys(compared) & identifier_keys(candidate.demographics) and not isinstance(result, Unmatched):
        assert demographic_keys(compared) & keys


@pytest.mark.parametrize("third", ["phones", "addresses", "ssn"])
@pytest.mark.parametrize("missing", [{"names": name("Rivera-Soto", "Luz")}, {"birth_date": None}])
def test_each_third_finds_who_shares_it_with_a_name_or_a_birth_date(third: str, missing: dict[str, Any]) -> None:
    alike = person(**{**NOBODY, third: getattr(ANA, third), **missing})
    assert said(match(alike, [panel_person()])) == PARTLY
    assert demographic_keys(alike) & match_keys(panel_person().demographics)


@given(raw=RAW, patient=RAW)
def test_a_placeholder_never_links(raw: RawDemographics, patient: RawDemographics) -> None:
    compared, candidate = comparable(raw), panel_person(raw=patient)
    if compared.is_placeholder or candidate.demographics.is_placeholder:
        assert not isinstance(match(compared, [candidate]), Linked)


@given(raw=RAW, patient=RAW)
def test_two_patients_alike_in_everything_are_never_linked(raw: RawDemographics, patient: RawDemographics) -> None:
    panel = [panel_person("one", patient), panel_person("two", patient)]
    assert not isinstance(match(comparable(raw), panel), Linked)


@given(raw=RAW, patient=RAW)
def test_a_link_has_a_reason_and_nothing_against_it(raw: RawDemographics, patient: RawDemographics) -> None:
    compared, candidate = comparable(raw), panel_person(raw=patient)
    result = match(compared, [candidate])
    if not isinstance(result, Linked):
        return
    theirs = candidate.demographics
    assert {"name", "birth-date"} & set(result.agreements)
    assert None in {compared.birth_date, theirs.birth_date} or compared.birth_date == theirs.birth_date
    if result.rule == "demographics":
        assert {"name", "birth-date"} < set(result.agreements)
        assert {"phone", "address", "ssn4"} & set(result.agreements)
        assert {compared.sex, theirs.sex} != {"F", "M"}
    else:
        assert identifier_keys(compared) & identifier_keys(theirs)


@given(raw=RAW, patient=RAW)
def test_comparing_is_the_same_from_either_side(raw: RawDemographics, patient: RawDemographics) -> None:
    def outcome(one: RawDemographics, two: RawDemographics) -> str:
        return type(
            match(comparable(one), [PanelPerson(patient_id="p", demographics=comparable(two), memberships=())])
        ).__name__

    assert outcome(raw, patient) == outcome(patient, raw)
