"""From MLLP to an AA after Kafka's, beside what a hospital would pick instead, in one run on one broker.

Four servers: `afterstay ingest`; an Apache Camel route that parses with HAPI and publishes the same event; a Camel
route that forwards raw bytes; python-hl7's server, which stores nothing. The others wait for acks=all with linger 0,
and one message is in flight on each connection. They stay up for the whole run, so that Java has compiled what it
runs, and take turns under the same load, alone with broker and load generator.

What was answered must be in the topic, message for message; and the Camel route must have made of a message what the
listener makes of it, but for the moment of receipt.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.events import RAW_HEADER, encode_event
from schemas.topics import ADT_EVENTS
from services.ingest.feeds_file import read_feeds
from services.ingest.mllp.inbound import Inbound
from services.ingest.reception import Reception
from tests.benchmarks import camel, processes
from tests.benchmarks.crowd import FEEDS
from tests.benchmarks.figures import Spread, ratio, spread, table
from tests.support.kafka import Brokers

ROUNDS: Final = 3
CONNECTIONS: Final = (8, 64)
SETTLE_S: Final = 0.5
WINDOW_S: Final = 3.0
WARM_UP_STEP_S: Final = 5.0
WARM_UP_MESSAGES: Final = {"java": 50_000, "python": 1_000}
"""Java compiles what has run often: what counts is how many messages it has seen, not how long it took."""
WARM_UP_STEPS_MAX: Final = 24
COMPARED: Final = 100
PARTITIONS: Final = 12

INGEST, HAPI, RAW, PEER = "afterstay ingest", "Camel + HAPI", "Camel, raw bytes", "python-hl7, stores nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one load saw; processor time is of all processes of the server, in seconds a message."""

    rate: float
    p50_s: float
    p99_s: float
    cpu_s: float
    load_share: float


def measure(folder: Path, template: Path) -> str:
    """Run all rounds and return the report."""
    camel.build()
    found: dict[tuple[str, int], list[Measured]] = {
        (name, n): [] for n in CONNECTIONS for name in (INGEST, HAPI, RAW, PEER)
    }
    seen: dict[str, int] = {}
    with ExitStack() as running:
        broker = running.enter_context(Brokers(folder / "broker"))
        processes.make_topics(broker.bootstrap)
        log = _Log(broker.bootstrap)
        servers = {
            INGEST: running.enter_context(processes.afterstay_ingest(folder / "ingest", template, broker.bootstrap)),
            HAPI: running.enter_context(camel.camel(folder / "hapi", "hapi", broker.bootstrap, PARTITIONS)),
            RAW: running.enter_context(camel.camel(folder / "raw", "raw", broker.bootstrap, PARTITIONS)),
            PEER: running.enter_context(processes.python_hl7(folder / "python-hl7")),
        }
        for name, server in servers.items():
            before = log.ends()
            seen[name] = _warm_up(server, name, log)
            if name in {INGEST, HAPI}:
                log.check_events(before)
        for _ in range(ROUNDS):
            for connections in CONNECTIONS:
                for name, server in servers.items():
                    said = _load(server, name, log, connections=connections, seconds=WINDOW_S)
                    found[name, connections].append(_read(said))
    return _report(found, seen)


def _warm_up(server: processes.Server, name: str, log: "_Log") -> int:
    """Load a server until it has seen enough, or the time for it is over; return how many messages it has seen."""
    wanted, seen = WARM_UP_MESSAGES["java" if name in {HAPI, RAW} else "python"], 0
    for _ in range(WARM_UP_STEPS_MAX):
        if seen >= wanted:
            break
        seen += _load(server, name, log, connections=CONNECTIONS[-1], seconds=WARM_UP_STEP_S)["sent"]
    return seen


