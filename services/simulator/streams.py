"""How messages arrive: not always in order, not always once.

Owns delivery. Promise: every message is delivered at least once, what is said and when it was said stays untouched,
and the same seed gives the same order. Source: domain.md §2.4 (1, 2) and the fault catalog: late, shuffled and
reversed delivery within a person, exact repeats after a lost acknowledgement.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

Manner = Literal["straight", "late", "shuffled", "reversed"]
_MANNERS: Final[dict[Manner, int]] = {"straight": 11, "late": 4, "shuffled": 3, "reversed": 2}
"""Ways in which the messages of one person arrive, with their weights."""
_REPEAT_SHARE: Final = 0.08
_LATE_BY: Final = (4, 90)
"""By how many other messages a late one is overtaken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMessage:
    """One frame to send; `copy` counts the exact repeats of the same bytes, from 0."""

    feed: str
    control_id: str
    payload: bytes
    story: str
    patient_key: str
    copy: int = 0


def deliver(messages: Sequence[SimulatedMessage], rng: random.Random) -> tuple[SimulatedMessage, ...]:
    """Return the messages, given in the order they were stated, in the order they arrive."""
    places: dict[str, list[int]] = {}
    for place, message in enumerate(messages):
        places.setdefault(message.patient_key, []).append(place)
    arrivals: list[tuple[float, SimulatedMessage]] = []
    for own in places.values():
        arrivals += _arrivals_of_one([messages[place] for place in own], own, rng)
    arrivals += [_repeated(arrival, rng) for arrival in list(arrivals) if rng.random() < _REPEAT_SHARE]
    return tuple(message for _, message in sorted(arrivals, key=lambda arrival: arrival[0]))


def _arrivals_of_one(
    own: list[SimulatedMessage], places: list[int], rng: random.Random
) -> list[tuple[float, SimulatedMessage]]:
    """Return when the messages of one person arrive, as places in the order of all."""
    (manner,) = rng.choices(tuple(_MANNERS), weights=tuple(_MANNERS.values()))
    arriving = [float(place) for place in places]
    match manner:
        case "shuffled":
            rng.shuffle(own)
        case "reversed":
            own.reverse()
        case "late":
            arriving[rng.randrange(len(own))] += rng.randint(*_LATE_BY) + 0.25
        case "straight":
            pass
    return list(zip(arriving, own, strict=True))


def _repeated(arrival: tuple[float, SimulatedMessage], rng: random.Random) -> tuple[float, SimulatedMessage]:
    place, message = arrival
    return place + rng.choice((0.5, 0.5, rng.randint(*_LATE_BY) + 0.75)), replace(message, copy=1)
