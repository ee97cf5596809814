"""People who do not exist: who they are, where they live, and whom they could be mistaken for.

Owns the invention of persons and of record numbers. Promise: within one population no two people share name and
birth date, a telephone or a record number of one authority by accident; every likeness (twins, namesakes, father and
son) is made on purpose by a function that says which. Telephones use area codes of the form N9X, which the North
American Numbering Plan keeps unassigned for its expansion, so none of them rings anywhere.
"""

import random
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final, Literal

Sex = Literal["F", "M"]

_GIVEN: Final[dict[Sex, tuple[str, ...]]] = {
    "F": (
        "Abigail", "Beatriz", "Charlotte", "Dolores", "Eleanor", "Fatima", "Graciela", "Hannah", "Inés", "Josephine",
        "Keiko", "Lucía", "Margaret", "Noor", "Olivia", "Priya", "Renée", "Sofía", "Thandiwe", "Ursula", "Vivian",
        "Winifred", "Xiomara", "Yolanda", "Zoë",
    ),
    "M": (
        "Andrés", "Bernard", "Clarence", "Dmitri", "Emeka", "François", "Gerald", "Hiroshi", "Isaac", "José", "Kwame",
        "Leonard", "Mateo", "Nathaniel", "Omar", "Patrick", "Quentin", "Ramón", "Samuel", "Tobias", "Ulysses",
        "Vincent", "Walter", "Yusuf", "Zachary",
    ),
}  # fmt: skip
_FAMILY: Final = (
    "Abernathy", "Baptiste", "Castañeda", "D'Angelo", "Eriksen", "Fitzgerald", "García", "Hollingsworth", "Ibrahim",
    "Jaramillo", "Kowalczyk", "Lindqvist", "Müller", "Nakamura", "O'Brien", "Pérez-Vega", "Quintero", "Rosenberg",
    "Smith-Jones", "Tran", "Underwood", "Valdés", "Whitfield", "Yamada", "Zimmermann", "Okafor", "Peterson", "Lévesque",
    "McAllister", "Núñez",
)  # fmt: skip
_MIDDLE: Final = ("", "", "Anne", "Lee", "Marie", "Ray", "James", "Rose", "Dean")
_STREETS: Final = ("Maple Ave", "N. Oak St", "Birchwood Dr", "St. Clair Blvd", "Quarry Rd", "Old Mill Ln", "W. Elm Ct")
_HOMES: Final = (
    ("Albany", "NY", "12203"), ("Utica", "NY", "13501"), ("Rockford", "IL", "61104"), ("Elgin", "IL", "60120"),
    ("Mesa", "AZ", "85201"), ("Tucson", "AZ", "85705"), ("Fargo", "ND", "58102"), ("Billings", "MT", "59101"),
)  # fmt: skip
_LANGUAGES: Final = ("en", "en", "en", "en", "es", "es", "vi", "ar")
_AREA_CODES: Final = ("290", "392", "493", "594", "695", "796")  # N9X: never assigned (NANPA numbering resources)
_EXCHANGES: Final = tuple(str(code) for code in range(220, 990) if code % 100 != 11 and code != 555)
_MBI_LETTERS: Final = "ACDEFGHJKMNPQRTUVWXY"  # CMS leaves out S, L, O, I, B and Z
_MBI_PATTERN: Final = "9A99AA9AA99"
_ADULT_AGES: Final = (19, 94)
_CHILD_AGES: Final = (2, 17)
_CHILD_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """The person to call beside the patient."""

    family: str
    given: str
    relation: str
    phone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as they would describe themselves; an empty text is something that nobody wrote down."""

    key: str
    family: str
    given: str
    middle: str
    suffix: str
    birth_date: date
    sex: Sex
    street: str
    city: str
    state: str
    zip: str
    phone: str
    """Ten digits."""
    ssn4: str
    mbi: str
    language: str
    kin: Kin
    minor: bool


class Population:
    """Invents people and record numbers, each only once."""

    def __init__(self, rng: random.Random, *, today: date) -> None:
        self._rng = rng
        self._today = today
        self._count = 0
        self._names: set[tuple[str, str]] = set()
        self._identities: set[tuple[str, str, date]] = set()
        self._numbers: set[str] = set()

    def person(self) -> Person:
        """Return somebody whom nobody else resembles."""
        rng = self._rng
        sex: Sex = rng.choice(("F", "M"))
        minor = rng.random() < _CHILD_SHARE
        family, given, birth_date = self._identity(sex, _CHILD_AGES if minor else _ADULT_AGES)
        city, state, zip_code = rng.choice(_HOMES)
        return Person(
            key=self._key(),
            family=family,
            given=given,
            middle=rng.choice(_MIDDLE),
            suffix="",
            birth_date=birth_date,
            sex=sex,
            street=self._street(),
            city=city,
            state=state,
            zip=zip_code,
            phone=self._phone(),
            ssn4=self._ssn4(),
            mbi="" if minor else self._mbi(),
            language=rng.choice(_LANGUAGES),
            kin=self._kin(family, minor=minor),
            minor=minor,
        )

    def twin_of(self, person: Person) -> Person:
        """Return a twin: family name, birth date, home and telephone are shared, the rest is their own."""
        sex: Sex = self._rng.choice(("F", "M"))
        given = self._rng.choice([name for name in _GIVEN[sex] if name != person.given])
        return replace(
            person, key=self._key(), given=given, middle="", sex=sex, ssn4=self._ssn4(unlike=person.ssn4), mbi=""
        )

    def namesake_of(self, person: Person) -> Person:
        """Return somebody of the same name, born on another day, living elsewhere."""
        return replace(self.double_of(person), birth_date=person.birth_date - timedelta(days=1900))

    def parent_of(self, person: Person) -> Person:
        """Return a parent of the same name in the same home with the same telephone: only the birth date differs."""
        return replace(
            person,
            key=self._key(),
            birth_date=person.birth_date.replace(day=1) - timedelta(days=10_000),
            ssn4=self._ssn4(unlike=person.ssn4),
            mbi="",
            minor=False,
        )

    def double_of(self, person: Person) -> Person:
        """Return a stranger of the same name, sex and birth date with whom nothing else is shared."""
        city, state, zip_code = self._rng.choice([home for home in _HOMES if home[2] != person.zip])
        return replace(
            person,
            key=self._key(),
            street=self._street(),
            city=city,
            state=state,
            zip=zip_code,
            phone=self._phone(),
            ssn4=self._ssn4(unlike=person.ssn4),
            mbi="",
            kin=self._kin(person.family, minor=person.minor),
        )

    def moved(self, person: Person) -> Person:
        """Return the same person with another home than before."""
        city, state, zip_code = self._rng.choice([home for home in _HOMES if home[2] != person.zip])
        return replace(person, street=self._street(), city=city, state=state, zip=zip_code)

    def with_other_phone(self, person: Person) -> Person:
        """Return the same person with another telephone."""
        return replace(person, phone=self._phone())

    def number(self, prefix: str = "", digits: int = 7) -> str:
        """Return a number that was not given out before."""
        while True:
            drawn = str(self._rng.randint(10 ** (digits - 1), 10**digits - 1))
            number = prefix + drawn
            if number not in self._numbers and len(set(drawn)) > 1:  # one digit many times is a filler
                self._numbers.add(number)
                return number

    def _key(self) -> str:
        self._count += 1
        return f"person-{self._count:04d}"

    def _identity(self, sex: Sex, ages: tuple[int, int]) -> tuple[str, str, date]:
        """Return a family name, given name and birth date; a name is used twice only when all of them are."""
        free = [(family, given) for family in _FAMILY for given in _GIVEN[sex] if (family, given) not in self._names]
        family, given = self._rng.choice(free or [(family, given) for family in _FAMILY for given in _GIVEN[sex]])
        self._names.add((family, given))
        while (identity := (family, given, self._birth_date(ages))) in self._identities:
            pass
        self._identities.add(identity)
        return identity

    def _birth_date(self, ages: tuple[int, int]) -> date:
        return self._today - timedelta(days=self._rng.randint(ages[0] * 366, ages[1] * 365))

    def _street(self) -> str:
        return f"{self._rng.randint(11, 9899)} {self._rng.choice(_STREETS)}"

    def _phone(self) -> str:
        return self.number(prefix=self._rng.choice(_AREA_CODES) + self._rng.choice(_EXCHANGES), digits=4)

    def _ssn4(self, unlike: str = "") -> str:
        """Return four digits that nobody would take for a placeholder."""
        while (ssn4 := f"{self._rng.randint(0, 9999):04d}") in {unlike, "1234"} or len(set(ssn4)) == 1:
            pass
        return ssn4

    def _mbi(self) -> str:
        """Return a Medicare beneficiary identifier in CMS's pattern."""
        return "".join(self._rng.choice(_MBI_LETTERS if place == "A" else "123456789") for place in _MBI_PATTERN)

    def _kin(self, family: str, *, minor: bool) -> Kin:
        sex: Sex = self._rng.choice(("F", "M"))
        relation = ("MTH" if sex == "F" else "FTH") if minor else self._rng.choice(("SPO", "SIS", "BRO", "FND"))
        return Kin(family=family, given=self._rng.choice(_GIVEN[sex]), relation=relation, phone=self._phone())
