"""Delivers records to the handler, whoever reads them: in order, without a gap, until they are committed.

Shared by the plain loop and the faust worker, so that the promises are kept in one place:
- A batch that cannot be committed now is tried again in place, with back-off up to `BACKOFF_MAX_S`. `Ambiguous` too: a
  commit whose answer was lost either happened, and the position says so, or did not.
- What the group passed over is read from the log and applied first; what retention took is an alarm with its range.
- A thread that is committing is never abandoned: whoever cancels a delivery waits for `settled`.
- Anything else leaves as it came, and the process has to end: the handler dead-letters what is a record's own fault.

All blocking work runs on the one thread of the executor, so that batches and timers never overlap.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, TypeVar

from services.followup.consumer.handler import Handler
from services.followup.consumer.observation import ConsumerObserver
from services.followup.consumer.positions import LOG_REPLACED, RECORDS_LOST, Lost, Resumption, resume, runs
from services.followup.usecases.apply_events import Applied, ApplyEvents, Gap
from services.runtime.errors import Ambiguous, Permanent, Transient
from services.runtime.eventlog.port import Record, Subscriber
from services.runtime.lifecycle import in_thread
from services.runtime.log import Logger

BATCH_RECORDS_MAX: Final = 500  # DESIGN §7: micro-batches of up to 500
BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MAX_S: Final = 5.0

_Result = TypeVar("_Result")


class Stopped(Exception):  # noqa: N818 - not an error: the consumer was asked to stop while it waited
    """The batch was not committed, because the consumer stops; it will be offered again."""


class Delivery:
    """Delivers the records of one topic."""

    def __init__(
        self,
        *,
        topic: str,
        apply: ApplyEvents,
        subscriber: Subscriber,
        executor: Executor,
        observer: ConsumerObserver,
        log: Logger,
        stop: asyncio.Event,
    ) -> None:
        self.topic = topic
        self._apply = apply
        self._handler = Handler(apply, log)
        self._subscriber = subscriber
        self._executor = executor
        self._observer = observer
        self._log = log
        self._stop = stop
        self._begun: set[int] = set()
        self._under_way: set[asyncio.Future[Any]] = set()

    async def begin(self, partitions: Collection[int]) -> dict[int, int]:
        """Return where to read on in these partitions; raises the alarms that the comparison calls for.

        Raises:
            Permanent: `log-replaced`: stop.
            Stopped: asked to stop meanwhile.
        """
        reached = await self.until_done(partial(self._thread, partial(self._apply.positions, self.topic)))
        found = resume(
            self.topic, _only(reached, partitions), *await self.until_done(partial(self._extent, partitions))
        )
        self._require_the_same_log(found)
        if found.new:
            await self.until_done(partial(self._thread, partial(self._apply.begin_at, self.topic, found.new)))
        for lost in found.lost:
            await self._pass_over(lost)
        self._begun.update(found.starts)
        return dict(found.starts)

    async def check(self, partitions: Collection[int]) -> None:
        """Look whether the log is still the one that was consumed; called now and then.

        Raises:
            Permanent: `log-replaced`: stop.
        """
        self._require_the_same_log(await self._compare(partitions))

    async def deliver(self, records: Sequence[Record], joined: Mapping[int, int] | None = None) -> None:
        """Apply records, in whatever order a group offers them, and all that is missing before them.

        `joined` says from which offset on they were read without omission (see `ApplyEvents.deliver`).

        Raises:
            Stopped: asked to stop before they were committed.
            Exception: neither the handler nor a retry can help; the process must end.
        """
        if unbegun := {record.partition for record in records} - self._begun:
            await self.begin(unbegun)
        for piece in runs(records):
            while isinstance(outcome := await self._commit(piece, dict(joined or {})), Gap):
                joined = await self._catch_up(outcome.positions, piece)

    async def settled(self) -> None:
        """Wait until no thread is at work, whatever became of who started it."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _commit(self, records: Sequence[Record], joined: dict[int, int]) -> Applied | Gap:
        outcome = await self.until_done(
            partial(self._thread, partial(self._handler.handle, self.topic, records, joined))
        )
        if isinstance(outcome, Applied):
            self._observer.applied(outcome)
        return outcome

    async def _catch_up(self, positions: Mapping[int, int], before: Sequence[Record]) -> dict[int, int]:
        """Read and apply what lies between the positions and the records; return from where it was without omission."""
        joined: dict[int, int] = {}
        for partition, position in positions.items():
            end = min(record.offset for record in before if record.partition == partition)
            joined[partition] = await self._apply_between(partition, position, end)
        return joined

    async def _apply_between(self, partition: int, position: int, end: int) -> int:
        self._log.warning("gap_found", topic=self.topic, partition=partition, offset=position, count=end - position)
        while position < end:
            records = await self.until_done(partial(self._read, partition, position))
            position = await self._require_unlost(partition, position, records)
            wanted = [record for record in records if record.offset < end]
            if not wanted:
                break
            outcome = await self._commit(wanted, {partition: position})
            self._observer.caught_up(outcome.fresh if isinstance(outcome, Applied) else 0)
            position = wanted[-1].offset + 1
        return position

    async def require_unlost(self, positions: Mapping[int, int], records: Sequence[Record]) -> dict[int, int]:
        """Tell of records that retention took from in front of those that were read from `positions`."""
        joined = dict(positions)
        for partition in sorted({record.partition for record in records}):
            read = [record for record in records if record.partition == partition]
            joined[partition] = await self._require_unlost(partition, positions[partition], read)
        return joined

    async def _require_unlost(self, partition: int, asked: int, read: Sequence[Record]) -> int:
        """Return where `read` begins without omission: where it was asked for, or where retention let it begin."""
        if read and read[0].offset == asked:
            return asked
        begins, _ = await self.until_done(partial(self._extent, (partition,)))
        begin = begins.get(partition, asked)
        if begin <= asked:
            return asked  # offsets that no record has
        await self._pass_over(Lost(topic=self.topic, partition=partition, first=asked, next=begin))
        return begin

    async def _pass_over(self, lost: Lost) -> None:
        call = partial(self._apply.pass_over, self.topic, lost.partition, lost.first, lost.next)
        if await self.until_done(partial(self._thread, call)):
            self._observer.lost(lost)
            self._log.critical(
                "records_lost",
                code=RECORDS_LOST,
                topic=lost.topic,
                partition=lost.partition,
                offset=lost.first,
                count=lost.next - lost.first,
            )

    async def _compare(self, partitions: Collection[int]) -> Resumption:
        reached = await self.until_done(partial(self._thread, partial(self._apply.positions, self.topic)))
        begins, ends = await self.until_done(partial(self._extent, partitions))  # later: a log only grows
        return resume(self.topic, _only(reached, partitions), begins, ends)

    def _require_the_same_log(self, found: Resumption) -> None:
        for partition, (position, end) in found.replaced.items():
            raise Permanent(
                LOG_REPLACED,
                f"{self.topic} partition {partition} was consumed up to {position} but its log ends at {end}: this is "
                "not the log that was consumed. Nothing is read from it, because new messages would be skipped unseen: "
                "restore the log and the database from one backup, or name another topic",
            )

    async def _extent(self, partitions: Collection[int]) -> tuple[dict[int, int], dict[int, int]]:
        begins = await self._subscriber.begin_offsets(self.topic)
        ends = await self._subscriber.end_offsets(self.topic)
        return _only(begins, partitions), _only(ends, partitions)

    async def _read(self, partition: int, offset: int) -> list[Record]:
        """Read where there is a record for certain; finding none means that the log cannot be trusted just now."""
        records = await self._subscriber.read(
            self.topic, partition, offset, max_records=BATCH_RECORDS_MAX, bytes_max=BATCH_BYTES_MAX
        )
        if not records:
            raise Transient("log-unavailable", f"{self.topic} partition {partition} cannot be read at {offset} now")
        return records

    async def _thread(self, call: Callable[[], _Result]) -> _Result:
        """Run a call on the work thread; `settled` waits for it even if the caller is canceled."""
        future = asyncio.ensure_future(in_thread(self._executor, call))
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return await asyncio.shield(future)

    async def until_done(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Attempt it until it works."""
        delay_s = BACKOFF_FIRST_S
        failed = False
        while True:
            try:
                result = await attempt()
            except (Transient, Ambiguous) as error:
                failed = True
                self._observer.retried(error.code)
                self._log.warning("batch_postponed", code=error.code, timeout_s=delay_s)
            else:
                if failed:
                    self._observer.recovered()
                return result
            try:
                await asyncio.wait_for(self._stop.wait(), timeout=delay_s)
            except TimeoutError:
                delay_s = min(delay_s * 2, BACKOFF_MAX_S)
            else:
                raise Stopped


def _only(offsets: Mapping[int, int], partitions: Collection[int]) -> dict[int, int]:
    return {partition: offset for partition, offset in offsets.items() if partition in partitions}
