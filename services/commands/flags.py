"""Flags that several verbs share: where the data lies, how Kafka and the database are reached, who acts."""

import getpass
from pathlib import Path
from typing import Final

from services.commands.argument_types import PAGE_MAX, address, database_url, existing_file, limit, port, positive, seed
from services.commands.parser import Parser

DATA_VARIABLE: Final = "AFTERSTAY_DATA"
MLLP_PORT: Final = 2575
"""IANA service name `hl7`."""
HTTP_PORT: Final = 8080
LOOPBACK: Final = "127.0.0.1"
OPS_PORTS: Final = {"ingest": 9101, "followup": 9102, "scheduler": 9103, "web": 9104}
SEED: Final = 1
PAGE_DEFAULT: Final = 100
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


def add_config(verb: Parser) -> None:
    """Add the file that settings may stand in."""
    verb.add_argument(
        "--config",
        metavar="FILE",
        default=None,
        help="TOML file of settings, named as the flags; flags and environment go before it",
    )


def add_data(verb: Parser, *, required: bool = False) -> None:
    """Add the data folder."""
    verb.add_setting(
        "--data", metavar="DIR", read=Path, required=required, help=f"the data folder (default: ${DATA_VARIABLE})"
    )


def add_kafka(verb: Parser, *, required: bool = False) -> None:
    """Add Kafka's address and how it is spoken to."""
    verb.add_setting(
        "--kafka", "--bootstrap-server", metavar="ADDR", required=required,
        help="Kafka's brokers: HOST:PORT, several separated by commas",
    )  # fmt: skip
    verb.add_setting(
        "--kafka-security-protocol", choices=SECURITY_PROTOCOLS, default="PLAINTEXT",
        help="Kafka's security.protocol (default: PLAINTEXT)",
    )  # fmt: skip
    verb.add_setting(
        "--kafka-sasl-mechanism", choices=SASL_MECHANISMS, default="SCRAM-SHA-512",
        help="Kafka's sasl.mechanism, where the protocol has SASL (default: SCRAM-SHA-512)",
    )  # fmt: skip
    verb.add_setting("--kafka-username", metavar="NAME", help="the SASL user")
    verb.add_setting(
        "--kafka-password-file", metavar="FILE", read=existing_file, help="file that holds the SASL password"
    )
    verb.add_setting("--kafka-ca", metavar="FILE", read=existing_file, help="PEM of the CA that signed the brokers'")
    verb.add_setting("--kafka-cert", metavar="FILE", read=existing_file, help="PEM of our certificate, if asked for")
    verb.add_setting("--kafka-key", metavar="FILE", read=existing_file, help="PEM of its key")


def add_database(verb: Parser, *, required: bool = False) -> None:
    """Add the database's address."""
    verb.add_setting(
        "--database", metavar="URL", read=database_url, required=required, help="postgresql://USER@HOST:PORT/NAME"
    )
    verb.add_setting(
        "--database-password-file", metavar="FILE", read=existing_file, help="file that holds the database's password"
    )


def add_place(verb: Parser, *, kafka: bool = False, database: bool = True) -> None:
    """Add where the data lies: the embedded folder, or Kafka and the database."""
    add_data(verb)
    if kafka:
        add_kafka(verb)
    if database:
        add_database(verb)
    add_config(verb)
    verb.need(("data",), (*(("kafka",) if kafka else ()), *(("database",) if database else ())))


def add_single_broker(verb: Parser) -> None:
    """Add that Kafka is one broker."""
    verb.add_setting(
        "--single-broker", read=None,
        help="there is only one: it has to sync each write, and its loss is the loss of what it holds",
    )  # fmt: skip


def add_spools(verb: Parser) -> None:
    """Add the ops addresses of listeners, whose spools hold what is not in Kafka yet."""
    verb.add_setting(
        "--ops", metavar="ADDR", read=address, several=True, default=(),
        help="HOST:PORT of listeners' ops ports: what their spools hold is pending",
    )  # fmt: skip


def add_ops(verb: Parser, process: str) -> None:
    """Add where a process answers those who run it, and what it logs."""
    verb.add_setting("--ops-host", metavar="HOST", default=LOOPBACK, help=f"address of it (default: {LOOPBACK})")
    verb.add_setting(
        "--ops-port", metavar="N", read=port, default=OPS_PORTS[process],
        help=f"port of /livez, /readyz and /metrics; 0 for any free one (default: {OPS_PORTS[process]})",
    )  # fmt: skip
    add_log_level(verb)
    add_config(verb)


def add_log_level(verb: Parser) -> None:
    """Add the least level to log."""
    verb.add_setting("--log-level", choices=LOG_LEVELS, default="info", help="least level to log (default: info)")


def add_feeds(verb: Parser, *, required: bool = False) -> None:
    """Add the feeds file."""
    verb.add_setting(
        "--feeds", metavar="FILE", read=Path, required=required,
        help="the feeds file: who sends, and what their codes mean",
    )  # fmt: skip


def add_closures(verb: Parser) -> None:
    """Add the practice's closed days."""
    verb.add_setting(
        "--closures", metavar="FILE", read=existing_file, help="the practice's own closed days, a date a line"
    )


def add_ports(verb: Parser, what: str) -> None:
    """Add the ports of `run`."""
    verb.add_setting(
        "--mllp-port", metavar="N", read=port, default=MLLP_PORT, help=f"MLLP port{what} (default: {MLLP_PORT})"
    )
    verb.add_setting(
        "--http-port", metavar="N", read=port, default=HTTP_PORT, help=f"HTTP port{what} (default: {HTTP_PORT})"
    )


def add_actor(verb: Parser) -> None:
    """Add who acts."""
    verb.add_argument("--as", dest="actor", metavar="NAME", default=_user(), help="who acts (default: the user)")


def add_json(verb: Parser) -> None:
    """Add machine-readable output."""
    verb.add_argument("--json", action="store_true", help="print JSON")


def add_limit(verb: Parser) -> None:
    """Add the size of a page."""
    verb.add_argument(
        "--limit", metavar="N", type=limit, default=PAGE_DEFAULT, help=f"1 to {PAGE_MAX} (default: {PAGE_DEFAULT})"
    )


def add_simulation(verb: Parser) -> None:
    """Add which simulation."""
    verb.add_argument("--seed", metavar="N", type=seed, default=SEED, help=f"which simulation (default: {SEED})")
    verb.add_argument(
        "--patients", metavar="N", type=positive, help="people who have a story (default: each story told)"
    )


def add_show_phi(verb: Parser, what: str) -> None:
    """Add showing who a patient is."""
    verb.add_argument("--show-phi", action="store_true", help=what)


def _user() -> str:
    """Return the name of the machine's user; accounts of our own come with a later release."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "operator"
