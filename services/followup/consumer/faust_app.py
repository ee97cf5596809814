"""The production consumer: a faust worker in the process's own event loop. The only module that imports faust.

Promise (house style 12): **no exception leaves the agent.** faust acknowledges what follows an exception in the body of
a `take`, and with it whatever its drainer reads meanwhile: up to 70 % of the records were lost that way. So a record's
own fault is a dead letter (`handler`), what passes by itself is retried in place while faust's thread goes on
heartbeating (`delivery`), and anything else ends the worker, which the service manager starts again.

What faust and Kafka's group remember is a hint. On every assignment the worker goes on from the database's positions,
makes the group's commit equal to them, and reads what the group would have skipped. A rebalance and the end wait for
the batch that is being committed; a worker that was frozen meanwhile finds its records known, by the locked position.

Of faust only the consumer group and the agent are used: no web server (the command line's would bind 0.0.0.0:6066), no
producer, no tables, no leader, no signal handlers, no folder, nothing at import. Its consumer lives on a thread of its
own that does not keep a dying process alive.

Source: `streaming.md` §3 (safe recipe, crash matrix, traps); faust-streaming 0.15.3 and mode 0.7.1 as installed; the
decision and the alternatives: ADR 0013.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, Collection, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, cast

import faust
from faust.app.base import BootStrategy
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, StreamT
from mode import CrashingSupervisor
from mode.threads import WorkerThread
from yarl import URL

from services.followup.consumer.delivery import BATCH_RECORDS_MAX, Delivery, Stopped
from services.followup.consumer.observation import ConsumerObserver
from services.runtime.clock import SystemClock
from services.runtime.errors import AfterstayError, Defect
from services.runtime.eventlog.kafka.client_log import RepeatLimit, limit_repeats
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.records import from_wire
from services.runtime.eventlog.port import Record
from services.runtime.log import Logger

WITHIN_S: Final = 0.02
"""How long a batch that is not full waits for more: a record's delay on a quiet feed."""
COMMIT_INTERVAL_S: Final = 0.5
SESSION_TIMEOUT_S: Final = 6.0
HEARTBEAT_S: Final = 1.0
REBALANCE_TIMEOUT_S: Final = 10.0
REQUEST_TIMEOUT_S: Final = 12.0
METADATA_MAX_AGE_MS: Final = 5_000
"""So that a topic created after the start is read within 5 s."""
BUFFERED_RECORDS_MAX: Final = 500
"""In each of faust's two buffers, besides what was taken over and the batch under way; more is left in the broker."""
RESUME_WITHIN_S: Final = 5.0
"""How long an assignment waits for the database's positions; past it, the group's commit has to do at first."""
SETTLE_WITHIN_S: Final = 5.0
"""How long a rebalance or the end waits for the batch that is being committed."""
LEAVE_WITHIN_S: Final = 3.0
"""How long leaving the group may take; a frozen broker learns it from the session time-out."""
CHECK_EVERY_S: Final = 10.0
"""How often the worker looks whether the topic was made anew under it."""


