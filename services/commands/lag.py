"""`afterstay lag`: how far the consumers are behind, in seconds; once, as a monitoring plug-in, or again and again.

Promises: it creates and changes nothing; whatever keeps it from looking makes the state UNKNOWN and never OK; with
`--watch` it goes on after a failure by itself.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from schemas.topics import ADT_EVENTS
from services.commands.arguments import Arguments
from services.commands.data_source import CLIENT_ID, DataSource, found_log, require_data
from services.commands.grammar import LAG_WATCH_WINDOW_S, LAG_WINDOW_S
from services.commands.lag_report import LagReport, Thresholds, duration, plugin_line, report_of
from services.commands.output import tell, write_json, write_table, write_text
from services.commands.spools import read_spool
from services.runtime.clock import SystemClock
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.embedded.groups import GROUPS_FILE, EmbeddedGroupPositions
from services.runtime.eventlog.embedded.members import FolderMembers
from services.runtime.eventlog.lag import PartitionLag
from services.runtime.eventlog.lag_observer import LOOK_EVERY_S, LagObserver
from services.runtime.eventlog.port import GroupPositions

LOOKS_PER_WINDOW: Final = 6
PAUSE_S_MAX: Final = 1.0
EARLY_S: Final = 0.05
"""Timers may ring a little early, and a window that lacks a millisecond is not whole."""
_CLEAR: Final = "\x1b[H\x1b[J"
_HEADER: Final = (
    "GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "OLDEST-AGE", "STATUS", "CATCH-UP",
    "RETENTION-USED", "CLIENT-ID", "HOST",
)  # fmt: skip


def show(arguments: Arguments) -> int:
    """Look, print and return a plug-in's code; with `--watch` go on until interrupted."""
    if arguments.watch:
        asyncio.run(_watch(arguments))
    report = asyncio.run(_look_once(arguments))
    if arguments.json:
        write_json(report)
    else:
        _write(report)
    return report.exit_code


async def _look_once(arguments: Arguments) -> LagReport:
    window_s = arguments.window or LAG_WINDOW_S
    try:
        async with _observer(arguments, window_s) as observer:
            rows = await _look_for_a_window(observer, window_s) if observer is not None else ()
    except AfterstayError as error:
        tell(f"{error.message} [{error.code}]")
        return await _report(arguments, (), window_s, failure=f"{error.message} [{error.code}]")
    return await _report(arguments, rows, window_s)


async def _look_for_a_window(observer: LagObserver, window_s: float) -> tuple[PartitionLag, ...]:
    """Look until a window is whole, or nothing is left that only more looks can tell; twice if anything waits."""
    rows = await observer.look()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + window_s + EARLY_S
    undecided = any(row.lag for row in rows)
    while undecided and loop.time() < deadline:
        await asyncio.sleep(min(window_s / LOOKS_PER_WINDOW, PAUSE_S_MAX, max(0.0, deadline - loop.time())))
        rows = await observer.look()
        undecided = any(row.lag and row.status == "OK" for row in rows)
    return rows


async def _watch(arguments: Arguments) -> NoReturn:
    window_s = arguments.window or LAG_WATCH_WINDOW_S
    while True:
        try:
            async with _observer(arguments, window_s) as observer:
                while True:
                    rows = await observer.look() if observer is not None else ()
                    _write_frame(arguments, await _report(arguments, rows, window_s))
                    await asyncio.sleep(LOOK_EVERY_S)
                    if observer is None:
                        break  # perhaps there is a log by now
        except AfterstayError as error:
            _write_frame(arguments, await _report(arguments, (), window_s, failure=f"{error.message} [{error.code}]"))
            await asyncio.sleep(LOOK_EVERY_S)


async def _report(
    arguments: Arguments, rows: tuple[PartitionLag, ...], window_s: float, *, failure: str | None = None
) -> LagReport:
    return report_of(
        rows,
        await asyncio.gather(*(asyncio.to_thread(read_spool, host, port) for host, port in arguments.ops)),
        Thresholds(warn_s=arguments.warn, crit_s=arguments.crit),
        group=arguments.group,
        topic=ADT_EVENTS,
        observed_at=SystemClock().now(),
        window_s=window_s,
        failure=failure,
    )


@asynccontextmanager
async def _observer(arguments: Arguments, window_s: float) -> AsyncGenerator[LagObserver | None]:
    """Give an observer of the group, or `None` where there is no log yet."""
    source, clock = DataSource.of(arguments), SystemClock()
    if source.kafka is not None:
        from services.runtime.eventlog.kafka.lag_parts import KafkaLagParts  # noqa: PLC0415 - only where it is asked

        parts = await KafkaLagParts.open(source.kafka, client_id=CLIENT_ID)
        try:
            yield parts.observer(group=arguments.group, topic=ADT_EVENTS, clock=clock, window_s=window_s)
        finally:
            await parts.close()
        return
    assert source.folder is not None, "the grammar sees to it"
    require_data(source.folder)
    async with found_log(source) as log, _found_positions(source.folder) as groups:
        if log is None:
            yield None
        else:
            yield LagObserver(
                log,
                groups,
                group=arguments.group,
                topic=ADT_EVENTS,
                clock=clock,
                window_s=window_s,
                members=FolderMembers(source.folder, log),
            )


@asynccontextmanager
async def _found_positions(folder: Path) -> AsyncGenerator[GroupPositions]:
    """Give the positions of a folder's groups; none where nobody has consumed anything yet."""
    if not (folder / GROUPS_FILE).exists():
        yield _NoPositions()
        return
    groups = await EmbeddedGroupPositions.open(folder)
    try:
        yield groups
    finally:
        await groups.close()


class _NoPositions:
    """The positions of a folder that nobody has consumed from yet."""

    async def committed(self, group: str, topic: str) -> dict[int, int]:  # noqa: ARG002 - there are none at all
        return {}

    async def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        raise NotImplementedError("this is for looking only")

    async def close(self) -> None:
        """Nothing is open."""


def _write_frame(arguments: Arguments, report: LagReport) -> None:
    if arguments.json:
        write_text(msgspec.json.encode(report).decode())
    else:
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        _write(report)
    sys.stdout.flush()


def _write(report: LagReport) -> None:
    write_text(plugin_line(report))
    if report.partitions:
        write_table(_HEADER, [_cells(row) for row in report.partitions])
    for spool in report.spools:
        known = f"{spool.messages} messages, the oldest for {duration(spool.oldest_age_s or 0.0)}"
        write_text(f"spool {spool.address}: {'unknown' if spool.messages is None else known}")


def _cells(row: PartitionLag) -> list[object]:
    return [
        row.group,
        row.topic,
        row.partition,
        row.current_offset,
        row.log_end_offset,
        row.lag,
        None if row.oldest_age_seconds is None else duration(row.oldest_age_seconds),
        row.status,
        None if row.catch_up_seconds is None else duration(row.catch_up_seconds),
        None if row.retention_used is None else f"{row.retention_used:.1%}",
        row.client_id,
        row.host,
    ]
