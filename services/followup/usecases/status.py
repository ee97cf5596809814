"""Whether every message is accounted for: the books against the log (DESIGN §5, promise P2).

Every log position is in exactly one place: waiting to be consumed, or with one outcome. The two sides live in two
files, so they are read one after the other: first the books with the positions, in one snapshot of the database, then
the end of the log. The log only grows, so what arrives meanwhile is pending and a consistent answer is always
possible, also while everything runs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from schemas.events import ACK_HEADER
from services.runtime.eventlog.port import Record

CONSUMER_GROUP: Final = "followup"
"""Whose positions count; the worker consumes under this name."""
ACK_CODES: Final = ("AA", "AE", "AR")
"""Table 0008, original mode: always in the answer, also at 0, so that a script finds them."""
UNKNOWN_ACK: Final = "unknown"
"""Of a record whose headers cannot be read any more."""
OUTCOMES: Final = ("effect", "no_effect", "review", "dead_letter")
_DUPLICATE: Final = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the database says, in one snapshot. `positions` are the next offsets to consume, by partition.

    `firsts` are where the group began, by partition: 0, unless the log had been cut before. What retention takes from
    the beginning later was consumed all the same.
    """

    positions: Mapping[int, int]
    firsts: Mapping[int, int] = field(default_factory=dict)
    outcomes: Mapping[tuple[str, str], int]
    acks: Mapping[str, int]
    events: int
    open_letters: int
    tasks: Mapping[tuple[str, str], int]


EMPTY_BOOKS: Final = Books(positions={}, outcomes={}, acks={}, events=0, open_letters=0, tasks={})
"""Of a data folder whose database is not there yet."""


class BooksStore(Protocol):
    """Reads the books."""

    def read(self, group: str, topic: str) -> Books:
        """Return the books and the group's positions as of one moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How far the log reaches, read after the books: per partition the first offset and the next to be written.

    `pending_acks` counts the acknowledgement codes of the records from the books' positions to the ends.
    """

    begins: Mapping[int, int]
    ends: Mapping[int, int]
    pending_acks: Mapping[str, int]


NO_LOG: Final = Extent(begins={}, ends={}, pending_acks={})
"""Of a data folder whose log is not there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Where the consumed positions ended."""

    effect: int
    no_effect: Mapping[str, int]
    review: int
    dead_letter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """What a listener acknowledged and has not forwarded to the log; `None` where it did not answer."""

    address: str
    messages: int | None
    oldest_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `afterstay status` says. `problems` is empty exactly when the books balance.

    `received` and `pending` count what lies in spools, too, as far as the listeners answered.
    """

    received: int
    acknowledged: Mapping[str, int]
    events: int
    pending: int
    outcomes: Outcomes
    dead_letters: Mapping[str, int]
    tasks: Mapping[str, Mapping[str, int]]
    spools: tuple[Spool, ...]
    balanced: bool
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every listener said what its spool holds."""
        return all(spool.messages is not None for spool in self.spools)


def ack_of(record: Record) -> str:
    """Return the acknowledgement code that was decided for a record."""
    return (record.header(ACK_HEADER) or UNKNOWN_ACK.encode()).decode("ascii", "replace")


def status_of(books: Books, extent: Extent, spools: Sequence[Spool] = ()) -> Status:
    """Balance the books against the log.

    Read the spools before the books: what is forwarded meanwhile is then pending twice for a moment, and never missed.
    """
    pending = sum(_pending(books, extent).values()) + sum(spool.messages or 0 for spool in spools)
    outcomes = _outcomes_of(books)
    acknowledged = Counter(dict.fromkeys(ACK_CODES, 0))
    acknowledged.update(books.acks)
    acknowledged.update(extent.pending_acks)
    problems = _problems_of(books, extent)
    tasks: dict[str, dict[str, int]] = {}
    for (kind, status), n in sorted(books.tasks.items()):
        tasks.setdefault(kind, {})[status] = n
    return Status(
        received=_consumed(books) + pending,
        acknowledged=dict(acknowledged),
        events=books.events,
        pending=pending,
        outcomes=outcomes,
        dead_letters=_reasons(books, "dead_letter"),
        tasks=tasks,
        spools=tuple(spools),
        balanced=not problems,
        problems=problems,
    )


def pending_from(books: Books, begins: Mapping[int, int]) -> dict[int, int]:
    """Return for each partition where what is not consumed yet begins."""
    return {partition: max(books.positions.get(partition, 0), begin) for partition, begin in begins.items()}


def _consumed(books: Books) -> int:
    return sum(position - books.firsts.get(partition, 0) for partition, position in books.positions.items())


def _pending(books: Books, extent: Extent) -> dict[int, int]:
    starts = pending_from(books, extent.begins)
    return {partition: max(0, extent.ends[partition] - start) for partition, start in starts.items()}


def _outcomes_of(books: Books) -> Outcomes:
    return Outcomes(
        effect=sum(_reasons(books, "effect").values()),
        no_effect={_DUPLICATE: 0, **_reasons(books, "no_effect")},
        review=sum(_reasons(books, "review").values()),
        dead_letter=sum(_reasons(books, "dead_letter").values()),
    )


def _reasons(books: Books, outcome: str) -> dict[str, int]:
    return {reason: n for (found, reason), n in sorted(books.outcomes.items()) if found == outcome and n}


def _problems_of(books: Books, extent: Extent) -> tuple[str, ...]:
    return (*_lost_log(books, extent), *_miscounted(books, extent), *_impossible(books))


def _lost_log(books: Books, extent: Extent) -> list[str]:
    """Find positions that the log does not reach: it was replaced or cut, and new messages would be skipped."""
    return [
        f"partition {partition} was consumed up to {position} but the log ends at {extent.ends.get(partition, 0)}: "
        "the log is not the one that was consumed; restore log.db and afterstay.db from one backup"
        for partition, position in sorted(books.positions.items())
        if position > extent.ends.get(partition, 0)
    ]


def _miscounted(books: Books, extent: Extent) -> list[str]:
    consumed = _consumed(books)
    pending = sum(_pending(books, extent).values())
    found = (
        (sum(books.outcomes.values()), consumed, "outcomes are recorded for", "consumed positions"),
        (sum(books.acks.values()), consumed, "acknowledgements are counted for", "consumed positions"),
        (sum(extent.pending_acks.values()), pending, "records can be read of", "pending positions"),
        (
            books.open_letters,
            sum(_reasons(books, "dead_letter").values()),
            "dead letters are open of",
            "that are counted",
        ),
    )
    return [f"{n} {what} {of} {noun}" for n, of, what, noun in found if n != of]


def _impossible(books: Books) -> list[str]:
    named = {f"{outcome} ({reason or 'no reason'})": n for (outcome, reason), n in sorted(books.outcomes.items())}
    strange = sorted({outcome for (outcome, _), n in books.outcomes.items() if n and outcome not in OUTCOMES})
    return [
        *(f"{n} are counted as {what}, which cannot be" for what, n in (named | dict(books.acks)).items() if n < 0),
        *(f"the outcome {outcome} is none that a position can have" for outcome in strange),
    ]
