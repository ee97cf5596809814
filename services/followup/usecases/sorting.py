"""Where each record of a batch ends, short of what follows from joined stays (promise P2). Pure.

Every log position ends in exactly one place. An event seen before is a duplicate, wherever it came from; one that was
a dead letter and reads well now replaces it, also where a person had discarded the letter: that closed a letter, and
the sender has said it again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec

from schemas.canary import is_canary
from schemas.events import ACK_HEADER, AdtEvent
from services.followup.domain.fragments import Fragment, fragment_of
from services.followup.domain.statements import Statement, bounded
from services.followup.usecases.ports import DeadLetter, EventRow, KnownEvent
from services.followup.usecases.statements import JOINED_KINDS, statement_of
from services.followup.usecases.texts import decode_storable, without_nul
from services.runtime.eventlog.port import Record

EFFECT: Final = "effect"
DEAD_LETTER: Final = "dead_letter"
NO_EFFECT: Final = "no_effect"
DUPLICATE: Final = "duplicate"
SUPERSEDED: Final = "superseded"
"""Where the position of a dead letter ends whose message was sent again and took effect then."""
LOST: Final = "lost-to-retention"
"""Where positions end whose records the log dropped before anybody read them: an alarm, counted and never forgotten."""
CANARY: Final = "canary"
"""Where the positions of canaries end, apart from what senders send that is not for us."""
REPLAYED: Final = "replayed"
"""Resolution of a dead letter that took effect at its own position."""
AWAITS_REPLAY: Final = "awaits-replay"
"""Where a position ends whose event is known, and was read by newer rules there than those that it stands by."""
DISCARDED: Final = "discarded"
"""Where the position of a dead letter ends that a person has closed; also the resolution of the letter."""

PARKED: Final = {
    "unusable": "the message cannot be used as it is: have the sender mend and resend it, or replay it",
    "unreadable": "the frame is not a readable HL7 v2 message and was refused: the sender must mend it",
    "unknown_feed": "no feed names this sender: add an entry with its sending_application and sending_facility "
    "under `feeds:` in the feeds file, restart, then `afterstay dlq replay`",
}
"""Intake outcomes that end as dead letters, with what to do."""
NOT_ALLOWED: Final = "sender-not-allowed"
_ADVICE: Final = {
    NOT_ALLOWED: "it came over a connection whose certificate is not that of the sender it names and was refused: find "
    "out who sent it; if it was the hospital, mend `certificates` in the feeds file and have it sent again",
}
"""What to do for a reason, where its outcome says less."""

RECORDED_ONLY: Final = {
    "person_added": "person-recorded",
    "person_updated": "person-recorded",
    "merged": "merge-recorded",
}
"""Kinds that are in the log for a later release and take no effect on stays in this one."""

_JOINED: Final = "joined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Why a record is a dead letter: a stable kebab-case reason and advice."""

    reason: str
    text: str


@dataclass(slots=True)
class Books:
    """What a batch writes besides stays and tasks. `joined` is by source patient; `joined_rows` await an outcome."""

    rows: list[EventRow] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    acks: Counter[str] = field(default_factory=Counter)
    joined: dict[str, list[Fragment]] = field(default_factory=dict)
    joined_rows: list[EventRow] = field(default_factory=list)
    revived: set[str] = field(default_factory=set)
    earlier: dict[str, datetime] = field(default_factory=dict)
    newer: Counter[str] = field(default_factory=Counter)


def decode(record: Record) -> AdtEvent | Unusable:
    """Read the event of a record, or say why it cannot be read."""
    if record.damaged:
        return Unusable(
            reason="record-damaged", text="the record failed its checksum: restore the log or ask for a resend"
        )
    try:
        return decode_storable(record.value)
    except ValueError:  # the text of the error may quote the value
        return Unusable(
            reason="event-undecodable", text="the record is not an AdtEvent v1: replay it from its raw bytes"
        )


def sort_records(
    decoded: Iterable[tuple[Record, AdtEvent | Unusable]], known: Mapping[str, KnownEvent], now: datetime
) -> Books:
    """Decide for every record where it ends; `known` holds those of their events that were applied before."""
    books = Books()
    seen = dict(known)
    for record, event in decoded:
        ack = without_nul((record.header(ACK_HEADER) or b"unknown").decode("ascii", "replace"))
        books.acks[ack] += 1
        if isinstance(event, Unusable):
            books.letters.append(_letter((record.topic, record.partition, record.offset), None, event, now))
            books.outcomes[DEAD_LETTER, event.reason] += 1
        else:
            row = event_row(event, (record.topic, record.partition, record.offset), ack=ack, now=now)
            _sort_event(books, seen, row, event)
    return books


def _sort_event(books: Books, seen: dict[str, KnownEvent], row: EventRow, event: AdtEvent) -> None:
    before = seen.get(event.event_id)
    if before is None:
        seen[event.event_id] = _known(event, place(books, row, event))
    elif took_no_effect(before) and event.intake.outcome not in PARKED:
        if before.outcome == DEAD_LETTER:  # a discarded one stays so: a person has decided about that position
            books.revived.add(event.event_id)
            books.outcomes[before.outcome, before.reason] -= 1
            books.outcomes[NO_EFFECT, SUPERSEDED] += 1
        _place_again(books, seen, before, row, event)
    else:
        _sort_known(books, seen, before, event)


