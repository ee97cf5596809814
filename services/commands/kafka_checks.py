"""Checks of Kafka: within reach, and as safe as acknowledged messages need it."""

import asyncio
from collections.abc import Iterator

from services.commands.data_source import DataSource
from services.commands.findings import Finding, failed, passed
from services.commands.topics import plans_of
from services.runtime.eventlog.kafka.topics import check_topics


def examine_kafka(source: DataSource, *, single_broker: bool) -> Iterator[Finding]:
    """Compare topics and brokers with what the safety of a message needs."""
    assert source.kafka is not None, "the verb names Kafka"
    plans = plans_of(single_broker=single_broker)
    findings = asyncio.run(check_topics(source.kafka, plans))
    for one in findings:
        yield failed("kafka", f"{one.topic}: {one.what} is {one.found}, and has to be {one.wanted}", one.fix)
    if not findings:
        yield passed("kafka", f"within reach, and {len(plans)} topics are as they have to be")
