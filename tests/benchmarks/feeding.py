"""What it costs to bring a record from Kafka to the handler: the faust worker beside the plain loop, same broker.

The handler does nothing here, so the figures are the feeders' own: reading, decoding, batching, acknowledging, and our
part, which both share. CPU time of the whole process, all threads of it; wall time depends on what else runs.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from aiokafka import AIOKafkaProducer

from services.followup.consumer.delivery import Delivery
from services.followup.consumer.faust_app import FaustWorker
from services.followup.consumer.log_loop import LogLoop
from services.followup.consumer.observation import Progress
from services.followup.usecases.apply_events import Applied, ApplyEvents
from services.runtime.clock import SystemClock
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.port import Record
from services.runtime.log import get_logger
from services.runtime.work_thread import WorkThread
from tests.benchmarks.figures import ratio, spread, table
from tests.support.kafka import Brokers, fresh_topic

RECORDS: Final = {"faust": 20_000, "plain": 200_000}
RECORD_BYTES: Final = 600
PARTITIONS: Final = 4
ROUNDS: Final = 3
FED_WITHIN_S: Final = 120.0
RATIO_MIN: Final = 20.0
"""What the plain loop is for: a replay of ten million records must not take hours in the feeder alone."""


class NothingToApply:
    """Stands where `ApplyEvents` is; counts."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self._positions: dict[int, int] = {}
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def positions(self, _topic: str) -> dict[int, int]:
        """Return how far it is."""
        return dict(self._positions)

    def begin_at(self, _topic: str, starts: Mapping[int, int]) -> None:
        """Take note."""
        self._positions |= starts

    def deliver(self, _topic: str, records: Sequence[Record], *, joined: Mapping[int, int]) -> Applied:
        """Do nothing with records."""
        for record in records:
            self._positions[record.partition] = record.offset + 1
        self._left -= len(records)
        if self._left <= 0:
            self._loop.call_soon_threadsafe(self.done.set)
        return Applied(fresh=len(records), outcomes={("effect", ""): len(records)})


def measure(folder: Path, _template: Path) -> str:
    """Feed everything and return the report."""
    with Brokers(folder / "kafka") as brokers:
        found = asyncio.run(_measure(brokers.bootstrap))
    cost = {kind: spread(cpu_s for cpu_s, _ in rounds) for kind, rounds in found.items()}
    pace = {kind: spread(1 / wall_s for _, wall_s in rounds) for kind, rounds in found.items()}
    names = {"faust": "faust worker (noack_take)", "plain": "plain loop (KafkaSubscriber)"}
    rows = [(names[kind], cost[kind].text(1, 1e6), pace[kind].text()) for kind in RECORDS]
    assert cost["faust"].median / cost["plain"].median >= RATIO_MIN, "the plain loop costs too much"
    times = ratio(cost["faust"], cost["plain"])
    return f"""Bringing records of {RECORD_BYTES} bytes from {PARTITIONS} partitions of Kafka to a handler that does
nothing, in batches of up to 500; median (min-max) of {ROUNDS} rounds. faust costs {times} as much.

{table(("feeder", "CPU µs/record", "records/s"), rows)}
"""


async def _measure(bootstrap: str) -> dict[str, list[tuple[float, float]]]:
    """Return processor and wall time a record, by feeder and round."""
    connection = KafkaConnection(bootstrap=bootstrap)
    topics = {kind: await fresh_topic(bootstrap, partitions=PARTITIONS) for kind in RECORDS}
    for kind, count in RECORDS.items():
        await _send(bootstrap, topics[kind], count)
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in RECORDS}
    for _ in range(ROUNDS):
        for kind, count in RECORDS.items():
            cpu_s, wall_s = await _feed(kind, connection, topics[kind], count)
            found[kind].append((cpu_s / count, wall_s / count))
    return found


async def _feed(kind: str, connection: KafkaConnection, topic: str, count: int) -> tuple[float, float]:
    """Feed everything that is in the topic to nobody; return processor and wall time."""
    stop, progress, log = asyncio.Event(), Progress(SystemClock()), get_logger("bench")
    apply = NothingToApply(count)
    subscriber = await KafkaSubscriber.open(connection, client_id="bench")
    groups = await KafkaGroupPositions.open(connection, client_id="bench")
    work = WorkThread("bench")
    delivery = Delivery(
        topic=topic,
        apply=cast("ApplyEvents", apply),
        subscriber=subscriber,
        executor=work,
        observer=progress,
        log=log,
        stop=stop,
    )
    group = f"bench.{secrets.token_hex(4)}"
    loop = LogLoop(group=group, delivery=delivery, subscriber=subscriber, groups=groups, observer=progress, log=log)
    worker = FaustWorker(connection, group=group, delivery=delivery, observer=progress, log=log)
    cpu_s, wall_s = time.process_time(), time.monotonic()
    running = asyncio.create_task(worker.run(stop) if kind == "faust" else loop.run(stop))
    await asyncio.wait_for(apply.done.wait(), FED_WITHIN_S)
    taken = time.process_time() - cpu_s, time.monotonic() - wall_s
    stop.set()
    await running
    work.shutdown()
    await subscriber.close()
    await groups.close()
    return taken


async def _send(bootstrap: str, topic: str, count: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=False, linger_ms=5)
    await producer.start()
    value = bytes(RECORD_BYTES)
    try:
        sent = [
            await producer.send(topic, value, key=b"key", partition=n % PARTITIONS, headers=[("ack", b"AA")])
            for n in range(count)
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