def _sort_known(books: Books, seen: dict[str, KnownEvent], before: KnownEvent, event: AdtEvent) -> None:
    """Sort an event that stands: a duplicate, unless there is something about it that only a replay can take up.

    That is a reading by newer rules, since the old one is joined into stays and cannot be subtracted by a batch
    (`usecases.rebuild`); or an earlier receipt, learned beside another reading than the one it stands by.
    """
    earlier = event.received_at < before.received_at
    same = event.normalizer == before.normalizer and before.reading is None
    if not took_no_effect(before) and (event.normalizer > before.normalizer or (earlier and not same)):
        books.outcomes[NO_EFFECT, AWAITS_REPLAY] += 1
        books.newer[event.event_id] += 1
    else:
        books.outcomes[NO_EFFECT, DUPLICATE] += 1
    if earlier:
        seen[event.event_id] = replace(before, received_at=event.received_at)
        books.earlier[event.event_id] = event.received_at
        if same and is_joined(event):
            _join(books, statement_of(event))  # learned earlier than we knew: a minimum, it joins like any other


def replay_event(
    books: Books, seen: dict[str, KnownEvent], was: tuple[str, str], row: EventRow, event: AdtEvent
) -> None:
    """Put an event read anew from a dead letter where it belongs, in the letter's own position.

    `was` is the outcome that the position is counted with.
    """
    books.outcomes[was] -= 1
    before = seen.get(event.event_id)
    if before is None:
        seen[event.event_id] = _known(event, place(books, row, event))
    elif took_no_effect(before):
        _place_again(books, seen, before, row, event)
    else:
        books.outcomes[NO_EFFECT, SUPERSEDED] += 1


def _place_again(books: Books, seen: dict[str, KnownEvent], before: KnownEvent, row: EventRow, event: AdtEvent) -> None:
    """Put an event where it belongs that took no effect before; its bytes were learned when they first came."""
    first = min(event.received_at, before.received_at)
    event = msgspec.structs.replace(event, received_at=first)
    seen[event.event_id] = _known(event, place(books, msgspec.structs.replace(row, received_at=first), event))


def took_no_effect(before: KnownEvent | EventRow) -> bool:
    """Say whether an event is a dead letter, or was one until a person discarded it: it may yet take effect."""
    return before.outcome == DEAD_LETTER or is_discarded(before)


def is_discarded(before: KnownEvent | EventRow) -> bool:
    """Say whether a person decided that nothing is to come of an event's message."""
    return (before.outcome, before.reason) == (NO_EFFECT, DISCARDED)


def _known(event: AdtEvent, placed: tuple[str, str]) -> KnownEvent:
    outcome, reason = placed
    return KnownEvent(
        event_id=event.event_id,
        received_at=event.received_at,
        normalizer=event.normalizer,
        reading=None,
        outcome=outcome,
        reason=reason,
    )


def is_joined(event: AdtEvent) -> bool:
    """Say whether an event is joined into a stay: usable, of a kind that speaks of one, and not a test (rule 12)."""
    tested = not event.processing.admitted and event.processing.id not in (None, "P")
    return event.intake.outcome == "accepted" and event.kind in JOINED_KINDS and not tested


def place(books: Books, row: EventRow, event: AdtEvent) -> tuple[str, str]:
    """Put an event that is new, or alive again, where it belongs; return its outcome so far and the reason."""
    if is_joined(event):
        key = _join(books, statement_of(event))
        books.joined_rows.append(msgspec.structs.replace(row, outcome=_JOINED, fragment_key=key))
        return _JOINED, ""
    outcome, reason = NO_EFFECT, _why_not_joined(event)
    if event.intake.outcome in PARKED:
        outcome = DEAD_LETTER
        why = Unusable(reason=reason, text=_ADVICE.get(reason, PARKED[event.intake.outcome]))
        letter = (row.topic, row.partition, row.offset)
        books.letters.append(_letter(letter, event.event_id, why, row.applied_at))
    books.rows.append(msgspec.structs.replace(row, outcome=outcome, reason=reason))
    books.outcomes[outcome, reason] += 1
    return outcome, reason


def _why_not_joined(event: AdtEvent) -> str:
    if is_canary(event):
        return CANARY
    if event.intake.outcome != "accepted":
        return event.intake.reason or event.intake.outcome.replace("_", "-")
    return RECORDED_ONLY.get(event.kind, "processing-not-admitted")


def _join(books: Books, statement: Statement) -> str:
    fragment = fragment_of(statement)
    books.joined.setdefault(fragment.source_key, []).append(fragment)
    return fragment.key


def _letter(at: tuple[str, int, int], event_id: str | None, why: Unusable, now: datetime) -> DeadLetter:
    topic, partition, offset = at
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        event_id=event_id,
        reason=why.reason,
        text=why.text,
        at=now,
    )


def event_row(event: AdtEvent, at: tuple[str, int, int], *, ack: str, now: datetime) -> EventRow:
    """Return what is kept of an event found at (topic, partition, offset); its outcome is still open."""
    topic, partition, offset = at
    return EventRow(
        event_id=event.event_id,
        topic=topic,
        partition=partition,
        offset=offset,
        normalizer=event.normalizer,
        feed=event.feed,
        trigger=event.trigger,
        kind=event.kind,
        control_id=None if event.control_id is None else bounded(event.control_id),
        ack=ack,
        sent_at=event.sent_at.at if event.sent_at else None,
        received_at=event.received_at,
        applied_at=now,
        outcome="",
        reason="",
        fragment_key=None,
    )
