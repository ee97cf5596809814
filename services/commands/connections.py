"""Kafka, the database and the ops port as the settings name them, with secrets from files."""

from datetime import date
from pathlib import Path
from typing import Final

from services.commands.arguments import Arguments
from services.runtime.errors import Permanent
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.process import OpsSettings

SECRET_BYTES_MAX: Final = 4_096


def kafka_of(arguments: Arguments) -> KafkaConnection:
    """Return how Kafka is reached.

    Raises:
        Permanent: `settings-invalid`, with everything that does not fit together.
    """
    assert arguments.kafka, "the verb needs Kafka"
    has_sasl = arguments.kafka_security_protocol.startswith("SASL")
    secret = arguments.kafka_password_file
    connection = KafkaConnection(
        bootstrap=arguments.kafka,
        security_protocol=arguments.kafka_security_protocol,
        sasl_mechanism=arguments.kafka_sasl_mechanism if has_sasl else None,
        username=arguments.kafka_username,
        password=read_secret(secret) if secret else None,
        ca_file=arguments.kafka_ca,
        cert_file=arguments.kafka_cert,
        key_file=arguments.kafka_key,
    )
    if problems := connection.problems():
        raise settings_invalid(problems)
    return connection


def database_of(arguments: Arguments) -> str:
    """Return the database's address, with the password that the file holds.

    Raises:
        Permanent: `settings-invalid`.
    """
    assert arguments.database, "the verb needs a database"
    if arguments.database_password_file is None:
        return arguments.database
    import sqlalchemy as sa  # noqa: PLC0415 - only where an address has to be changed

    password = read_secret(arguments.database_password_file)
    return sa.make_url(arguments.database).set(password=password).render_as_string(hide_password=False)


def ops_of(arguments: Arguments) -> OpsSettings:
    """Return where the process answers those who run it."""
    level = "debug" if arguments.debug else arguments.log_level
    return OpsSettings(host=arguments.ops_host, port=arguments.ops_port, log_level=level)


def closures_of(arguments: Arguments) -> frozenset[date]:
    """Return the practice's own closed days.

    Raises:
        ConfigurationError: `closures-file-invalid`.
    """
    from services.followup.protocols.closures import read_closures  # noqa: PLC0415 - only where a file is named

    return read_closures(arguments.closures) if arguments.closures else frozenset()


def read_secret(file: Path) -> str:
    """Return the secret that a file holds, without the line's end.

    Raises:
        Permanent: `settings-invalid`: it is empty, or no secret of a sane size.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(SECRET_BYTES_MAX + 1).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise settings_invalid([f"the secret in {file} cannot be read ({type(error).__name__})"]) from error
    if not text or len(text) > SECRET_BYTES_MAX or "\n" in text:
        raise settings_invalid([f"the file {file} must hold one line, the secret, and nothing else"])
    return text


def settings_invalid(problems: list[str]) -> Permanent:
    """Return the error of settings that do not fit together, a line each."""
    return Permanent("settings-invalid", "\n".join(problems))
