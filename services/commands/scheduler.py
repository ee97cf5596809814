"""`afterstay scheduler`: what is due, and beside it what watches from outside: the lag."""

from functools import partial

from schemas.topics import ADT_EVENTS
from services.commands.arguments import Arguments
from services.commands.connections import closures_of, database_of, kafka_of, ops_of
from services.followup.processes import Beside, SchedulerSettings, serve_scheduler
from services.followup.usecases.status import CONSUMER_GROUP
from services.runtime.clock import SystemClock
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.process import Process, run_process

CLIENT_ID = "afterstay-scheduler"


def scheduler(arguments: Arguments) -> int:
    """Serve until told to stop."""
    settings = SchedulerSettings(database=database_of(arguments), closures=closures_of(arguments))
    kafka = kafka_of(arguments) if arguments.kafka else None
    return run_process("scheduler", ops_of(arguments), partial(_serve, settings, kafka))


async def _serve(settings: SchedulerSettings, kafka: KafkaConnection | None, process: Process) -> bool:
    beside = [lambda _engine: _lag_watch(kafka, process)] if kafka is not None else []
    return await serve_scheduler(settings, process, beside=beside)


def _lag_watch(kafka: KafkaConnection, process: Process) -> Beside:
    from services.runtime.eventlog.kafka.lag_watch import LagWatch  # noqa: PLC0415 - only where there is a Kafka
    from services.runtime.eventlog.lag_metrics import provide_lag_metrics  # noqa: PLC0415

    watch = LagWatch(kafka, client_id=CLIENT_ID, group=CONSUMER_GROUP, topic=ADT_EVENTS, clock=SystemClock())
    provide_lag_metrics(process.metrics, watch.rows)
    return watch.run
