"""Open reviews with the stays they stand on (port: `usecases.review.ReviewStore`)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from services.followup.domain.stays import StayView
from services.followup.store.tables import audit_event, review, stay
from services.followup.usecases.review import OpenReview, OpenReviews, ReviewCandidate, ReviewStay
from services.runtime.database import read_transaction, write_transaction


class _Match(msgspec.Struct, frozen=True):
    candidates: tuple[ReviewCandidate, ...] = ()


_decode_evidence = msgspec.json.Decoder(tuple[str, _Match]).decode
_decode_view = msgspec.json.Decoder(StayView).decode


class SqlReviews:
    """The reviews of a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def open_reviews(self, limit: int) -> OpenReviews:
        """Return the open items, oldest first."""
        is_open = review.c.status == "open"
        statement = (
            sa.select(review, stay.c.view)
            .join_from(review, stay, review.c.stay_id == stay.c.id)
            .where(is_open)
            .order_by(review.c.created_at, review.c.id)
            .limit(limit)
        )
        with read_transaction(self._engine) as connection:
            rows = connection.execute(statement).mappings().all()
            total = connection.execute(sa.select(sa.func.count()).select_from(review).where(is_open)).scalar_one()
        return OpenReviews(items=tuple(map(_open_review, rows)), total=total)

    def audit(self, *, actor: str, at: datetime, review_ids: Sequence[int]) -> None:
        """Keep that somebody looked."""
        detail = msgspec.json.encode({"ids": review_ids}).decode()
        row = {"at": at, "actor": actor, "action": "reviews.listed", "entity": "match_review", "detail": detail}
        with write_transaction(self._engine) as connection:
            connection.execute(sa.insert(audit_event).values(row))


def _open_review(row: sa.RowMapping) -> OpenReview:
    text, match = _decode_evidence(row["evidence"])
    view = _decode_view(row["view"])
    return OpenReview(
        id=row["id"],
        kind=row["kind"],
        reason=row["reason"],
        text=text,
        stay_id=row["stay_id"],
        created_at=row["created_at"],
        stay=ReviewStay(
            status=view.status,
            facility_code=view.facility_code,
            facility_name=view.facility_name,
            class_code=view.class_code,
            class_raw=view.class_raw,
            admitted_at=view.admitted_at,
            discharged_on=view.discharged_on,
            disposition_code=view.disposition_code,
            disposition_raw=view.disposition_raw,
        ),
        candidates=match.candidates,
    )
