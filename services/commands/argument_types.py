"""Words of the command line as values; what is none is refused, with what was meant.

Each raises argparse.ArgumentTypeError, which becomes a usage error that names the flag.
"""

import argparse
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

PAGE_MAX: Final = 500  # as `GET /api/v1/tasks`
PORT_MAX: Final = 65_535
NUMBER_MAX: Final = 2**31 - 1
SECONDS_MAX: Final = 86_400
DAYS_MAX: Final = 36_500
RATE_MAX: Final = 100_000
PARTITION_MAX: Final = 9_999
SENTENCE_MAX: Final = 200

_DATABASE: Final = re.compile(r"(?:postgresql|postgres)://[^\s/]+/[^\s/?]+(?:\?\S*)?|sqlite:///\S+")


def port(text: str) -> int:
    """Read a TCP port; 0 stands for any free one."""
    return _whole(text, 0, PORT_MAX, "a port")


def limit(text: str) -> int:
    """Read the size of a page."""
    return _whole(text, 1, PAGE_MAX, "a limit")


def partition(text: str) -> int:
    """Read the number of a partition."""
    return _whole(text, 0, PARTITION_MAX, "a partition")


def positive(text: str) -> int:
    """Read a number that counts from 1."""
    return _whole(text, 1, NUMBER_MAX, "a number")


def seed(text: str) -> int:
    """Read the seed of a simulation."""
    return _whole(text, 0, NUMBER_MAX, "a seed")


def seconds(text: str) -> float:
    """Read a duration in seconds."""
    return _above_zero(text, SECONDS_MAX, "a number of seconds")


def days(text: str) -> int:
    """Read a number of days."""
    return _whole(text, 1, DAYS_MAX, "a number of days")


def rate(text: str) -> float:
    """Read messages a second."""
    return _above_zero(text, RATE_MAX, "a rate")


def megabytes(text: str) -> int:
    """Read a size in megabytes."""
    return _whole(text, 1, NUMBER_MAX // 1024, "a number of megabytes")


def rate_or_none(text: str) -> float:
    """Read messages a second; 0 stands for no limit."""
    return 0.0 if text == "0" else rate(text)


def percent(text: str) -> float:
    """Read a share in percent, 0 included."""
    return 0.0 if text == "0" else _above_zero(text, 100, "a percentage")


def address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; an IPv6 host may stand in brackets."""
    host, _, port_text = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:2575")
    return host.removeprefix("[").removesuffix("]"), _whole(port_text, 1, PORT_MAX, "a port")


def existing_file(text: str) -> Path:
    """Read the path of a file that is there and can be read."""
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise argparse.ArgumentTypeError(f"the file {text} cannot be read: {error.strerror}") from error


def database_url(text: str) -> str:
    """Read the address of a database; it is never quoted, since it may hold a password."""
    if not _DATABASE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            "this is no database address, such as postgresql://afterstay@db:5432/afterstay"
        )
    return text


def instant(text: str) -> datetime:
    """Read a moment that says its offset: whose wall clock it was cannot be guessed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time with its offset, such as 2026-11-24T14:30-05:00")
    return moment


def start(text: str) -> Literal["beginning"] | datetime | tuple[int, int]:
    """Read where a replay begins."""
    if text == "beginning":
        return "beginning"
    place = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,15})", text)
    return (int(place[1]), int(place[2])) if place else instant(text)


def sentence(text: str) -> str:
    """Read a few words that are kept, on one line."""
    words = " ".join(text.split())
    if not words or len(words) > SENTENCE_MAX or not words.isprintable():
        raise argparse.ArgumentTypeError(f"it must be 1 to {SENTENCE_MAX} characters, on one line")
    return words


def _whole(text: str, least: int, most: int, what: str) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not digits or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}: {least} to {most}")
    return int(text)


def _above_zero(text: str, most: int, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}: more than 0, at most {most}")
    return number
