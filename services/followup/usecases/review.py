"""What waits for a person's decision: stays whose patient is not certain, or that the rules cannot settle.

Shows ids, codes and places; never a name or another demographic, neither of the message nor of the panel. Deciding
comes with a later release; until then an item closes by itself once the messages or the panel settle it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500  # as a worklist page


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCandidate:
    """A panel patient whom it may be: fields that agree and contradict, by name."""

    patient_id: str
    agreements: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewStay:
    """The facts of the stay that is in doubt."""

    status: str
    facility_code: str | None
    facility_name: str | None
    class_code: str | None
    class_raw: str | None
    admitted_at: datetime | None
    discharged_on: date | None
    disposition_code: str | None
    disposition_raw: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReview:
    """One open item: what must be decided (`kind` is `match` or `stay`), why, and who it may be."""

    id: int
    kind: str
    reason: str
    text: str
    stay_id: str
    created_at: datetime
    stay: ReviewStay
    candidates: tuple[ReviewCandidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReviews:
    """The oldest open items, and how many there are in all."""

    items: tuple[OpenReview, ...]
    total: int


class ReviewStore(Protocol):
    """Reads reviews, and keeps the audit of looking."""

    def open_reviews(self, limit: int) -> OpenReviews:
        """Return the open items, oldest first."""

    def audit(self, *, actor: str, at: datetime, review_ids: Sequence[int]) -> None:
        """Keep that somebody looked."""
