"""Checks of what people set up: feeds, panel, schema, clock."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from schemas.topics import ADT_EVENTS
from services.commands.data_source import DataSource, found_database, found_log
from services.commands.findings import Finding, failed, passed, warned
from services.followup.store.inspection import count_members
from services.followup.store.migrate import HEAD
from services.ingest.bootstrap import open_feeds
from services.runtime.clock import Clock, from_timestamp_us
from services.runtime.errors import ConfigurationError

SKEW_MAX: Final = timedelta(seconds=2)  # product.md §2.3, ClockSkew


def examine_feeds(file: Path | None) -> Iterator[Finding]:
    """Read the feeds file; every problem is a finding."""
    fix = "name the feeds file with --feeds; it lists who sends (`feeds:`) and may have a `default:`"
    if file is None:
        yield warned("feeds", "no feeds file is named: every message would be kept and parked as a dead letter", fix)
        return
    try:
        feeds = open_feeds(file)
    except ConfigurationError as error:
        for problem in error.problems:
            yield failed("feeds", str(problem), "mend this line; `afterstay run` refuses the file until then")
        return
    if not feeds.profiles and feeds.default is None:
        yield warned("feeds", f"{file} names no feed: every message would be parked as a dead letter", fix)
        return
    names = ", ".join(one.name for one in feeds.profiles) or "none by name"
    others = "other senders have a default" if feeds.default else "other senders are parked"
    yield passed("feeds", f"{len(feeds.profiles)} feeds ({names}); {others}")


def examine_database(source: DataSource) -> Iterator[Finding]:
    """Look at the schema, and whether there is anybody to follow up."""
    fix = "load it: `afterstay panel import FILE`"
    with found_database(source) as engine:
        if engine is None:
            yield passed("schema", "the database is not made yet; the first `afterstay run` or panel import makes it")
            yield warned("panel", "nobody is on the panel, so no message can make a task", fix)
            return
        yield passed("schema", f"revision {HEAD}, as this release needs it")
        members = count_members(engine)
    if members:
        yield passed("panel", f"{members} people")
    else:
        yield warned("panel", "nobody is on the panel, so no message can make a task", fix)


def examine_clock(source: DataSource, clock: Clock) -> Iterator[Finding]:
    """Compare the machine's clock with the log, whose times were taken from it: it may have been set back."""
    now, latest = clock.now(), asyncio.run(_latest_in_log(source))
    if latest is not None and latest - now > SKEW_MAX:
        yield failed(
            "clock",
            f"the log holds a message received {latest - now} ahead of this machine's time: the clock was set back, "
            "so due dates and ages are wrong",
            "set the clock (`timedatectl status` should say `System clock synchronized: yes`)",
        )
    else:
        yield passed("clock", f"it is {now:%Y-%m-%d %H:%M:%S} UTC, not before the last message received")


async def _latest_in_log(source: DataSource) -> datetime | None:
    """Return the latest receipt among the last records of the partitions."""
    async with found_log(source) as log:
        if log is None:
            return None
        stamps = []
        for partition, end in (await log.end_offsets(ADT_EVENTS)).items():
            if end > 0:
                stamps += await log.read(ADT_EVENTS, partition, end - 1, max_records=1, bytes_max=1)
        return max((from_timestamp_us(one.timestamp_us) for one in stamps if not one.damaged), default=None)
