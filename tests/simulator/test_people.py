import random
from collections import Counter
from datetime import date

import pytest

from services.simulator.people import Person, Population

TODAY = date(2026, 11, 24)


def population(seed: int = 1) -> Population:
    return Population(random.Random(seed), today=TODAY)


def test_nobody_shares_name_and_birth_date_or_a_telephone_by_accident() -> None:
    invents = population()
    people = [invents.person() for _ in range(2500)]
    names = Counter((one.family, one.given, one.birth_date) for one in people)
    phones = Counter(phone for one in people for phone in (one.phone, one.kin.phone))
    assert max(names.values()) == 1
    assert max(phones.values()) == 1


def test_names_are_not_used_twice_while_there_are_others() -> None:
    invents = population()
    people = [invents.person() for _ in range(300)]
    assert len({(one.family, one.given) for one in people}) == 300


def test_telephones_use_area_codes_that_nobody_has() -> None:
    invents = population()
    for _ in range(200):
        phone = invents.person().phone
        assert len(phone) == 10
        assert phone[1] == "9"
        assert phone[3:6] != "555"


def test_no_social_security_digits_look_like_filler() -> None:
    invents = population()
    assert not {invents.person().ssn4 for _ in range(3000)} & {"0000", "1111", "9999", "1234"}


def same(person: Person, other: Person, *fields: str) -> set[str]:
    return {field for field in fields if getattr(person, field) == getattr(other, field)}


FIELDS = ("family", "given", "birth_date", "street", "zip", "phone", "ssn4", "mbi", "key")


@pytest.mark.parametrize("seed", range(20))
def test_each_likeness_shares_what_it_says_and_no_more(seed: int) -> None:
    invents = population(seed)
    person = invents.person()
    while not person.mbi:
        person = invents.person()
    assert same(person, invents.twin_of(person), *FIELDS) == {"family", "birth_date", "street", "zip", "phone"}
    assert same(person, invents.namesake_of(person), *FIELDS) == {"family", "given"}
    assert same(person, invents.parent_of(person), *FIELDS) == {"family", "given", "street", "zip", "phone"}
    assert same(person, invents.double_of(person), *FIELDS) == {"family", "given", "birth_date"}
    assert same(person, invents.moved(person), "street", "zip") == set()
    assert same(person, invents.with_other_phone(person), *FIELDS) == {*FIELDS} - {"phone"}


def test_numbers_are_given_out_once() -> None:
    invents = population()
    numbers = [invents.number(digits=3) for _ in range(800)]
    assert len(set(numbers)) == 800
    assert "777" not in numbers
