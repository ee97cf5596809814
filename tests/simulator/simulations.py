"""Simulations for tests, each generated once, and a plain reader of their messages."""

from datetime import UTC, datetime
from functools import cache

from services.simulator.hospitals import ALL
from services.simulator.simulation import Simulation, generate
from services.simulator.streams import SimulatedMessage

NOW = datetime(2026, 11, 24, 15, 7, 31, tzinfo=UTC)
SEEDS = range(1, 11)
_CHARSETS = {"": "ascii", "UNICODE UTF-8": "utf-8", "8859/1": "latin-1"}
_CHARSET_OF_FEED = {hospital.feed: _CHARSETS[hospital.charset] for hospital in ALL}

Fields = dict[str, list[str]]


@cache
def simulation(seed: int) -> Simulation:
    """Return the simulation of a seed at `NOW`."""
    return generate(seed, now=NOW)


def text_of(message: SimulatedMessage) -> str:
    """Return the message in the charset that its hospital declares."""
    return message.payload.decode(_CHARSET_OF_FEED[message.feed])


@cache
def read(message: SimulatedMessage) -> Fields:
    """Return the fields of the first segment of each name; MSH counts its separator as its first field."""
    segments: Fields = {}
    for line in text_of(message).split("\r"):
        fields = line.split("|")
        segments.setdefault(fields[0], [fields[0], "|", *fields[1:]] if fields[0] == "MSH" else fields)
    return segments


def field(parsed: Fields, segment: str, number: int) -> str:
    """Return the text of a field, empty where the segment ends before it or is not there."""
    fields = parsed.get(segment, [])
    return fields[number] if number < len(fields) else ""


def once_each(told: Simulation) -> list[SimulatedMessage]:
    """Return the messages without their exact repeats."""
    return [message for message in told.messages if not message.copy]
