"""How late a hospital tells us: receipt minus the time that it states itself. Pure.

The third of the three lag numbers (product.md §2.1), and the one that no machine of ours can mend. Promise: only a time
that a sender wrote to the minute is measured, since a day alone says nothing about hours.

What a message says about *when* is that of DESIGN §1: PV1-45 of a discharge, PV1-44 of an admission, else EVN-6, EVN-2,
MSH-7. EVN-6 of a cancel is the time of what is canceled, so a cancel was said when it was recorded.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from schemas.events import AdtEvent, Timestamp

SourceDelay = tuple[str | None, float]
"""Feed (`None`: no feed names the sender) and seconds; below 0 the stated time lies ahead of our clock."""

_ADMISSIONS: Final = frozenset({"admitted", "registered"})
_CANCELS: Final = frozenset({"admit_canceled", "transfer_canceled", "discharge_canceled"})
_PRECISE: Final = frozenset({"minute", "second"})


def source_delays(events: Iterable[AdtEvent]) -> tuple[SourceDelay, ...]:
    """Return the delay of each event that can be used and states when it happened."""
    return tuple(_delays(events))


def _delays(events: Iterable[AdtEvent]) -> Iterator[SourceDelay]:
    for event in events:
        if event.intake.outcome == "accepted":
            stated = next((one for one in _stated(event) if one is not None and one.precision in _PRECISE), None)
            if stated is not None:
                yield event.feed, (event.received_at - stated.at).total_seconds()


def _stated(event: AdtEvent) -> Iterator[Timestamp | None]:
    """Give the times that a message may state, the one that says most first."""
    if event.kind == "discharged":
        yield event.visit.discharged_at
    elif event.kind in _ADMISSIONS:
        yield event.visit.admitted_at
    if event.kind not in _CANCELS:
        yield event.occurred_at
    yield event.recorded_at
    yield event.sent_at
