"""What the panel use cases need of a store: a place to compare a file with the panel, and people to match against.

The panel is the people whom the practices follow. Somebody is on it by a membership; a patient without one is not
there for anybody.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, NamedTuple, Protocol

from services.followup.domain.demographics import ComparableDemographics, Identifier
from services.followup.domain.identity import PanelPerson

Mode = Literal["merge", "replace"]
Outcome = Literal["added", "changed", "unchanged", "ended", "rejected"]

PERSON_COLUMNS: Final = (
    "family", "given", "middle", "suffix", "birth_date", "sex", "street", "city", "state", "zip", "phone", "ssn4",
    "language", "interpreter", "guardian_name", "guardian_relation", "guardian_phone",
)  # fmt: skip
"""What a row says of the person."""

MEMBERSHIP_COLUMNS: Final = ("effective_from", "effective_to", "practice", "pcp", "program")
"""What a row says of the membership; practice, program and first day tell two memberships of a person apart."""


class PanelRow(NamedTuple):
    """One row of a panel file, read. A tuple, because a million of them become SQL parameters as they are.

    `row` counts the header as 1, as spreadsheets do.
    """

    row: int
    patient_id: str
    family: str
    given: str
    middle: str | None
    suffix: str | None
    birth_date: date
    sex: str | None
    street: str | None
    city: str | None
    state: str | None
    zip: str | None
    phone: str | None
    ssn4: str | None
    language: str | None
    interpreter: bool | None
    guardian_name: str | None
    guardian_relation: str | None
    guardian_phone: str | None
    identifiers: tuple[Identifier, ...]
    effective_from: date | None
    effective_to: date | None
    practice: str | None
    pcp: str | None
    program: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What became, or would become, of a row; `row` is `None` for an ended membership, which no row names.

    `reason` is a stable kebab-case code. Neither it nor `text` holds anything that a cell said.
    """

    row: int | None
    patient_id: str | None
    outcome: Outcome
    reason: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A staged file beside the panel. Rows are counted by what they would do, `ended` in memberships."""

    added: int
    changed: int
    unchanged: int
    rejected: int
    """Rows that say otherwise than an earlier row about the same person or membership."""
    ended: int
    patients_before: int
    """People with a membership today or later."""
    patients_dropped: int
    """Those of them of whom the file says nothing (mode `replace`)."""

    @property
    def changes_something(self) -> bool:
        """Whether loading it would change the panel."""
        return bool(self.added or self.changed or self.ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who loads what, when: kept beside the rows it changes and in the audit trail."""

    file_name: str
    sha256: str
    mode: Mode
    row_count: int
    actor: str
    at: datetime


class PanelStaging(Protocol):
    """One import under way: `stage` the rows, `compare` once, look at the `results`, perhaps `load`."""

    def stage(self, rows: Sequence[PanelRow]) -> None:
        """Keep rows aside, where nobody sees them."""

    def compare(self, mode: Mode, stated: frozenset[str], today: date, *, complete: bool) -> Comparison:
        """Compare what was staged with the panel. Changes nothing.

        `stated` are the columns that the file has: what it has no column for stays as it is. Without `complete`
        (rows are missing because they could not be read) nothing counts as ended.
        """

    def results(self, rows_max: int) -> list[RowResult]:
        """Return what the rows would do, rejected ones first, then what would end; at most `rows_max`."""

    def load(self, load: Load) -> None:
        """Make the panel what was compared: all of it at one moment or, if the process dies, nothing.

        Enqueues every stay for another look at whom it belongs to and writes an audit row, in the same transaction.

        Raises:
            Transient: nothing was loaded; import the file again.
            Ambiguous: the disk failed at the end; import the file again, which is harmless.
        """


class PanelImports(Protocol):
    """Where files become the panel."""

    def staging(self) -> AbstractContextManager[PanelStaging]:
        """Begin an import; what was not loaded by the end of the block is gone.

        Raises:
            Transient: `panel-import-running`: there is one import at a time.
        """


class CandidateFinder(Protocol):
    """Finds on the panel whom people could be, within a unit of work."""

    @property
    def oversized_blocks(self) -> int:
        """How many keys so far had more patients than are looked at: bad data on the panel, to be counted."""

    def find_candidates(self, people: Sequence[ComparableDemographics]) -> list[list[PanelPerson]]:
        """Return for each person, in order, everybody on the panel whom `identity.match` may link or doubt.

        Costs a fixed handful of statements, whatever the number of people (up to 500).
        """
