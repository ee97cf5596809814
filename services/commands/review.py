"""`afterstay review ls`."""

from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, required_database
from services.commands.exit_codes import OK
from services.commands.output import tell, write_json, write_table
from services.followup.store.review import SqlReviews
from services.followup.usecases.review import OpenReview, ReviewCandidate
from services.runtime.clock import SystemClock

_HEADER = ("id", "since", "what", "reason", "stay", "facility", "class", "discharged", "may be")


def ls(arguments: Arguments) -> int:
    """Print the open reviews, oldest first, and leave an audit row."""
    with required_database(DataSource.of(arguments)) as engine:
        store = SqlReviews(engine)
        found = store.open_reviews(arguments.limit)
        ids = [item.id for item in found.items]
        store.audit(actor=arguments.actor, at=SystemClock().now(), review_ids=ids)
    if arguments.json:
        write_json(found)
        return OK
    if found.items:
        write_table(_HEADER, [_cells(item) for item in found.items])
    hidden = found.total - len(found.items)
    tell(f"{found.total} open" + (f", {hidden} not shown: raise --limit" if hidden > 0 else ""))
    return OK


def _cells(item: OpenReview) -> tuple[object, ...]:
    stay = item.stay
    return (
        item.id,
        item.created_at,
        item.kind,
        item.reason,
        item.stay_id,
        stay.facility_name or stay.facility_code,
        stay.class_code or stay.class_raw,
        stay.discharged_on,
        "; ".join(map(_candidate_text, item.candidates)),
    )


def _candidate_text(candidate: ReviewCandidate) -> str:
    against = f", against: {' '.join(candidate.contradictions)}" if candidate.contradictions else ""
    return f"{candidate.patient_id} (for: {' '.join(candidate.agreements) or 'nothing'}{against})"
