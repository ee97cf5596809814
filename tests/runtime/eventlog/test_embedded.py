"""The embedded log keeps the port's promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.eventlog.embedded.groups import EmbeddedGroupPositions
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher, PublisherLimits
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from tests.runtime.eventlog.suite import EventLogSuite, Opener, OpenLog


def refuse_failure(error: Exception) -> None:
    pytest.fail(f"the log failed: {error}")


async def open_embedded(folder: Path, *, partitions: int) -> OpenLog:
    return OpenLog(
        publisher=await EmbeddedPublisher.open(folder, on_failure=refuse_failure, partitions=partitions),
        subscriber=await EmbeddedSubscriber.open(folder),
        groups=await EmbeddedGroupPositions.open(folder),
    )


@pytest.mark.parametrize("partitions", [2, 5])
class TestEmbeddedLog(EventLogSuite):
    record_bytes_max = PublisherLimits().record_bytes_max

    @pytest.fixture
    async def open_log(self, tmp_path: Path, partitions: int) -> AsyncIterator[Opener]:
        opened: list[OpenLog] = []

        async def open_log() -> OpenLog:
            opened.append(await open_embedded(tmp_path, partitions=partitions))
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