class _Log:
    """The topic, as a consumer sees it."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def ends(self) -> dict[int, int]:
        """Return the end of each partition."""
        return asyncio.run(self._ends())

    async def _ends(self) -> dict[int, int]:
        async with AIOKafkaConsumer(bootstrap_servers=self._bootstrap) as consumer:
            ends = await consumer.end_offsets([TopicPartition(ADT_EVENTS, number) for number in range(PARTITIONS)])
        return {partition.partition: end for partition, end in ends.items()}

    def check_events(self, before: dict[int, int]) -> None:
        """Refuse a measurement unless the first events after these ends are what the listener makes of their bytes."""
        feeds = read_feeds(FEEDS.encode(), file=Path("feeds.yaml"), is_charset=lambda _: False)
        reception = Reception(feeds, control_ids=map(str, count()))
        records = asyncio.run(self._records(before))
        assert len(records) == COMPARED
        for record in records:
            raw = dict(record.headers)[RAW_HEADER]
            inbound = Inbound(payload=raw, peer="", connection_id=0)
            wanted = encode_event(reception.receive(inbound, datetime.now(UTC)).event)
            assert _comparable(record.value) == _comparable(wanted)

    async def _records(self, begin: dict[int, int]) -> list[Any]:
        async with AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False) as consumer:
            partition = TopicPartition(ADT_EVENTS, 0)
            consumer.assign([partition])
            consumer.seek(partition, begin[partition.partition])
            return [await consumer.getone() for _ in range(COMPARED)]


def _comparable(value: bytes) -> dict[str, Any]:
    event = msgspec.json.decode(value)
    return {name: part for name, part in event.items() if name not in {"received_at", "findings"}}


def _prefixes() -> Iterator[str]:
    yield from (f"K{number:03d}" for number in count())


_PREFIXES: Final = _prefixes()


def _load(server: processes.Server, name: str, log: _Log, *, connections: int, seconds: float) -> dict[str, Any]:
    """Load a server; refuse unless all was answered AA and, where it stores, is in the topic exactly once."""
    before = sum(log.ends().values())
    said = processes.run_load([
        "tests.benchmarks.closed_load", f"--port={server.port}", f"--connections={connections}",
        *(f"--pid={one.pid}" for one in server.processes.values()), f"--seconds={seconds}",
        f"--warm-up-s={SETTLE_S}", f"--prefix={next(_PREFIXES)}",
    ])  # fmt: skip
    assert said["broken"] is None, f"{name}: {said['broken']}"
    stored = sum(log.ends().values()) - before
    assert stored == (0 if name == PEER else said["sent"]), f"{name}: {said['sent']} answered, {stored} stored"
    return said


def _read(said: dict[str, Any]) -> Measured:
    answered = said["answered"]
    return Measured(
        rate=answered / said["window_s"],
        p50_s=said["p50_s"],
        p99_s=said["p99_s"],
        cpu_s=sum(said["cpu_s"]) / answered,
        load_share=said["load_cpu_s"] / said["window_s"],
    )


def _report(found: dict[tuple[str, int], list[Measured]], seen: dict[str, int]) -> str:
    rows = []
    for (name, connections), rounds in found.items():
        rate, cpu = _rate(rounds), _cpu(rounds)
        rows.append((
            f"{connections}: {name}",
            rate.text(),
            ratio(rate, _rate(found[HAPI, connections])),
            spread(one.p50_s for one in rounds).text(2, 1e3),
            spread(one.p99_s for one in rounds).text(1, 1e3),
            cpu.text(0, 1e6),
            ratio(cpu, _cpu(found[RAW, connections])),
            f"{spread(one.load_share for one in rounds).median:.0%}",
        ))  # fmt: skip
    header = (
        "connections: server", "messages/s", "to Camel + HAPI", "p50 ms", "p99 ms", "CPU µs/message", "to Camel raw",
        "load's CPU",
    )  # fmt: skip
    warm = " and ".join(f"{seen[name]:,}" for name in (HAPI, RAW))
    return f"""MLLP to an AA after Kafka's acks=all: one broker, 12 partitions, linger 0, one message in flight a
connection, 5,000 patients, 1.4 KB each; median (min-max) of {ROUNDS} rounds of {WINDOW_S:g} s, after the Camel routes
had seen {warm} messages. CPU is of all processes of the server, user and system, without the broker's. The last column
says how busy the load generator was.

{table(header, rows)}
"""


def _rate(rounds: list[Measured]) -> Spread:
    return spread(one.rate for one in rounds)


def _cpu(rounds: list[Measured]) -> Spread:
    return spread(one.cpu_s for one in rounds)
