"""`afterstay replay` on Kafka and PostgreSQL: the same words, the same end."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas.events import ACK_HEADER, RAW_HEADER, encode_event
from schemas.topics import partition_of
from services.commands import replay as verb
from services.followup.composition import build_apply
from services.followup.store.tables import event, stay
from services.ingest.mllp.inbound import Inbound
from services.ingest.reception import Reception, control_ids
from services.runtime.clock import FixedClock, to_timestamp_us
from services.runtime.database import open_database, read_transaction
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.port import NewRecord, Record
from tests.commands.conftest import Afterstay
from tests.commands.test_replay import ADMIT, DISCHARGE, HOSPICE
from tests.support.household import FEEDS
from tests.support.kafka import Brokers, fresh_topic

NOW = datetime(2026, 11, 20, 20, tzinfo=UTC)
PARTITIONS = 4


def test_a_range_of_kafka_is_read_anew_into_postgresql(
    afterstay: Afterstay, kafka: Brokers, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, records = asyncio.run(published(kafka.bootstrap, ADMIT, DISCHARGE))
    monkeypatch.setattr(verb, "ADT_EVENTS", topic)
    engine = open_database(postgres_url)
    build_apply(engine, FixedClock(NOW), closures=frozenset()).handle(topic, records)
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(HOSPICE)
    words = ("--feeds", feeds, "--kafka", kafka.bootstrap, "--database", postgres_url, "--json")

    rehearsed = afterstay("replay", "--from", "beginning", "--dry-run", *words)
    done = afterstay("replay", "--from", NOW.isoformat(), *words)
    again = afterstay("replay", "--from", "beginning", *words)

    assert [said.code for said in (rehearsed, done, again)] == [0, 0, 0], rehearsed.err
    assert [said.json["read"] for said in (rehearsed, done, again)] == [2, 2, 2]
    assert [said.json["changed"] for said in (rehearsed, done, again)] == [1, 1, 0]
    with read_transaction(engine) as reading:
        (view,) = reading.execute(sa.select(stay.c.view)).scalars()
        marks = reading.execute(sa.select(event.c.control_id).where(event.c.reading.is_not(None))).scalars().all()
    engine.dispose()
    assert '"disposition_code":"50"' in view
    assert marks == ["M2"]


async def published(bootstrap: str, *messages: bytes) -> tuple[str, list[Record]]:
    """Record messages in a fresh topic, as a listener does; return its name and the records as they are there."""
    topic = await fresh_topic(bootstrap, partitions=PARTITIONS)
    connection = KafkaConnection(bootstrap=bootstrap)
    reception = Reception(FEEDS, control_ids=control_ids(NOW))
    publisher = await KafkaPublisher.open(connection, client_id="test")
    try:
        await publisher.partitions(topic)
        for raw in messages:
            decision = reception.receive(Inbound(payload=raw, peer="", connection_id=1), NOW)
            await publisher.publish(
                NewRecord(
                    topic=topic,
                    partition=partition_of(decision.event, PARTITIONS),
                    key=decision.event.event_id.encode(),
                    value=encode_event(decision.event),
                    headers=((RAW_HEADER, raw), (ACK_HEADER, b"AA")),
                    timestamp_us=to_timestamp_us(NOW),
                )
            )
    finally:
        await publisher.close()
    subscriber = await KafkaSubscriber.open(connection, client_id="test")
    try:
        found = []
        for partition in await subscriber.partitions(topic):
            found += await subscriber.read(topic, partition, 0, max_records=10, bytes_max=2**20)
    finally:
        await subscriber.close()
    return topic, found
