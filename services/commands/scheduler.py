"""`afterstay scheduler`: what is due, and beside it what watches from outside: the lag and the canary."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import sqlalchemy as sa

from schemas.topics import ADT_EVENTS
from services.canary import Canary, CanaryTarget
from services.commands.arguments import Arguments
from services.commands.connections import closures_of, database_of, kafka_of, ops_of, settings_invalid
from services.followup.processes import Beside, SchedulerSettings, serve_scheduler
from services.followup.store.canary import SqlCanaryBook
from services.followup.usecases.status import CONSUMER_GROUP
from services.ingest.mllp.client import client_context
from services.ingest.mllp.tls import TlsFilesError
from services.runtime.clock import SystemClock
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.process import Process, run_process

CLIENT_ID = "afterstay-scheduler"


def scheduler(arguments: Arguments) -> int:
    """Serve until told to stop.

    Raises:
        Permanent: `settings-invalid`, or a port is taken.
    """
    settings = SchedulerSettings(
        database=database_of(arguments),
        closures=closures_of(arguments),
        keep_unlinked=timedelta(days=arguments.keep_unlinked),
    )
    kafka = kafka_of(arguments) if arguments.kafka else None
    target = _target_of(arguments)
    return run_process("scheduler", ops_of(arguments), partial(_serve, settings, kafka, target))


async def _serve(
    settings: SchedulerSettings, kafka: KafkaConnection | None, target: CanaryTarget | None, process: Process
) -> bool:
    beside: list[Callable[[sa.Engine], Beside]] = []
    if kafka is not None:
        beside.append(lambda _engine: _lag_watch(kafka, process))
    if target is not None:
        beside.append(lambda engine: partial(_fly, target, engine, process))
    return await serve_scheduler(settings, process, beside=beside)


def _lag_watch(kafka: KafkaConnection, process: Process) -> Beside:
    from services.runtime.eventlog.kafka.lag_watch import LagWatch  # noqa: PLC0415 - only where there is a Kafka
    from services.runtime.eventlog.lag_metrics import provide_lag_metrics  # noqa: PLC0415

    watch = LagWatch(kafka, client_id=CLIENT_ID, group=CONSUMER_GROUP, topic=ADT_EVENTS, clock=SystemClock())
    provide_lag_metrics(process.metrics, watch.rows)
    return watch.run


async def _fly(target: CanaryTarget, engine: sa.Engine, process: Process, stop: asyncio.Event) -> None:
    with ThreadPoolExecutor(1, "canary") as executor:
        canary = Canary(
            SqlCanaryBook(engine), target.send, clock=SystemClock(), executor=executor, metrics=process.metrics
        )
        await canary.run(stop)


def _target_of(arguments: Arguments) -> CanaryTarget | None:
    """Return whom canaries are sent to; TLS where a file for it is named.

    Raises:
        Permanent: `settings-invalid`.
    """
    if arguments.canary_to is None:
        return None
    tls = None
    if arguments.canary_ca is not None or arguments.canary_cert is not None:
        try:
            tls = client_context(arguments.canary_ca, certificate=arguments.canary_cert, key=arguments.canary_key)
        except TlsFilesError as error:
            raise settings_invalid([f"the canary's TLS files: {error}"]) from error
    host, port = arguments.canary_to
    return CanaryTarget(host=host, port=port, tls=tls)
