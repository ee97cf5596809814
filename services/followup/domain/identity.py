"""Whether a person in a message is somebody on the panel: linked, uncertain, or not.

Promise: nobody is linked by guess. Two ways lead to a link, both without a contradiction:

- an identifier within its authority (an MBI by its type), which the name or the birth date confirms while the other
  does not contradict;
- name and birth date and one more of telephone, street with ZIP code, and SSN-4, all equal as normalized.

Anything less that still deserves a look is `Uncertain`, for a person to decide; household members, who share nothing
but a home and perhaps a family name, are `Unmatched`. The order of the candidates does not matter.
Sources: the issue's rules; domain §2.4 (11, 12, 15, 18), §2.5 rule 11; matching.md §1 (CMS 3.4.0: name and birth date
alone is not approved), §4; faults B32 to B34.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final, Literal

from services.followup.domain.demographics import ComparableDemographics, ComparableIdentifier, Name

CANDIDATES_SHOWN_MAX: Final = 20
"""Candidates that a review shows; more than this many alike are bad data, not people."""

Rule = Literal["identifier", "demographics"]
UncertainReason = Literal[
    "identifiers-disagree",
    "identifier-contradicted",
    "identifier-unconfirmed",
    "several-patients-match",
    "demographics-contradicted",
    "partly-agrees",
    "placeholder-name",
]
UnmatchedReason = Literal["nobody-alike", "placeholder-name", "test-patient", "says-too-little"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A period on the panel, both days included; an open end is `None`."""

    effective_from: date | None
    effective_to: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelPerson:
    """Somebody who is or was on the panel."""

    patient_id: str
    demographics: ComparableDemographics
    memberships: tuple[Membership, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The person is this patient; `agreements` are the fields that say so."""

    patient_id: str
    rule: Rule
    agreements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A patient whom a reviewer is shown, with what speaks for and against; names of fields, never their content."""

    patient_id: str
    agreements: tuple[str, ...]
    contradictions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertain:
    """The person may be one of these; a person decides."""

    reason: UncertainReason
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """The person is nobody on the panel, as far as the message says."""

    reason: UnmatchedReason


MatchResult = Linked | Uncertain | Unmatched


class _Verdict(IntEnum):
    """How two values of one field stand to each other, the better the greater."""

    CONTRADICTS = 0
    SAYS_NOTHING = 1
    CONFIRMS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """A person beside one patient."""

    patient_id: str
    placeholder: bool
    identified: bool
    name: _Verdict
    birth_date: _Verdict
    shared: tuple[str, ...]
    """Which of family and given name are equal."""
    thirds: tuple[str, ...]
    """Which of telephone, address and SSN-4 are equal."""
    conflicts: tuple[str, ...]
    """Which of suffix, sex and identifiers exclude each other."""

    @property
    def is_full(self) -> bool:
        """Whether name, birth date and a third are all equal."""
        return self.name is self.birth_date is _Verdict.CONFIRMS and bool(self.thirds)

    @property
    def is_partial(self) -> bool:
        """Whether two of name, birth date and a third are equal, and of the rest the family or given name."""
        named, born = self.name is _Verdict.CONFIRMS, self.birth_date is _Verdict.CONFIRMS
        return (named and (born or bool(self.thirds))) or (born and bool(self.thirds) and bool(self.shared))

    def as_candidate(self) -> Candidate:
        """Return what a reviewer is shown."""
        name = ("name",) if self.name is _Verdict.CONFIRMS else self.shared
        born = ("birth-date",) if self.birth_date is _Verdict.CONFIRMS else ()
        identifier = ("identifier",) if self.identified else ()
        return Candidate(
            patient_id=self.patient_id,
            agreements=(*identifier, *name, *born, *self.thirds),
            contradictions=(*self.contradicted, *self.conflicts),
        )

    @property
    def contradicted(self) -> tuple[str, ...]:
        """Which of name and birth date are stated and not the same."""
        name = ("name",) if self.name is _Verdict.CONTRADICTS else ()
        return (*name, "birth-date") if self.birth_date is _Verdict.CONTRADICTS else name


def match(person: ComparableDemographics, candidates: Sequence[PanelPerson]) -> MatchResult:
    """Say which candidate a person is; `candidates` holds at least everybody who could be linked or uncertain."""
    by_id = {one.patient_id: one for one in candidates}
    comparisons = [_compare(person, by_id[patient_id]) for patient_id in sorted(by_id)]
    if any(one.identified for one in comparisons):
        return _match_by_identifier(comparisons)
    return _match_by_demographics(person, comparisons)


def is_member(memberships: Iterable[Membership], on: date) -> bool:
    """Say whether one of the periods holds on that day."""
    return any(
        (one.effective_from is None or one.effective_from <= on)
        and (one.effective_to is None or on <= one.effective_to)
        for one in memberships
    )


def _match_by_identifier(comparisons: Sequence[_Comparison]) -> Linked | Uncertain:
    hits = [one for one in comparisons if one.identified]
    shown = [one for one in comparisons if one.identified or one.is_partial]
    if len(hits) > 1:
        return _uncertain("identifiers-disagree", shown)
    (hit,) = hits
    if hit.placeholder:
        return _uncertain("placeholder-name", shown)
    certain_person = hit.name is hit.birth_date is _Verdict.CONFIRMS
    # With name and birth date the same, a wrong sex or suffix is a slip of registration. Without, it is a relative.
    excluded = [one for one in hit.conflicts if one != "identifier" and not certain_person]
    if hit.contradicted or excluded:
        return _uncertain("identifier-contradicted", shown)
    if _Verdict.CONFIRMS not in {hit.name, hit.birth_date}:
        return _uncertain("identifier-unconfirmed", shown)
    return Linked(patient_id=hit.patient_id, rule="identifier", agreements=hit.as_candidate().agreements)


def _match_by_demographics(person: ComparableDemographics, comparisons: Sequence[_Comparison]) -> MatchResult:
    full = [one for one in comparisons if one.is_full]
    shown = [one for one in comparisons if one.is_partial]
    if not shown:
        return Unmatched(reason=_why_unmatched(person))
    if person.is_placeholder or any(one.placeholder for one in full):
        return _uncertain("placeholder-name", shown)
    if len(full) > 1:
        return _uncertain("several-patients-match", full)
    if not full:
        return _uncertain("partly-agrees", shown)
    (found,) = full
    if found.conflicts:
        return _uncertain("demographics-contradicted", shown)
    return Linked(patient_id=found.patient_id, rule="demographics", agreements=found.as_candidate().agreements)


def _why_unmatched(person: ComparableDemographics) -> UnmatchedReason:
    if person.placeholder == "test":
        return "test-patient"
    if person.placeholder is not None:
        return "placeholder-name"
    if not person.identifiers and not (person.names and person.birth_date):
        return "says-too-little"
    return "nobody-alike"


def _uncertain(reason: UncertainReason, comparisons: Sequence[_Comparison]) -> Uncertain:
    shown = tuple(one.as_candidate() for one in comparisons[:CANDIDATES_SHOWN_MAX])
    return Uncertain(reason=reason, candidates=shown)


def _compare(person: ComparableDemographics, patient: PanelPerson) -> _Comparison:
    other = patient.demographics
    families, givens = person.families & other.families, person.givens & other.givens
    thirds = {
        "phone": person.phones & other.phones,
        "address": person.homes & other.homes,
        "ssn4": person.ssn4 is not None and person.ssn4 == other.ssn4,
    }
    identified = not _hit_keys(person).isdisjoint(_hit_keys(other))
    conflicts = {
        "suffix": _differ(person.suffix, other.suffix),
        "sex": _differ(person.sex, other.sex),
        "identifier": not identified and _numbers_differ(person.identifiers, other.identifiers),
    }
    return _Comparison(
        patient_id=patient.patient_id,
        placeholder=person.is_placeholder or other.is_placeholder,
        identified=identified,
        name=_compare_names(person.names, other.names),
        birth_date=_compare_birth_dates(person.birth_date, other.birth_date),
        shared=(*(("family",) if families else ()), *(("given",) if givens else ())),
        thirds=tuple(name for name, equal in thirds.items() if equal),
        conflicts=tuple(name for name, against in conflicts.items() if against),
    )


def _hit_keys(person: ComparableDemographics) -> set[tuple[tuple[str, str], str]]:
    return {(one.scope, one.value) for one in person.identifiers}


def _numbers_differ(left: Iterable[ComparableIdentifier], right: Iterable[ComparableIdentifier]) -> bool:
    """Say whether both have a number of one authority and type; called where they have none in common."""
    kinds = {(one.authority, one.type) for one in left}
    return any((one.authority, one.type) in kinds for one in right)


def _differ(left: str | None, right: str | None) -> bool:
    return left is not None and right is not None and left != right


def _compare_birth_dates(left: date | None, right: date | None) -> _Verdict:
    if left is None or right is None:
        return _Verdict.SAYS_NOTHING
    return _Verdict.CONFIRMS if left == right else _Verdict.CONTRADICTS


def _compare_names(left: Sequence[Name], right: Sequence[Name]) -> _Verdict:
    """Compare every name with every name, present and previous; the best counts."""
    return max((_compare_name(one, other) for one in left for other in right), default=_Verdict.SAYS_NOTHING)


def _compare_name(left: Name, right: Name) -> _Verdict:
    """Both parts confirm, or one contradicts; a part that is missing or shortened says nothing."""
    return min(_compare_words(left.family, right.family), _compare_words(left.given, right.given))


def _compare_words(left: tuple[str, ...], right: tuple[str, ...]) -> _Verdict:
    if not left or not right:
        return _Verdict.SAYS_NOTHING
    if "".join(left) == "".join(right):
        return _Verdict.CONFIRMS
    part_of = set(left) <= set(right) or set(right) <= set(left)
    return _Verdict.SAYS_NOTHING if part_of or _is_shortened(left, right) else _Verdict.CONTRADICTS


def _is_shortened(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Say whether one is the other with initials for words: J for JOHN, JOHN A for JOHN ALLEN."""
    return all(
        one == other or (1 in {len(one), len(other)} and one[0] == other[0])
        for one, other in zip(left, right, strict=False)
    )
