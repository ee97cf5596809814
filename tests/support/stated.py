"""Builds statements for tests of the pure middle, in words a nurse would use."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.followup.domain.fragments import Fragment, fragment_of, join
from services.followup.domain.grouping import group_fragments
from services.followup.domain.statements import Statement, pack, statement_order
from services.followup.domain.stays import StayView, view_stay
from services.followup.domain.times import StatedTime, microseconds

ZONE = "America/New_York"


def at(text: str) -> StatedTime:
    """Read ``2026-11-20 09:15`` or ``2026-11-20``."""
    return StatedTime(local=text.replace(" ", "T"))


def state(trigger: str, sent: str, **said: Any) -> Statement:
    """State one message: ``sent`` is MSH-7 (and EVN-2); `admitted`, `discharged`, `happened` are times as text.

    `number=None` leaves the visit number out; `received` is seconds after the epoch.
    """
    sent_at = at(sent)
    sent_us = microseconds(sent_at.instant(ZONE)) + round(said.get("seconds", 0) * 1_000_000)
    fields: dict[str, str | None] = {"facility": pack("MERCY", "Mercy", ZONE)}
    if "class_" in said:
        fields["class"] = pack(said["class_"], said["class_"])
    if "disposition" in said:
        code = said["disposition"]
        fields["disposition"] = None if code is None else pack(code, code, None)
    admitted, discharged, happened = (said.get(name) for name in ("admitted", "discharged", "happened"))
    if admitted:
        fields["admitted_at"] = pack(at(admitted).local, None)
    event_id = said.get("event_id", f"{trigger}-{sent}-{said.get('seconds', 0)}-{discharged}-{happened}")
    return Statement(
        order=statement_order(
            sent_us=sent_us, recorded_us=sent_us, trigger=trigger, control_id=event_id, event_id=event_id
        ),
        received_us=said.get("received", sent_us),
        admitted=said.get("live", True),
        trigger=trigger,
        source_key=said.get("patient", "MERCY|record|1001"),
        visit_authority="MERCY",
        visit_number=said.get("number", "V1"),
        facility_code=said.get("facility", "MERCY"),
        zone=ZONE,
        admit_time=at(admitted) if admitted else None,
        discharge_time=at(discharged) if discharged else None,
        discharge_deleted=said.get("discharge_deleted", False),
        event_time=at(happened) if happened else None,
        recorded_time=at(said["recorded"]) if "recorded" in said else sent_at,
        movement_id=said.get("movement"),
        fields=fields,
    )


def fragments_of(statements: Iterable[Statement]) -> list[Fragment]:
    """Join statements into fragments, in the order given."""
    fragments: dict[str, Fragment] = {}
    for statement in statements:
        piece = fragment_of(statement)
        fragments[piece.key] = join(fragments[piece.key], piece) if piece.key in fragments else piece
    return list(fragments.values())


def stays_of(statements: Iterable[Statement]) -> list[StayView]:
    """Return the stays that statements about one patient tell, in order of admission."""
    return [view_stay(group) for group in group_fragments(fragments_of(statements)).stays]


def only_stay(statements: Sequence[Statement]) -> StayView:
    """Return the one stay that statements tell."""
    (stay,) = stays_of(statements)
    return stay