class FaustWorker:
    """One worker of a consumer group. `run` it once."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        group: str,
        delivery: Delivery,
        observer: ConsumerObserver,
        log: Logger,
    ) -> None:
        self._connection = connection
        self._group = group
        self._delivery = delivery
        self._observer = observer
        self._log = log
        self._partitions: frozenset[int] = frozenset()
        self._taken: asyncio.Queue[tuple[StreamT[bytes], EventT[bytes]]] = asyncio.Queue(BATCH_RECORDS_MAX)
        self._batch: asyncio.Task[bool] | None = None
        self._failed: asyncio.Future[None]

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; the batch under way is finished first.

        Raises:
            Permanent: `log-replaced`; `broker-settings-unusable`.
            Defect: `consumer-failed`: something unforeseen; the process has to end.
        """
        self._failed = asyncio.get_running_loop().create_future()
        app = self._build()
        parts = (stop.wait(), self._live(app), self._feed(), self._check_now_and_then())
        tasks: set[asyncio.Future[Any]] = {
            asyncio.create_task(cast("Coroutine[Any, Any, Any]", part)) for part in parts
        }
        try:
            await asyncio.wait({self._failed, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            await self._finish_batch()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leave(app)
        if self._failed.done():
            self._failed.result()

    async def _live(self, app: "_App") -> None:
        """Start faust and wait until it ends, which it does by itself only when it has crashed."""
        try:
            await app.start()
            await app.wait_until_stopped()
        except Exception as error:  # noqa: BLE001 - the consumer's shell: named and reported below
            self._fail(error)
        self._fail(app.crash_reason)

    async def _check_now_and_then(self) -> None:
        try:
            while True:
                await asyncio.sleep(CHECK_EVERY_S)
                await self._delivery.check(self._partitions)
        except Stopped:
            return
        except AfterstayError as error:
            self._fail(error)

    async def _consume(self, stream: StreamT[bytes]) -> None:
        """The agent: takes over what faust offers, as long as there is room, and does nothing that could raise.

        faust fills no batch while it waits for one to be done, and takes 0.1 ms or more for each record: working here
        would make the batches of a backlog as small as what it can bring within `WITHIN_S`.
        """
        batches: AsyncIterable[Sequence[EventT[bytes]]] = stream.noack_take(BATCH_RECORDS_MAX, within=WITHIN_S)  # type: ignore[attr-defined] # not in the abstract class
        async for events in batches:
            for event in events:
                await self._taken.put((stream, event))

    async def _feed(self) -> None:
        """Deliver batches of what was taken over meanwhile, one after the other, until one cannot be."""
        delivered = True
        while delivered:
            batch = [await self._taken.get()]
            while len(batch) < BATCH_RECORDS_MAX and not self._taken.empty():
                batch.append(self._taken.get_nowait())
            self._batch = asyncio.create_task(self._deliver(batch))
            delivered = await asyncio.shield(self._batch)

    async def _deliver(self, batch: Sequence[tuple[StreamT[bytes], EventT[bytes]]]) -> bool:
        """Commit a batch, then acknowledge it; False when that cannot be, and the worker has to end."""
        try:
            await self._delivery.deliver([_record(event) for _, event in batch])
        except Stopped:
            return False
        except Exception as error:  # noqa: BLE001 - the consumer's shell: nothing may be acknowledged after a failure
            self._fail(error)
            return False
        for stream, event in batch:
            await stream.ack(event)
        return True

    async def _finish_batch(self) -> None:
        """Let the batch under way be committed and acknowledged."""
        if self._batch is not None:
            await asyncio.wait({self._batch}, timeout=SETTLE_WITHIN_S)

    # What the parts of faust below call

    async def resume(self, partitions: Collection[int]) -> dict[int, int]:
        """Return where to go on in these partitions; empty when the database does not say so in time."""
        try:
            async with asyncio.timeout(RESUME_WITHIN_S):
                return await self._delivery.begin(partitions)
        except (TimeoutError, Stopped):
            self._log.warning("positions_unread", topic=self._delivery.topic, timeout_s=RESUME_WITHIN_S)
            return {}
        except Exception as error:
            self._fail(error)
            raise

    def assigned(self, partitions: Collection[int]) -> None:
        """Take note of an assignment."""
        self._partitions = frozenset(partitions)
        self._observer.assigned(self._partitions)
        self._log.info("partitions_assigned", topic=self._delivery.topic, count=len(self._partitions))

    async def settle(self) -> None:
        """Wait for the batch that is being committed; what takes longer is fenced by the locked position."""
        try:
            async with asyncio.timeout(SETTLE_WITHIN_S):
                await self._delivery.settled()
        except TimeoutError:
            self._log.warning("commit_outlasted", topic=self._delivery.topic, timeout_s=SETTLE_WITHIN_S)

    def thread_crashed(self, error: BaseException | None) -> None:
        """Take note of the end of faust's consumer thread."""
        self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        """End the worker for a reason; the first one counts."""
        if self._failed.done():
            return
        if not isinstance(error, AfterstayError):
            self._log.error("consumer_crashed", exc_info=error)
            kind = type(error).__name__ if error is not None else "no reason that it named"
            error = Defect("consumer-failed", f"the consumer ended for {kind}; the log says where. Start it again")
        self._failed.set_exception(error)

    async def _leave(self, app: "_App") -> None:
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await app.stop()
        except TimeoutError:
            self._log.warning("group_left_late", group=self._group, timeout_s=LEAVE_WITHIN_S)

    def _build(self) -> "_App":
        _limit_repeats()
        options = self._connection.client_options()
        app = _App(
            self._group,
            worker=self,
            autodiscover=False,
            broker=[URL(f"kafka://{address}") for address in options["bootstrap_servers"]],
            broker_client_id=f"afterstay-{self._group}",
            broker_credentials=_credentials(options),
            broker_commit_interval=COMMIT_INTERVAL_S,
            broker_heartbeat_interval=HEARTBEAT_S,
            broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
            broker_request_timeout=REQUEST_TIMEOUT_S,
            broker_session_timeout=SESSION_TIMEOUT_S,
            consumer_auto_offset_reset="earliest",
            consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
            processing_guarantee="at_least_once",
            store="memory://",
            stream_buffer_maxsize=BUFFERED_RECORDS_MAX,
            table_standby_replicas=0,  # else faust's own assignor, which of 4 partitions gives 3 workers 2, 2 and 0
            stream_wait_empty=False,  # True never exits while the database is away
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
        )
        topic = app.topic(
            self._delivery.topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )
        agent = app.agent(topic, name="followup", concurrency=1, supervisor_strategy=CrashingSupervisor)
        agent(self._consume)
        return app


class _BootStrategy(BootStrategy):
    """Starts no producer and no web server."""

    enable_kafka_producer = False
    enable_web = False


class _App(faust.App):
    """faust's application, which tells the worker what happens to its partitions."""

    BootStrategy = _BootStrategy

    def __init__(self, group: str, *, worker: FaustWorker, **settings: Any) -> None:  # noqa: ANN401 - faust's settings
        self.worker = worker
        super().__init__(group, **settings)

    def _new_transport(self) -> driver.Transport:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Make none: nothing is kept beside the database."""

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super()._on_partitions_revoked(revoked)
        await self.worker.settle()

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.worker.assigned({tp.partition for tp in assigned})
        await super()._on_partitions_assigned(assigned, generation_id)


class _DaemonThread(WorkerThread):
    """A thread that a frozen broker cannot use to keep the process alive."""

    def __init__(self, service: Any, **options: Any) -> None:  # noqa: ANN401 - handed on as it came
        super().__init__(service, **options)
        self.daemon = True


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """faust's consumer thread; its own `on_crash` would write a traceback with data in it on standard error."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit what is still ours: faust would commit nothing at all, which aiokafka calls an error, and crash."""
        held = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        return await super()._commit(held) if held else False

    def on_crash(self, msg: str, *fmt: Any, **_: Any) -> None:  # noqa: ANN401, ARG002 - the parent's signature
        error = next((one for one in reversed(fmt) if isinstance(one, BaseException)), None)
        worker = cast("_App", self.app).worker
        self.parent_loop.call_soon_threadsafe(worker.thread_crashed, error)


class _Consumer(driver.Consumer):
    """faust's consumer, going on from the database's positions instead of the group's commit."""

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon, Worker=_DaemonThread)

    async def perform_seek(self) -> None:
        """Go to where the database is, and let the group's commit say the same."""
        await super().perform_seek()
        assigned = {tp.partition: tp for tp in self.assignment()}
        starts = await cast("_App", self.app).worker.resume(assigned.keys())
        moved = {
            tp: start
            for partition, start in starts.items()
            if (tp := assigned[partition]) and start != (self._committed_offset[tp] or 0)
        }
        if moved:
            await self.seek_wait(moved)
            await self._commit(moved)
            self._committed_offset.update(moved)


class _Transport(driver.Transport):
    """faust's transport, with the consumer above."""

    Consumer: ClassVar[Any] = _Consumer


def _credentials(options: dict[str, Any]) -> SASLCredentials | SSLCredentials | None:
    """Return faust's form of what every other Kafka client here is given."""
    context = options["ssl_context"]
    if mechanism := options.get("sasl_mechanism"):
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None


class _Stored(NamedTuple):
    """A record as the Kafka adapter wants it: faust keeps the timestamp in seconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def _record(event: EventT[bytes]) -> Record:
    message = event.message
    headers = cast("Sequence[tuple[str, bytes | None]]", message.headers or ())
    stored = _Stored(message.offset, round(message.timestamp * 1000), message.key, message.value, headers)
    return from_wire(message.topic, message.partition, stored)


def _limit_repeats() -> None:
    """Let faust, mode and aiokafka repeat themselves once in a while only: an outage makes 40 to 110 lines a second."""
    limit_repeats()
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        if name.partition(".")[0] in {"faust", "mode"} and not any(
            isinstance(one, RepeatLimit) for one in logger.filters
        ):
            logger.addFilter(RepeatLimit(SystemClock()))
