"""`afterstay topics create|check`: Kafka's topics as the contract wants them (`schemas.topics`).

`create` makes what is missing, leaves what is there, and then checks all of it; `check` changes nothing. Both list
everything that is wrong and end with 1 if anything is.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from schemas.topics import TOPICS, TopicSettings
from services.commands.arguments import Arguments
from services.commands.connections import kafka_of
from services.commands.exit_codes import OK, REFUSED
from services.commands.output import tell, write_json, write_text
from services.runtime.eventlog.kafka.topics import TopicFinding, TopicPlan, check_topics, create_topics


def create(arguments: Arguments) -> int:
    """Make the topics that are missing, and check all of them."""
    plans = plans_of(single_broker=arguments.single_broker)
    made, findings = asyncio.run(_create(arguments, plans))
    if arguments.json:
        existed = [plan.name for plan in plans if plan.name not in made]
        write_json({"created": made, "existed": existed, "findings": [asdict(finding) for finding in findings]})
    else:
        for plan in plans:
            write_text(f"{plan.name}: {'made' if plan.name in made else 'was there, and was left as it is'}")
        _write(findings)
    return REFUSED if findings else OK


def check(arguments: Arguments) -> int:
    """Compare the topics with what they have to be."""
    findings = asyncio.run(check_topics(kafka_of(arguments), plans_of(single_broker=arguments.single_broker)))
    if arguments.json:
        write_json({"findings": [asdict(finding) for finding in findings]})
    else:
        _write(findings)
    return REFUSED if findings else OK


async def _create(arguments: Arguments, plans: Sequence[TopicPlan]) -> tuple[list[str], list[TopicFinding]]:
    connection = kafka_of(arguments)
    made = await create_topics(connection, plans)
    return made, await check_topics(connection, plans)


def plans_of(*, single_broker: bool) -> list[TopicPlan]:
    """Return what each topic has to be."""
    return [_plan(settings, single_broker=single_broker) for settings in TOPICS]


def _plan(settings: TopicSettings, *, single_broker: bool) -> TopicPlan:
    return TopicPlan(
        name=settings.name,
        partitions=settings.partitions,
        replicas=settings.replicas_on(single_broker=single_broker),
        exact=settings.exact(single_broker=single_broker),
        at_least=settings.at_least(single_broker=single_broker),
    )


def _write(findings: Sequence[TopicFinding]) -> None:
    for finding in findings:
        write_text(f"{finding.topic}: {finding.what} is {finding.found}, and has to be {finding.wanted}")
        write_text(f"    {finding.fix}")
    tell("the topics are as they have to be" if not findings else f"{len(findings)} things are wrong")
