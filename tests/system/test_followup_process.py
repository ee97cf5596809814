"""How `followup` ends while its database is away or says nothing (faults F27, F42): in time, and nothing is lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import ADT_EVENTS
from services.followup.store.migrate import migrate
from services.runtime.database import open_database
from tests.support.kafka import Brokers
from tests.support.postgres import PostgresServer
from tests.system.production import Child, fresh_log
from tests.system.service import DRAIN_WITHIN_S, afterstay, until

pytestmark = pytest.mark.system

RECORDS = 200


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, which it may harm."""
    with PostgresServer() as made:
        yield made


@pytest.mark.parametrize("away", ["stopped", "frozen"])
def test_sigterm_ends_a_worker_in_time_while_its_database_is_away(
    tmp_path: Path, kafka: Brokers, server: PostgresServer, away: Literal["stopped", "frozen"]
) -> None:
    database = server.create("followup")
    engine = open_database(database)
    migrate(engine)
    engine.dispose()
    fresh_log(kafka.bootstrap)
    worker = Child(tmp_path, "followup", ["followup", "--kafka", kafka.bootstrap, "--database", database]).start()
    try:
        asyncio.run(_send(kafka.bootstrap))
        until(lambda: _balanced(kafka, database))
        server.stop("immediate") if away == "stopped" else server.freeze()
        asyncio.run(_send(kafka.bootstrap))
        if away == "stopped":
            until(lambda: "database-unavailable" in worker.get("/readyz").text)
        worker.terminate()
        code = worker.wait(DRAIN_WITHIN_S)
        server.start() if away == "stopped" else server.thaw()
        assert code == 0, worker.log()
        worker.start()
        until(lambda: _balanced(kafka, database))
    finally:
        worker.close()


def _balanced(kafka: Brokers, database: str) -> bool:
    said = afterstay("status", "--json", "--kafka", kafka.bootstrap, "--database", database)
    return said.code == 0 and said.json["pending"] == 0 and said.json["outcomes"]["dead_letter"] > 0


async def _send(bootstrap: str) -> None:
    """Append records that become dead letters: what they say does not matter here."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=False)
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(ADT_EVENTS, b"{", partition=n % 12) for n in range(RECORDS)])
    finally:
        await producer.stop()
