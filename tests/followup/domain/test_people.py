"""Source patients under one visit number: one person, two people, or the number used again."""

from services.followup.domain.fragments import Fragment
from services.followup.domain.people import stays_told
from services.followup.domain.statements import Statement, pack
from tests.support.stated import fragments_of, state


def told_by(patient: str, name: str, born: str, admitted: str, discharged: str | None = None) -> list[Fragment]:
    said: dict[str, object] = {"patient": patient, "admitted": admitted, "class_": "IMP"}
    statements = [state("A01", admitted, **said)]
    if discharged:
        statements.append(state("A03", discharged, discharged=discharged, **said))
    return fragments_of(_named(one, name, born) for one in statements)


def _named(statement: Statement, name: str, born: str) -> Statement:
    family, given = name.split()
    statement.fields.update(names=pack(family, given, None, None), birth_date=born)
    return statement


ANA = told_by("MERCY|record|1", "RIVERA ANA", "1952-03-14", "2026-11-16 08:00", "2026-11-18 14:00")


def test_one_person_under_two_numbers_has_one_stay() -> None:
    again = told_by("MERCY|record|2", "RIVERA ANA", "1952-03-14", "2026-11-16 08:00")
    (stay,) = stays_told([ANA, again]).stays
    assert not stay.shared_with_other
    assert stay.view.status == "finished"


def test_a_name_changed_by_marriage_is_one_person_still() -> None:
    again = told_by("MERCY|record|2", "LOPEZ ANA", "1952-03-14", "2026-11-16 08:00")
    assert len(stays_told([ANA, again]).stays) == 1


def test_two_people_under_one_visit_number_are_both_in_doubt() -> None:
    other = told_by("MERCY|record|2", "RIVERA LUZ", "1980-01-01", "2026-11-16 09:00")
    stays = stays_told([ANA, other]).stays
    assert [stay.shared_with_other for stay in stays] == [True, True]


def test_a_number_used_again_for_another_person_much_later_is_not_shared() -> None:
    other = told_by("MERCY|record|2", "STRANGER SAM", "1980-01-01", "2025-11-16 09:00")
    stays = stays_told([ANA, other]).stays
    assert [stay.shared_with_other for stay in stays] == [False, False]


def test_three_numbers_of_one_person_are_one_stay_whichever_comes_first() -> None:
    second = told_by("MERCY|record|2", "RIVERA ANA", "1952-03-14", "2026-11-16 08:00")
    third = told_by("MERCY|record|3", "RIVERA ANA", "1952-03-14", "2026-11-16 08:00")
    forward, backward = (stays_told(order).stays for order in ([ANA, second, third], [third, second, ANA]))
    assert [stay.view for stay in forward] == [stay.view for stay in backward]
    assert len(forward) == 1


def test_the_person_of_a_stay_keeps_the_numbers_of_every_source() -> None:
    def numbered(fragments: list[Fragment], value: str) -> list[Fragment]:
        said = next(iter(fragments[0].fields.values()))
        for one in fragments:
            one.fields["id\tMERCY\tMR"] = type(said)(order=said.order, value=value)
        return fragments

    first = numbered(told_by("MERCY|record|1", "RIVERA ANA", "1952-03-14", "2026-11-16 08:00"), "1")
    second = numbered(told_by("MERCY|record|2", "RIVERA ANA", "1952-03-14", "2026-11-16 08:00"), "2")
    (stay,) = stays_told([first, second]).stays
    assert {identifier.value for identifier in stay.person.identifiers} == {"1", "2"}
