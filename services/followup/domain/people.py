"""Whose stays the fragments tell: source patients known under one visit number, and who a stay says its patient is.

A visit number shared by two source patients who are plainly one person (the same birth date and one name the same)
is one stay of that person: messages often name a patient by different numbers. Shared by two who are not, it is a
matter for a person to decide (domain §2.5, DESIGN §5). Pure; a function of the set of fragments.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Final

from services.followup.domain.demographics import (
    ComparableDemographics,
    Identifier,
    RawAddress,
    RawDemographics,
    RawName,
    comparable,
)
from services.followup.domain.fragments import Fragment
from services.followup.domain.grouping import began_at, group_fragments, joined
from services.followup.domain.statements import IDENTIFIER_FIELD, unpack
from services.followup.domain.stays import StayView, view_stay

VisitNumber = tuple[str | None, str]

SAME_USE: Final = timedelta(days=90)
"""Two people under one visit number further apart than this: the number was used again, nothing is shared [D]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A stay as its fragments tell it: the view, who they say the patient is, and whether that is in doubt."""

    source_key: str
    view: StayView
    person: ComparableDemographics
    shared_with_other: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """All stays of some source patients, and the fragments that wait for theirs."""

    stays: tuple[Told, ...]
    waiting: tuple[Fragment, ...]


def visit_numbers(fragments: Iterable[Fragment]) -> set[VisitNumber]:
    """Return the visit numbers that fragments carry."""
    return {(one.visit_authority, one.visit_number) for one in fragments if one.visit_number is not None}


def stays_told(sources: Sequence[Sequence[Fragment]]) -> Telling:
    """Return the stays of source patients, each given by all its fragments."""
    people, conflicts = _people([list(fragments) for fragments in sources if fragments])
    stays: list[Told] = []
    waiting: list[Fragment] = []
    for fragments in people:
        grouping = group_fragments(fragments)
        stays += [_told(group, conflicts) for group in grouping.stays]
        waiting += grouping.waiting
    return Telling(stays=tuple(stays), waiting=tuple(waiting))


def _told(group: Sequence[Fragment], conflicts: set[tuple[VisitNumber, str]]) -> Told:
    keys = {one.source_key for one in group}
    numbers = visit_numbers(group)
    return Told(
        source_key=min(keys),
        view=view_stay(group),
        person=stated_person(group),
        shared_with_other=any((number, key) in conflicts for number in numbers for key in keys),
    )


def _people(sources: list[list[Fragment]]) -> tuple[list[list[Fragment]], set[tuple[VisitNumber, str]]]:
    """Put source patients together that are one person; return them with the (number, source) pairs in conflict."""
    by_number: dict[VisitNumber, list[int]] = {}
    for index, fragments in enumerate(sources):
        for number in visit_numbers(fragments):
            by_number.setdefault(number, []).append(index)
    leader = list(range(len(sources)))
    conflicts: set[tuple[VisitNumber, str]] = set()
    for number, indexes in by_number.items():
        for at, left in enumerate(indexes):
            for right in indexes[at + 1 :]:
                verdict = _compare(_under(sources[left], number), _under(sources[right], number))
                if verdict == "same":
                    _unite(leader, left, right)
                elif verdict == "other":
                    conflicts |= {(number, sources[left][0].source_key), (number, sources[right][0].source_key)}
    merged: dict[int, list[Fragment]] = {}
    for index, fragments in enumerate(sources):
        merged.setdefault(leader[index], []).extend(fragments)
    return list(merged.values()), conflicts


def _under(fragments: Iterable[Fragment], number: VisitNumber) -> list[Fragment]:
    return [one for one in fragments if (one.visit_authority, one.visit_number) == number]


def _unite(leader: list[int], left: int, right: int) -> None:
    kept, gone = sorted((leader[left], leader[right]))
    leader[:] = [kept if one == gone else one for one in leader]


def _compare(left: Sequence[Fragment], right: Sequence[Fragment]) -> str:
    """Say whether two source patients under one visit number are the `same` person, `other` people, or `apart`."""
    if abs(began_at(left) - began_at(right)) > SAME_USE:
        return "apart"
    one, other = stated_person(left), stated_person(right)
    born = one.birth_date is not None and one.birth_date == other.birth_date
    named = bool(one.families & other.families or one.givens & other.givens)
    return "same" if born and named else "other"


def stated_person(group: Sequence[Fragment]) -> ComparableDemographics:
    """Return who a stay says its patient is, made comparable: what was said last, and the numbers of each source."""
    state = joined(group)
    sources = {one.source_key for one in group}
    numbers = [_identifiers(joined([one for one in group if one.source_key == key])) for key in sorted(sources)]
    born = _value(state, "birth_date")
    return comparable(
        RawDemographics(
            names=tuple(
                RawName(family=family, given=given, suffix=suffix)
                for family, given, _, suffix in (unpack(line, 4) for line in _lines(state, "names"))
            ),
            birth_date=date.fromisoformat(born) if born else None,
            sex=_value(state, "sex"),
            phones=_words(_value(state, "phones")),
            addresses=tuple(
                RawAddress(street=street, zip=zip_code)
                for street, zip_code in (unpack(line, 2) for line in _lines(state, "addresses"))
            ),
            ssn=_value(state, "ssn"),
            identifiers=tuple(chain.from_iterable(numbers)),
        )
    )


def _value(state: Fragment, name: str) -> str | None:
    said = state.fields.get(name)
    return said.value if said else None


def _lines(state: Fragment, name: str) -> list[str]:
    return (_value(state, name) or "").split("\n")


def _words(packed: str | None) -> tuple[str, ...]:
    return tuple(word for word in (packed or "").split("\t") if word)


def _identifiers(state: Fragment) -> Iterable[Identifier]:
    for name, said in sorted(state.fields.items()):
        if name.startswith(IDENTIFIER_FIELD):
            authority, kind = unpack(name.removeprefix(IDENTIFIER_FIELD), 2)
            for value in _words(said.value):
                yield Identifier(authority=authority, value=value, type=kind)
