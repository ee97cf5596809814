"""Watches a group of Kafka for as long as a process lives, whatever Kafka does meanwhile.

Promise: a cluster that cannot be reached, or refuses us, is said once and tried again; it never ends the process, which
has other work.
"""

import asyncio
import contextlib
from typing import Final

from services.runtime.clock import Clock
from services.runtime.errors import AfterstayError
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.lag_parts import KafkaLagParts
from services.runtime.eventlog.lag import PartitionLag
from services.runtime.eventlog.lag_observer import LOOK_EVERY_S, WINDOW_S, LagObserver
from services.runtime.log import get_logger

RECONNECT_S: Final = 5.0

_log = get_logger(__name__)


class LagWatch:
    """One group on one topic; `rows` are those of the latest look."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        client_id: str,
        group: str,
        topic: str,
        clock: Clock,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._connection = connection
        self._client_id = client_id
        self._group = group
        self._topic = topic
        self._clock = clock
        self._look_every_s = look_every_s
        self._observer: LagObserver | None = None

    def rows(self) -> tuple[PartitionLag, ...]:
        """Return what the latest look saw; nothing if it failed or there was none yet."""
        return self._observer.rows if self._observer is not None else ()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until asked to stop."""
        said: str | None = None
        while not stop.is_set():
            try:
                parts = await KafkaLagParts.open(self._connection, client_id=self._client_id)
            except AfterstayError as error:
                if error.code != said:
                    _log.warning("lag_unknown", code=error.code, group=self._group, topic=self._topic, exc_info=error)
                said = error.code
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), RECONNECT_S)
                continue
            try:
                self._observer = parts.observer(
                    group=self._group, topic=self._topic, clock=self._clock, window_s=WINDOW_S
                )
                await self._observer.run(stop, every_s=self._look_every_s)  # heals by itself from here on
            finally:
                self._observer = None
                await parts.close()
