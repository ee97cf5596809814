"""`afterstay replay`: a range of the log read anew and re-applied, after a rule or a map has changed."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from schemas.topics import ADT_EVENTS
from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, found_log, required_database
from services.commands.exit_codes import INTERRUPTED, OK
from services.commands.output import tell, write_facts, write_json, write_table
from services.commands.rereading import Rereader
from services.followup.composition import build_follow_up
from services.followup.store.unit_of_work import units_of, views_of
from services.followup.usecases.ports import AuditRow
from services.followup.usecases.replay import Desk, Replay, Report, rehearsed
from services.followup.usecases.replay_range import Range, Span, find_spans
from services.followup.usecases.status import CONSUMER_GROUP
from services.runtime.clock import SystemClock
from services.runtime.errors import AfterstayError, Permanent
from services.runtime.eventlog.port import Subscriber
from services.runtime.lifecycle import in_thread, stop_requested

PROGRESS_EVERY_S: Final = 5.0


def replay(arguments: Arguments) -> int:
    """Re-apply a range, or say what that would change."""
    asked = None if arguments.awaiting else range_of(arguments)
    rereader, source = Rereader(arguments.feeds), DataSource.of(arguments)
    with required_database(source) as engine:
        return asyncio.run(_replay(arguments, asked, rereader, source, engine))


def range_of(arguments: Arguments) -> Range:
    """Return what `--from`, `--to` and `--partition` ask for.

    Raises:
        Permanent: `range-invalid`.
    """
    starts = arguments.since
    places = dict(start for start in starts if isinstance(start, tuple))
    moments = [start for start in starts if isinstance(start, datetime)]
    if (places and len(places) < len(starts)) or (not places and len(starts) > 1):
        raise Permanent(
            "range-invalid",
            "--from takes the word beginning, or one time, or places of different partitions (PARTITION:OFFSET)",
        )
    return Range(
        places=places, since=moments[0] if moments else None, until=arguments.until, partition=arguments.partition
    )


async def _replay(
    arguments: Arguments, asked: Range | None, rereader: Rereader, source: DataSource, engine: sa.Engine
) -> int:
    async with found_log(source) as log, found_log(source, jumps=True) as jumps:
        if log is None or jumps is None:
            raise Permanent("log-missing", f"there is no event log in {source.address} yet: nothing was received")
        with ThreadPoolExecutor(1, "replay") as executor, stop_requested() as stop:
            job = _Job(arguments, rereader, source, engine, _Logs(log, jumps), executor)
            report = await job.run(asked, stop)
    _write(arguments, report)
    return OK if report.finished else INTERRUPTED


class _Logs(NamedTuple):
    """The log, to read ahead and here and there."""

    ahead: Subscriber
    jumps: Subscriber


class _Job:
    """One call: it finds the range, keeps the audit, and tells how far it is."""

    def __init__(  # noqa: PLR0917 - everything that a replay stands on
        self,
        arguments: Arguments,
        rereader: Rereader,
        source: DataSource,
        engine: sa.Engine,
        logs: _Logs,
        executor: ThreadPoolExecutor,
    ) -> None:
        self._arguments = arguments
        self._clock = SystemClock()
        self._begin, self._look = units_of(engine), views_of(engine)
        self._log = logs.jumps
        self._executor = executor
        desk = Desk(
            topic=ADT_EVENTS,
            ahead=logs.ahead,
            jumps=logs.jumps,
            look=self._look,
            begin=rehearsed(self._begin) if arguments.dry_run else self._begin,
            executor=executor,
        )
        follow_up = build_follow_up(source.closures())
        self._replay = Replay(desk, follow_up, rereader, self._clock, rate=_rate_of(arguments), feed=arguments.feed)

    async def run(self, asked: Range | None, stop: asyncio.Event) -> Report:
        spans = [] if asked is None else await self._find(asked)
        await self._keep("log.replay_began", _asked(self._arguments, spans))
        progress = _Progress(sum(span.end - span.first for span in spans))
        try:
            report = await (
                self._replay.run_awaiting(stop, progress) if asked is None else self._replay.run(spans, stop, progress)
            )
        except AfterstayError:
            _tell_where(spans, progress.reached)
            raise
        await self._keep("log.replay_ended", _fields(report))
        if not report.finished:
            _tell_where(spans, report.reached)
        return report

    async def _find(self, asked: Range) -> Sequence[Span]:
        unknown = asked.places.keys() | ({asked.partition} if asked.partition is not None else set())
        unknown -= set(await self._log.partitions(ADT_EVENTS))
        if unknown:
            raise Permanent("range-invalid", f"there is no partition {min(unknown)} in {ADT_EVENTS}")
        return await find_spans(self._log, ADT_EVENTS, asked, await in_thread(self._executor, self._consumed))

    def _consumed(self) -> dict[int, int]:
        with self._look() as unit:
            return unit.events.positions(CONSUMER_GROUP, ADT_EVENTS)

    async def _keep(self, action: str, detail: Mapping[str, object]) -> None:
        """Keep in the audit trail that somebody replays; a rehearsal writes nothing."""
        if not self._arguments.dry_run:
            row = AuditRow(
                actor=self._arguments.actor, at=self._clock.now(), action=action, entity=ADT_EVENTS, detail=detail
            )
            await in_thread(self._executor, self._write, row)

    def _write(self, row: AuditRow) -> None:
        with self._begin() as unit:
            unit.audit.keep([row])


@dataclass(slots=True)
class _Progress:
    """Says from time to time how far a replay is."""

    total: int
    reached: dict[int, int]
    _next: float

    def __init__(self, total: int) -> None:
        self.total, self.reached, self._next = total, {}, time.monotonic() + PROGRESS_EVERY_S

    def progressed(self, report: Report) -> None:
        """Tell it, unless it was told just now."""
        self.reached = report.reached
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_EVERY_S
            of = f" of {self.total}" if self.total else ""
            tell(f"{report.read}{of} messages read, {report.changed} read otherwise now")


def _rate_of(arguments: Arguments) -> float:
    assert arguments.rate is not None, "the grammar has a default"
    return arguments.rate


def _tell_where(spans: Sequence[Span], reached: Mapping[int, int]) -> None:
    """Say what is left, in words that the next call takes."""
    left = [(span.partition, reached.get(span.partition, span.first)) for span in spans]
    words = [
        f"{partition}:{offset}" for (partition, offset), span in zip(left, spans, strict=True) if offset < span.end
    ]
    if words:
        tell(f"what was done stays done; for the rest: --from {' '.join(words)}")


def _asked(arguments: Arguments, spans: Sequence[Span]) -> dict[str, object]:
    return {
        "spans": [asdict(span) for span in spans],
        "awaiting": arguments.awaiting,
        "feed": arguments.feed,
        "normalizer": Rereader.revision,
    }


def _fields(report: Report) -> dict[str, Any]:
    tasks: dict[str, dict[str, int]] = {}
    for (kind, change), n in sorted(_changes_of(report).items()):
        tasks.setdefault(kind, {})[change] = n
    return {
        "finished": report.finished,
        "read": report.read,
        "unreadable": report.unreadable,
        "changed": report.changed,
        "fields": dict(sorted(report.fields.items())),
        "people": report.people,
        "stays": len(report.stays),
        "tasks": tasks,
        "revived": report.revived,
        "buried": report.buried,
        "kept": report.kept,
        "left": report.left,
        "reached": {str(partition): offset for partition, offset in sorted(report.reached.items())},
    }


def _changes_of(report: Report) -> Counter[tuple[str, str]]:
    return Counter((one.task, one.change) for one in report.tasks)


def _write(arguments: Arguments, report: Report) -> None:
    fields = _fields(report)
    if arguments.json:
        write_json({"dry_run": arguments.dry_run, **fields})
        return
    write_facts(
        {
            "messages read": report.read,
            "read otherwise now": report.changed,
            "of people": report.people,
            "stays that change": len(report.stays),
            "dead letters that live": report.revived,
            "messages that die": report.buried,
            "cannot be read any more": report.unreadable,
            "kept as they were": report.kept,
            "people left alone": report.left,
        }
    )
    if report.fields:
        write_table(("field", "messages"), sorted(report.fields.items()))
    if report.tasks:
        write_table(("task", "change", "n"), [(*key, n) for key, n in sorted(_changes_of(report).items())])
    if arguments.dry_run:
        tell("a dry run: nothing was changed")
