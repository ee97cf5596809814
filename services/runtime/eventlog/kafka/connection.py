"""How to reach a Kafka cluster: addresses, encryption, user; and what each client library wants to be told of it.

Passwords come from files (`services.runtime.settings`), never appear in a `repr` and never in a message of ours.
Source: `streaming.md` §8, "SASL/SCRAM + TLS".
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from services.runtime.errors import Permanent

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]

_ENCRYPTED: Final = ("SSL", "SASL_SSL")
_WITH_USER: Final = ("SASL_PLAINTEXT", "SASL_SSL")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConnection:
    """The way to a cluster; `bootstrap` is `host:port[,host:port]`, any of whose brokers names the others."""

    bootstrap: str
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """Whom to trust instead of the machine's own list."""
    cert_file: Path | None = None
    """Who we are, where the broker asks for a certificate; with `key_file`."""
    key_file: Path | None = None

    def problems(self) -> list[str]:
        """Return what is contradictory or missing, in words for the operator; empty if nothing is."""
        found = []
        if not [address for address in self.bootstrap.split(",") if address.strip()]:
            found.append("the address of Kafka is empty; it is host:port, several separated by commas")
        if self.security_protocol in _WITH_USER and None in (self.sasl_mechanism, self.username, self.password):
            found.append(f"{self.security_protocol} needs a SASL mechanism, a user name and a password")
        if self.security_protocol not in _WITH_USER and self.username is not None:
            found.append(f"{self.security_protocol} has no user; choose SASL_SSL, or leave the user name out")
        if self.security_protocol not in _ENCRYPTED and self.ca_file is not None:
            found.append(f"{self.security_protocol} is not encrypted; choose SSL or SASL_SSL, or leave the CA file out")
        if (self.cert_file is None) != (self.key_file is None):
            found.append("a client certificate and its key go together; one of them is missing")
        return found

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return what encryption needs, reading the files; None where the protocol has none.

        Raises:
            Permanent: `broker-settings-unusable`, if a file cannot be read or is not what it should be.
        """
        if self.security_protocol not in _ENCRYPTED:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file is not None)
            raise Permanent(
                "broker-settings-unusable",
                f"the certificate files for Kafka cannot be used ({files}): {error.strerror or error}",
            ) from error
        return context

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments that every aiokafka client takes; they hold the password: do not log them.

        Raises:
            Permanent: `broker-settings-unusable`.
        """
        if problems := self.problems():
            raise Permanent("broker-settings-unusable", "; ".join(problems))
        options: dict[str, Any] = {
            "bootstrap_servers": [address.strip() for address in self.bootstrap.split(",") if address.strip()],
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
        }
        if self.security_protocol in _WITH_USER:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options
