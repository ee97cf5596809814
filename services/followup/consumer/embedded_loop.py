"""The loop that feeds the handler from the embedded log, and wakes stays whose timers ran out.

At-least-once in: it reads from the position that the database holds, so a crash between effect and hint repeats
nothing. A database that is away is waited for with bounded back-off; anything unforeseen ends the loop, and with it
the worker process, which its supervisor starts again.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final, TypeVar

from services.followup.consumer.handler import Handler
from services.followup.usecases.apply_events import ApplyEvents
from services.runtime.errors import Transient
from services.runtime.eventlog.port import GroupPositions, Record, Subscriber
from services.runtime.lifecycle import in_thread
from services.runtime.log import Logger

BATCH_RECORDS_MAX: Final = 500  # DESIGN §7: micro-batches of up to 500
BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
IDLE_WAIT_S: Final = 1.0
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MAX_S: Final = 5.0

_Result = TypeVar("_Result")


class EmbeddedLoop:
    """One consumer of all partitions of one topic."""

    def __init__(
        self,
        *,
        topic: str,
        group: str,
        apply: ApplyEvents,
        subscriber: Subscriber,
        groups: GroupPositions,
        executor: Executor,
        log: Logger,
    ) -> None:
        self._topic = topic
        self._group = group
        self._apply = apply
        self._handler = Handler(apply, log)
        self._subscriber = subscriber
        self._groups = groups
        self._executor = executor
        self._log = log

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; the batch under way is finished first."""
        reached = await self._retry(partial(self._apply.positions, self._topic), stop)
        positions = dict.fromkeys(await self._subscriber.partitions(self._topic), 0) | (reached or {})
        while not stop.is_set():
            records = await self._read(positions)
            if not records:
                await self._subscriber.wait_for_records(self._topic, positions, timeout_s=IDLE_WAIT_S)
                continue
            await self._retry(partial(self._handler.handle, self._topic, records), stop)
            if stop.is_set():
                return
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

    async def _retry(self, call: Callable[[], _Result], stop: asyncio.Event) -> _Result | None:
        """Call until it works; `None` if asked to stop meanwhile."""
        delay_s = BACKOFF_FIRST_S
        while True:
            try:
                return await in_thread(self._executor, call)
            except Transient as error:
                self._log.warning("batch_postponed", code=error.code, timeout_s=delay_s)
            try:
                await asyncio.wait_for(stop.wait(), timeout=delay_s)
            except TimeoutError:
                delay_s = min(delay_s * 2, BACKOFF_MAX_S)
            else:
                return None

    async def _hint(self, positions: dict[int, int]) -> None:
        try:
            await self._groups.commit(self._group, self._topic, positions)
        except Transient as error:
            self._log.warning("position_hint_failed", code=error.code)
