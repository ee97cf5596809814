"""Checks of the machine: Python, packages, time zones, SQLite, ports."""

import importlib.metadata
import platform
import re
import socket
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.commands.findings import Finding, failed, passed, warned

DISTRIBUTION: Final = "afterstay"
PYTHON_MIN: Final = (3, 11)  # pyproject.toml, requires-python
SQLITE_MIN: Final = (3, 35, 0)
"""RETURNING (2021); everything else that we use is older."""
SQLITE_SOUND: Final = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
"""Without the WAL-reset bug (https://www.sqlite.org/wal.html): 3.51.3 and later, and two older lines from here on."""
LOOPBACK: Final = "127.0.0.1"

_REQUIREMENT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)[^;]*?(?:>=(?P<least>[0-9.]+))?[^;]*(?:;(?P<marker>.*))?")
_REINSTALL: Final = "install again: `make install` in the checkout, or `pip install --upgrade afterstay`"


def examine_python() -> Iterator[Finding]:
    """Look at the interpreter."""
    text = f"Python {platform.python_version()}"
    if sys.version_info < PYTHON_MIN:
        least = ".".join(map(str, PYTHON_MIN))
        yield failed("python", f"{text} is too old", f"install Python {least} or later, then Afterstay again")
    else:
        yield passed("python", text)


def examine_packages() -> Iterator[Finding]:
    """Look for the packages that the installed distribution asks for."""
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield warned("packages", "Afterstay runs from its source and is not installed", _REINSTALL)
        return
    wrong = [problem for text in required if (problem := _problem_of_requirement(text))]
    for problem in wrong:
        yield failed("packages", problem, _REINSTALL)
    if not wrong:
        yield passed("packages", f"all that {DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)} needs is there")


def examine_time_zones() -> Iterator[Finding]:
    """Look whether time zones are known, and know their daylight saving time."""
    fix = "install the time-zone data: `pip install --upgrade tzdata`"
    try:
        zone = ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError:
        yield failed("time-zones", "there is no time-zone data, so no due date can be computed", fix)
        return
    winter, summer = (datetime(2026, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() for month in (1, 7))
    if winter == summer:
        yield failed("time-zones", "the time-zone data has no daylight saving time for America/New_York", fix)
    else:
        yield passed("time-zones", "time-zone data is there")


def examine_sqlite() -> Iterator[Finding]:
    """Look at the SQLite that Python was built with."""
    version, text = sqlite3.sqlite_version_info, f"SQLite {sqlite3.sqlite_version}"
    fix = "use a Python that brings SQLite 3.51.3 or later (3.50.7 and 3.44.6 will do, too)"
    if version < SQLITE_MIN:
        yield failed("sqlite", f"{text} is too old", fix)
    elif not _is_sound(version):
        yield warned(
            "sqlite",
            f"{text} has the WAL-reset bug: very rarely, two processes that write at one moment damage a database",
            fix,
        )
    else:
        yield passed("sqlite", text)


def examine_ports(mllp_port: int, http_port: int, *, owner: int | None) -> Iterator[Finding]:
    """Look whether `run` could have its ports; `owner` is the process that runs already."""
    if owner is not None:
        yield passed("ports", f"process {owner} serves this folder, so its ports are its own")
        return
    for flag, port in (("--mllp-port", mllp_port), ("--http-port", http_port)):
        reason = _why_not_bound(port)
        if reason is None:
            yield passed("ports", f"{flag} {port} is free" if port else f"{flag} 0: any free port will be taken")
        else:
            yield failed(
                "ports",
                f"{flag} {port} cannot be had on {LOOPBACK} ({reason})",
                f"end what uses it (`ss -ltnp 'sport = :{port}'`), or choose another with {flag}",
            )


def _problem_of_requirement(text: str) -> str | None:
    found = _REQUIREMENT.fullmatch(text)
    if found is None or "extra" in (found["marker"] or ""):
        return None
    try:
        version = importlib.metadata.version(found["name"])
    except importlib.metadata.PackageNotFoundError:
        return None if found["marker"] else f"the package {found['name']} is missing"  # not for this platform, perhaps
    if found["least"] and _numbers(version) < _numbers(found["least"]):
        return f"the package {found['name']} is {version}, and at least {found['least']} is needed"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version.partition("+")[0]))


def _is_sound(version: tuple[int, ...]) -> bool:
    newest = SQLITE_SOUND[-1]
    return version >= newest or any(version[:2] == since[:2] and version >= since for since in SQLITE_SOUND)


def _why_not_bound(port: int) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            return error.strerror or "unknown"
    return None
