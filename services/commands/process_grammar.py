"""The grammar of the processes, and of what prepares their Kafka and their database."""

from pathlib import Path
from typing import Final

from services.commands.argument_types import address, days, existing_file, megabytes, port
from services.commands.door_flags import add_door
from services.commands.flags import (
    HTTP_PORT,
    add_closures,
    add_config,
    add_data,
    add_database,
    add_feeds,
    add_json,
    add_kafka,
    add_log_level,
    add_ops,
    add_ports,
    add_single_broker,
)
from services.commands.parser import Parser, Verbs, add_family, add_verb

SPOOL_MB_MAX: Final = 4_096
"""About a million messages: an hour of Kafka's absence at 280 a second [D]."""
KEEP_UNLINKED_DAYS: Final = 30  # as usecases.purge, KEPT
_READY: Final = (
    "When it serves it prints one line of JSON on standard output, with its addresses, and nothing after it; "
    "logs go to standard error. SIGTERM finishes what is under way and ends it."
)


def declare_run(verbs: "Verbs[Parser]") -> None:
    """Declare `afterstay run`."""
    verb = add_verb(
        verbs, "run", "run:run", "serve: MLLP listener, consumer, timers and web, on this machine only", _READY
    )
    add_data(verb, required=True)
    add_feeds(verb)
    add_ports(verb, "; 0 for any free one")
    add_log_level(verb)
    add_config(verb)


def declare_ingest(verbs: "Verbs[Parser]") -> None:
    """Declare `afterstay ingest`."""
    verb = add_verb(
        verbs, "ingest", "ingest:ingest", "serve: MLLP listener into Kafka, with a spool for when Kafka is away", _READY
    )
    add_kafka(verb, required=True)
    verb.add_setting(
        "--spool", metavar="DIR", read=Path, required=True,
        help="folder for what is acknowledged while Kafka is away; on a local disk, this listener's own",
    )  # fmt: skip
    verb.add_setting(
        "--spool-max", metavar="MB", read=megabytes, default=SPOOL_MB_MAX,
        help=f"how much it may hold before answers are held back (default: {SPOOL_MB_MAX})",
    )  # fmt: skip
    add_feeds(verb)
    add_door(verb)
    add_ops(verb, "ingest")


def declare_followup(verbs: "Verbs[Parser]") -> None:
    """Declare `afterstay followup`."""
    verb = add_verb(
        verbs, "followup", "followup:followup", "serve: consume events from Kafka and keep stays and tasks", _READY
    )
    add_kafka(verb, required=True)
    add_database(verb, required=True)
    add_closures(verb)
    add_ops(verb, "followup")


def declare_scheduler(verbs: "Verbs[Parser]") -> None:
    """Declare `afterstay scheduler`."""
    verb = add_verb(
        verbs, "scheduler", "scheduler:scheduler", "serve: wake what is due; any number of them may run", _READY
    )
    add_database(verb, required=True)
    add_kafka(verb)
    verb.add_setting(
        "--canary-to", metavar="HOST:PORT", read=address,
        help="listener to send a canary to every minute; it is waited for in the database",
    )  # fmt: skip
    verb.add_setting(
        "--canary-ca", metavar="FILE", read=existing_file,
        help="PEM of the CA that signed the listener's certificate; with it the canary flies over TLS",
    )  # fmt: skip
    verb.add_setting("--canary-cert", metavar="FILE", read=existing_file, help="PEM of the canary's own certificate")
    verb.add_setting("--canary-key", metavar="FILE", read=existing_file, help="PEM of its key")
    verb.add_setting(
        "--keep-unlinked", metavar="DAYS", read=days, default=KEEP_UNLINKED_DAYS,
        help=f"how long stays of people who are not on the panel are kept (default: {KEEP_UNLINKED_DAYS})",
    )  # fmt: skip
    add_closures(verb)
    add_ops(verb, "scheduler")


def declare_web(verbs: "Verbs[Parser]") -> None:
    """Declare `afterstay web`."""
    verb = add_verb(
        verbs, "web", "web:web", "serve: the worklist, on this machine only as long as there are no accounts", _READY
    )
    add_database(verb, required=True)
    verb.add_setting(
        "--http-port", metavar="N", read=port, default=HTTP_PORT,
        help=f"HTTP port; 0 for any free one (default: {HTTP_PORT})",
    )  # fmt: skip
    add_ops(verb, "web")


def declare_migrate(verbs: "Verbs[Parser]") -> None:
    """Declare `afterstay migrate`."""
    verb = add_verb(
        verbs, "migrate", "migrate:run_migrations", "bring a database to the schema of this release; harmless to repeat"
    )
    add_database(verb, required=True)
    add_config(verb)
    add_json(verb)


def declare_topics(verbs: "Verbs[Parser]") -> None:
    """Declare `afterstay topics create|check`."""
    family = add_family(verbs, "topics", "Kafka's topics")
    created = add_verb(family, "create", "topics:create", "make the topics that are not there; changes none that is")
    checked = add_verb(family, "check", "topics:check", "compare topics and brokers with what a message's safety needs")
    for verb in (created, checked):
        add_kafka(verb, required=True)
        add_single_broker(verb)
        add_config(verb)
        add_json(verb)
