"""A data folder as `afterstay run` leaves it, without running it: a real log, a real database, real use cases.

Messages go in as bytes and are recorded as the listener records them; `consume` applies what is in the log as the
worker does, on the panel that was loaded.
"""

import asyncio
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas.events import ACK_HEADER, RAW_HEADER, encode_event
from schemas.topics import ADT_EVENTS, partition_of
from services.followup.composition import build_apply
from services.followup.protocols.closures import closures_in
from services.followup.store.panel import SqlPanelImports
from services.followup.usecases.panel import ImportPanel
from services.ingest.feeds import Feeds
from services.ingest.mllp.inbound import Inbound
from services.ingest.reception import Reception, control_ids
from services.runtime.clock import FixedClock, SystemClock, to_timestamp_us
from services.runtime.database import database_url, open_database
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.port import NewRecord, Record
from tests.support.databases import copy_empty_database
from tests.support.household import FEEDS

PARTITIONS = 4
NOW = datetime(2026, 11, 20, 20, tzinfo=UTC)
"""Half an hour after the discharge that most tests tell of."""
PANEL = """\
patient_id,family,given,birth_date,sex,street,city,state,zip,phone,language,identifiers
P1,Rivera,Ana,1952-03-14,F,12 Oak Street,Springfield,IL,62701,217-555-0142,Spanish,1001^^^MERCY^MR
P2,Okafor,Ben,1960-07-01,M,4 Elm Street,Springfield,IL,62701,217-555-0190,,1002^^^MERCY^MR
"""


class DataFolder:
    """One folder; `now` is when its messages are received and applied, each receipt a second after the one before."""

    def __init__(self, path: Path, *, now: datetime = NOW) -> None:
        self.path = path
        self.now = now
        self._receipts = count()

    def copy_to(self, path: Path) -> "DataFolder":
        """Return another folder with the same files, which is cheaper than to tell it everything again."""
        copied = DataFolder(path, now=self.now)
        shutil.copytree(self.path, path, dirs_exist_ok=True)
        return copied

    def make_database(self) -> None:
        """Make the database, empty."""
        copy_empty_database(self.path)

    def open(self) -> sa.Engine:
        """Open the database; dispose of it."""
        return open_database(database_url(self.path))

    def load_panel(self, text: str = PANEL) -> None:
        """Load a panel."""
        file = self.path / "panel-source.csv"
        file.write_text(text, encoding="utf-8")
        engine = self.open()
        try:
            report = ImportPanel(SqlPanelImports(engine), SystemClock()).run(file, actor="test")
        finally:
            engine.dispose()
        assert report.loaded, report

    def receive(self, *messages: bytes, feeds: Feeds = FEEDS, truncated: bool = False) -> None:
        """Record messages in the log, as the listener does; `truncated` ones were broken off by their sender."""
        asyncio.run(self._receive(messages, feeds, truncated=truncated))

    def consume(self) -> int:
        """Apply everything in the log that was not applied yet; return how many records that were."""
        engine = self.open()
        try:
            return build_apply(engine, FixedClock(self.now), closures=closures_in(self.path)).handle(
                ADT_EVENTS, self.records()
            )
        finally:
            engine.dispose()

    def records(self) -> list[Record]:
        """Return every record of the log."""
        return asyncio.run(self._records())

    def execute(self, statement: sa.Executable) -> None:
        """Change the database behind everybody's back."""
        engine = self.open()
        try:
            with engine.begin() as connection:
                connection.execute(statement)
        finally:
            engine.dispose()

    def rows(self, statement: sa.Select[tuple[object, ...]]) -> list[tuple[object, ...]]:
        """Return rows of the database."""
        engine = self.open()
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(statement)]
        finally:
            engine.dispose()

    async def _receive(self, messages: Sequence[bytes], feeds: Feeds, *, truncated: bool) -> None:
        reception = Reception(feeds, control_ids=control_ids(self.now))
        publisher = await EmbeddedPublisher.open(self.path, on_failure=_refuse_failure, partitions=PARTITIONS)
        try:
            for raw in messages:
                received_at = self.now + timedelta(seconds=next(self._receipts))
                inbound = Inbound(payload=raw, peer="", connection_id=1, truncated=truncated)
                decision = reception.receive(inbound, received_at)
                await publisher.publish(
                    NewRecord(
                        topic=ADT_EVENTS,
                        partition=partition_of(decision.event, PARTITIONS),
                        key=decision.event.event_id.encode(),
                        value=encode_event(decision.event),
                        headers=((RAW_HEADER, raw), (ACK_HEADER, (decision.code or "none").encode())),
                        timestamp_us=to_timestamp_us(received_at),
                    )
                )
        finally:
            await publisher.close()

    async def _records(self) -> list[Record]:
        subscriber = await EmbeddedSubscriber.open(self.path)
        try:
            found = []
            for partition in await subscriber.partitions(ADT_EVENTS):
                found += await subscriber.read(ADT_EVENTS, partition, 0, max_records=10_000, bytes_max=2**30)
            return found
        finally:
            await subscriber.close()


def _refuse_failure(error: Exception) -> None:
    pytest.fail(f"the log failed: {error}")
