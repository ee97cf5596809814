"""What `afterstay lag` concludes from what it saw, and how it says so. Pure.

Promises: the state is one of the four that monitoring plug-ins have, and the worst of everything that was found; what
is unknown is never taken for well; each finding says what it means and for which partitions. The first line of text is
a plug-in's: `STATE - what | performance data`, so that Nagios, Icinga and their kin can run the command as it is.

Sources: https://www.monitoring-plugins.org/doc/guidelines.html (output, return codes, performance data, and that a
threshold of 60 alerts above 60); the order of states is `max_state_alt` of its library; product.md §2.3 for the limits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from services.followup.usecases.status import Spool
from services.runtime.eventlog.lag import PartitionLag, Status

State = Literal["OK", "UNKNOWN", "WARNING", "CRITICAL"]
EXIT_CODES: Final[dict[State, int]] = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
"""A plug-in's return codes."""
RETENTION_USED_CRITICAL: Final = 0.5
"""Half of the time until the log deletes what nobody has read (product.md §2.3, RetentionLossNear)."""
FINDINGS_SHOWN: Final = 3

_SEVERITY: Final[tuple[State, ...]] = ("OK", "UNKNOWN", "WARNING", "CRITICAL")
_MEANINGS: Final[dict[Status, tuple[State, str]]] = {
    "LOST": ("CRITICAL", "records were deleted before they were read"),
    "AHEAD": ("CRITICAL", "the log ends before the committed offset: it is not the log that was consumed"),
    "STOPPED": ("CRITICAL", "nobody consumes it"),
    "REWIND": ("CRITICAL", "the committed offset went back"),
    "STALLED": ("CRITICAL", "its consumer does not get on"),
    "WARN": ("WARNING", "its consumer does not catch up"),
}
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Above how many seconds of age a human should look, and above how many at once."""

    warn_s: float
    crit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not well."""

    state: State
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LagReport:
    """The answer of `afterstay lag`; with `--json` it is printed as it is."""

    state: State
    summary: str
    group: str
    topic: str
    observed_at: datetime
    window_seconds: float
    warn_seconds: float
    crit_seconds: float
    partitions: tuple[PartitionLag, ...]
    spools: tuple[Spool, ...]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """A plug-in's return code."""
        return EXIT_CODES[self.state]


def report_of(
    rows: Sequence[PartitionLag],
    spools: Sequence[Spool],
    thresholds: Thresholds,
    *,
    group: str,
    topic: str,
    observed_at: datetime,
    window_s: float,
    failure: str | None = None,
) -> LagReport:
    """Conclude; `failure` says why the partitions could not be looked at, where they could not."""
    unseen = [Finding(state="UNKNOWN", text=failure)] if failure else []
    found = [*unseen, *_of_rows(rows, thresholds), *_of_spools(spools, thresholds)]
    findings = sorted(found, key=lambda one: -_SEVERITY.index(one.state))
    return LagReport(
        state=findings[0].state if findings else "OK",
        summary=_summary(findings) if findings else _all_well(rows, group, topic),
        group=group,
        topic=topic,
        observed_at=observed_at,
        window_seconds=window_s,
        warn_seconds=thresholds.warn_s,
        crit_seconds=thresholds.crit_s,
        partitions=tuple(rows),
        spools=tuple(spools),
        findings=tuple(findings),
    )


def plugin_line(report: LagReport) -> str:
    """Return the first line of the answer, as a monitoring plug-in writes it."""
    return f"{report.state} - {report.summary.replace('|', '/')} | {' '.join(_performance_data(report))}"


