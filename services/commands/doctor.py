"""`afterstay doctor`: every check, what it means, and how to mend it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.commands.arguments import Arguments
from services.commands.data_source import DataSource
from services.commands.findings import Finding, Level, examined
from services.commands.folder_checks import (
    examine_books,
    examine_files,
    examine_folder,
    examine_lock,
    examine_space,
    owner_of,
)
from services.commands.kafka_checks import examine_kafka
from services.commands.machine_checks import (
    examine_packages,
    examine_ports,
    examine_python,
    examine_sqlite,
    examine_time_zones,
)
from services.commands.output import bold, shown, write_json, write_text
from services.commands.setup_checks import examine_clock, examine_database, examine_feeds
from services.runtime.clock import SystemClock
from services.runtime.database import DATABASE_FILE
from services.runtime.eventlog.embedded.layout import LOG_FILE

EXIT_CODES: Final[dict[Level, int]] = {"pass": 0, "warn": 1, "fail": 2}
"""The verb's own exit codes, by the worst finding."""


def examine(arguments: Arguments) -> int:
    """Make every check and print what was found; return the worst."""
    findings = list(_findings(arguments))
    worst: Level = max((one.level for one in findings), key=lambda level: EXIT_CODES[level])
    if arguments.json:
        write_json({"level": worst, "findings": findings})
    else:
        for one in findings:
            _write_finding(one)
    return EXIT_CODES[worst]


def _findings(arguments: Arguments) -> Iterator[Finding]:
    source = DataSource.of(arguments)
    yield from examined("python", examine_python)
    yield from examined("packages", examine_packages)
    yield from examined("time-zones", examine_time_zones)
    if source.folder is not None:
        yield from _findings_of_folder(source.folder, arguments)
    else:
        yield from examined("feeds", lambda: examine_feeds(arguments.feeds))
        yield from examined("kafka", lambda: examine_kafka(source, single_broker=arguments.single_broker))
        yield from _findings_in_data(source)


def _findings_of_folder(data: Path, arguments: Arguments) -> Iterator[Finding]:
    yield from examined("sqlite", examine_sqlite)
    yield from examined("folder", lambda: examine_folder(data))
    yield from examined("space", lambda: examine_space(data))
    owner = owner_of(data)
    yield from examined("running", lambda: examine_lock(owner))
    yield from examined("ports", lambda: examine_ports(arguments.mllp_port, arguments.http_port, owner=owner))
    yield from examined("feeds", lambda: examine_feeds(arguments.feeds))
    if _has_data(data):
        files = examined("files", lambda: examine_files(data))
        yield from files
        if all(one.level == "pass" for one in files):  # what is damaged cannot be asked anything
            yield from _findings_in_data(DataSource(folder=data))


def _findings_in_data(source: DataSource) -> Iterator[Finding]:
    yield from examined("schema", lambda: examine_database(source))
    yield from examined("books", lambda: examine_books(source))
    yield from examined("clock", lambda: examine_clock(source, SystemClock()))


def _has_data(data: Path) -> bool:
    return (data / DATABASE_FILE).exists() or (data / LOG_FILE).exists()


def _write_finding(finding: Finding) -> None:
    write_text(f"{bold(finding.level.ljust(5))} {finding.check.ljust(13)} {shown(finding.text)}")
    if finding.fix is not None:
        write_text(f"{'':20}fix: {shown(finding.fix)}")
