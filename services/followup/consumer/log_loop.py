"""The plain loop: reads any log from where the database says, and hands it on.

It feeds the embedded default, and Kafka where a group is not wanted (replays, backfills, benchmarks): one reader of all
partitions, at a small part of faust's cost per record. At-least-once in: it reads from the position that the database
holds, so a crash between effect and hint repeats nothing. A database that is away is waited for; anything unforeseen
ends the loop, and with it the process, which its supervisor starts again.
"""

import asyncio
from typing import Final

from services.followup.consumer.delivery import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Delivery, Stopped
from services.followup.consumer.observation import ConsumerObserver
from services.runtime.errors import Transient
from services.runtime.eventlog.port import GroupPositions, Record, Subscriber
from services.runtime.log import Logger

IDLE_WAIT_S: Final = 1.0
CHECK_EVERY_S: Final = 10.0
"""How often an idle loop looks whether the log was replaced under it."""


class LogLoop:
    """One consumer of all partitions of one topic."""

    def __init__(
        self,
        *,
        group: str,
        delivery: Delivery,
        subscriber: Subscriber,
        groups: GroupPositions,
        observer: ConsumerObserver,
        log: Logger,
    ) -> None:
        self._topic = delivery.topic
        self._group = group
        self._delivery = delivery
        self._subscriber = subscriber
        self._groups = groups
        self._observer = observer
        self._log = log

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; the batch under way is finished first.

        Raises:
            Permanent: `log-replaced`.
        """
        try:
            await self._run(stop)
        except Stopped:
            return
        finally:
            await self._delivery.settled()

    async def _run(self, stop: asyncio.Event) -> None:
        partitions = await self._subscriber.partitions(self._topic)
        positions = await self._delivery.begin(partitions)
        self._observer.assigned(partitions)
        idle_s = 0.0
        while not stop.is_set():
            records = await self._delivery.until_done(lambda: self._read(positions))
            if not records:
                idle_s = 0.0 if await self._wait(positions) else idle_s + IDLE_WAIT_S
                if idle_s >= CHECK_EVERY_S:
                    idle_s = 0.0
                    await self._delivery.check(partitions)
                continue
            joined = await self._delivery.require_unlost(positions, records)
            await self._delivery.deliver(records, joined)
            for record in records:
                positions[record.partition] = record.offset + 1
            await self._hint(positions)

    async def _read(self, positions: dict[int, int]) -> list[Record]:
        """Read an equal share of a batch from each partition, so that a busy one does not hold up the others."""
        batch: list[Record] = []
        share = max(1, BATCH_RECORDS_MAX // max(1, len(positions)))
        for partition, offset in sorted(positions.items()):
            batch += await self._subscriber.read(
                self._topic, partition, offset, max_records=share, bytes_max=BATCH_BYTES_MAX // len(positions)
            )
        return batch

    async def _wait(self, positions: dict[int, int]) -> bool:
        return await self._delivery.until_done(
            lambda: self._subscriber.wait_for_records(self._topic, positions, timeout_s=IDLE_WAIT_S)
        )

    async def _hint(self, positions: dict[int, int]) -> None:
        try:
            await self._groups.commit(self._group, self._topic, positions)
        except Transient as error:
            self._log.warning("position_hint_failed", code=error.code)
