"""A publisher with a spool keeps the port's promises while its log is well; behind it, the embedded log."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.eventlog.embedded.groups import EmbeddedGroupPositions
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.spooled.publisher import SpooledPublisher
from services.runtime.eventlog.spooled.settings import SpoolSettings
from tests.runtime.eventlog.suite import EventLogSuite, Opener, OpenLog
from tests.runtime.eventlog.test_embedded import refuse_failure

TOPICS = {"adt.events.v1": 3, "followup.tasks.v1": 3}


async def open_spooled(folder: Path) -> OpenLog:
    log, spool = folder / "log", folder / "spool"
    log.mkdir(exist_ok=True)

    async def open_direct() -> EmbeddedPublisher:
        return await EmbeddedPublisher.open(log, on_failure=refuse_failure, partitions=3)

    publisher = await SpooledPublisher.open(
        spool,
        open_direct=open_direct,
        topics=TOPICS,
        settings=SpoolSettings(bytes_max=2**30),
        on_failure=refuse_failure,
    )
    return OpenLog(
        publisher=publisher,
        subscriber=await EmbeddedSubscriber.open(log),
        groups=await EmbeddedGroupPositions.open(log),
    )


class TestSpooledPublisher(EventLogSuite):
    record_bytes_max = SpoolSettings(bytes_max=1).record_bytes_max

    @pytest.fixture
    async def open_log(self, tmp_path: Path) -> AsyncIterator[Opener]:
        opened: list[OpenLog] = []

        async def open_log() -> OpenLog:
            opened.append(await open_spooled(tmp_path))
            return opened[-1]

        yield open_log
        for log in opened:
            await log.close()

    @pytest.fixture
    def topic(self) -> str:
        return "adt.events.v1"

    @pytest.fixture
    def other_topic(self) -> str:
        return "followup.tasks.v1"