def duration(seconds: float) -> str:
    """Return a duration as people say it: two units at most."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if seconds < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if seconds < 2 * _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def _of_rows(rows: Sequence[PartitionLag], thresholds: Thresholds) -> Iterable[Finding]:
    for status, (state, meaning) in _MEANINGS.items():
        there = [row.partition for row in rows if row.status == status]
        if there:
            yield Finding(state=state, text=f"{status}: {meaning} ({_partitions(there)})")
    unread = [row.partition for row in rows if row.oldest_age_seconds is None]
    if unread:
        yield Finding(state="UNKNOWN", text=f"the record that waits cannot be read ({_partitions(unread)})")
    oldest = max(rows, key=lambda row: row.oldest_age_seconds or 0.0, default=None)
    if oldest is not None:
        where = f"in partition {oldest.partition}"
        yield from _of_age(oldest.oldest_age_seconds or 0.0, thresholds, where)
    threatened = [row for row in rows if (row.retention_used or 0.0) > RETENTION_USED_CRITICAL]
    for row in sorted(threatened, key=lambda one: -(one.retention_used or 0.0))[:1]:
        left = duration(row.data_loss_in_seconds or 0.0)
        yield Finding(state="CRITICAL", text=f"data loss in {left}: partition {row.partition} nears its retention")


def _of_spools(spools: Sequence[Spool], thresholds: Thresholds) -> Iterable[Finding]:
    for spool in spools:
        if spool.messages is None or spool.oldest_age_s is None:
            text = f"the listener at {spool.address} does not say what its spool holds"
            yield Finding(state="UNKNOWN", text=text)
        else:
            yield from _of_age(spool.oldest_age_s, thresholds, f"in the spool at {spool.address}")


def _of_age(age_s: float, thresholds: Thresholds, where: str) -> Iterable[Finding]:
    state: State = "CRITICAL" if age_s > thresholds.crit_s else "WARNING" if age_s > thresholds.warn_s else "OK"
    if state != "OK":
        yield Finding(state=state, text=f"the oldest message waits {duration(age_s)} {where}")


def _summary(findings: Sequence[Finding]) -> str:
    shown = "; ".join(finding.text for finding in findings[:FINDINGS_SHOWN])
    more = len(findings) - FINDINGS_SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def _all_well(rows: Sequence[PartitionLag], group: str, topic: str) -> str:
    waiting = sum(row.lag for row in rows)
    if not rows:
        return f"nothing was received yet for {group} on {topic}"
    oldest = duration(max(row.oldest_age_seconds or 0.0 for row in rows))
    what = f"{waiting} wait, the oldest for {oldest}" if waiting else "nothing waits"
    return f"{group} on {topic}, {len(rows)} partitions: {what}"


def _partitions(numbers: Sequence[int]) -> str:
    named = ", ".join(str(number) for number in numbers[:FINDINGS_SHOWN])
    more = len(numbers) - FINDINGS_SHOWN
    return f"partition{'s' if len(numbers) > 1 else ''} {named}{f' and {more} more' if more > 0 else ''}"


def _performance_data(report: LagReport) -> Iterable[str]:
    limits = f"{report.warn_seconds:g};{report.crit_seconds:g};0"
    rows, spools = report.partitions, report.spools
    ages = [row.oldest_age_seconds for row in rows]
    yield f"oldest_age={_worst(ages) if rows else 'U'}s;{limits}" if None not in ages and rows else "oldest_age=U"
    yield f"lag={sum(row.lag for row in rows)};;;0" if rows else "lag=U"
    used = [row.retention_used for row in rows if row.retention_used is not None]
    if used:
        yield f"retention_used={100 * max(used):.1f}%;;{100 * RETENTION_USED_CRITICAL:g};0;100"
    if any(spool.messages is None or spool.oldest_age_s is None for spool in spools):
        yield "spool_oldest_age=U spool_messages=U"
    elif spools:
        yield f"spool_oldest_age={_worst(spool.oldest_age_s for spool in spools)}s;{limits}"
        yield f"spool_messages={sum(spool.messages or 0 for spool in spools)};;;0"


def _worst(ages: Iterable[float | None]) -> str:
    return f"{max((age for age in ages if age is not None), default=0.0):.3f}"
