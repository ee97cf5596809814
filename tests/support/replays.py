"""Replays of a household's log: with its feeds as they are now, and rules as a test wants them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import sqlalchemy as sa

from schemas.events import RAW_HEADER, AdtEvent
from schemas.topics import ADT_EVENTS
from services.followup.store import tables
from services.followup.store.unit_of_work import units_of, views_of
from services.followup.usecases.ports import Begin
from services.followup.usecases.replay import Desk, Replay, Report, rehearsed
from services.followup.usecases.replay_range import Range, find_spans
from services.ingest.normalize import NORMALIZER
from services.runtime.clock import from_timestamp_us
from services.runtime.eventlog.port import Record
from tests.support.household import Household

ALL = Range()
FAST = 1e9


class HouseholdReader:
    """Reads with a household's feeds; `change` is what other rules would make of an event."""

    def __init__(
        self,
        household: Household,
        *,
        revision: int = NORMALIZER,
        change: Callable[[AdtEvent], AdtEvent] = lambda event: event,
    ) -> None:
        self.revision = revision
        self._household = household
        self._change = change

    def read(self, record: Record) -> AdtEvent | None:
        """Return the event of a record's bytes."""
        raw = record.header(RAW_HEADER)
        if record.damaged or raw is None:
            return None
        event = self._household.event_of(raw, from_timestamp_us(record.timestamp_us))
        return self._change(msgspec.structs.replace(event, normalizer=self.revision))


class Untold:
    """Hears how far a replay is and does not mind."""

    def progressed(self, report: Report) -> None:
        """Hear it."""


def replay(
    household: Household,
    asked: Range | None = ALL,
    *,
    reader: HouseholdReader | None = None,
    dry_run: bool = False,
    feed: str | None = None,
    begin: Begin | None = None,
) -> Report:
    """Replay a range of a household's log, or (`None`) what awaits it."""
    return asyncio.run(
        _replay(household, asked, reader or HouseholdReader(household), dry_run=dry_run, feed=feed, begin=begin)
    )


async def _replay(
    household: Household,
    asked: Range | None,
    reader: HouseholdReader,
    *,
    dry_run: bool,
    feed: str | None,
    begin: Begin | None,
) -> Report:
    begin = begin or units_of(household.engine)
    with ThreadPoolExecutor(1) as executor:
        desk = Desk(
            topic=ADT_EVENTS,
            ahead=household.log,
            jumps=household.log,
            look=views_of(household.engine),
            begin=rehearsed(begin) if dry_run else begin,
            executor=executor,
        )
        replaying = Replay(desk, household.follow_up, reader, household.clock, rate=FAST, feed=feed)
        if asked is None:
            return await replaying.run_awaiting(asyncio.Event(), Untold())
        consumed = household.apply.positions(ADT_EVENTS)
        spans = await find_spans(household.log, ADT_EVENTS, asked, consumed)
        return await replaying.run(spans, asyncio.Event(), Untold())


def everything(household: Household) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of the database, by table, to compare with later."""
    with household.engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in tables.metadata.sorted_tables
        }
