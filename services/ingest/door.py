"""What a listener's door is told: where it listens, whom it lets in and how much of each.

Promises: beyond this machine there is TLS with certificates on both sides, or somebody has said otherwise by name.
Settings are refused as a whole, with everything that is wrong in them.

Source: faults.md §3, row 1 (MLLP attack surface); F32, F33, F40; ADR 0015.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from services.ingest.certificate_watch import load
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.peers import Network
from services.ingest.mllp.tls import TlsFiles, TlsFilesError
from services.runtime.errors import Permanent

PEER_MESSAGES_PER_S: Final = 1_000.0
"""Of one address beyond this machine unless told otherwise: ten times what the busiest hospital sends in a rush (F43),
and a fraction of what one listener stores, so that one sender cannot keep the others waiting."""


_FLAGS: Final = {
    "connections_max": "--connections-max",
    "connections_per_peer_max": "--connections-per-peer",
    "messages_per_peer_s": "--messages-per-peer",
    "frame_bytes_max": "--frame-bytes-max",
    "frame_timeout_s": "--frame-timeout",
    "idle_timeout_s": "--idle-timeout",
}
"""The limits that may be set from outside; the others are the tests' to change."""
_IN_THE_CLEAR: Final = (
    "--mllp-host {host} can be reached from other machines, and patients' data must not cross a network in the clear: "
    "give --tls-cert, --tls-key and --tls-client-ca, or listen on 127.0.0.1; --plaintext-beyond-loopback if something "
    "else encrypts the way"
)
_ANY_CLIENT: Final = (
    "anybody could send: give --tls-client-ca, the authority of the senders' certificates; --tls-any-client if "
    "something else tells senders apart"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """What a listener's door is told.

    Attributes:
        host: An address of this machine, IPv4 or IPv6, or a name of it.
        port: 0 for any free one.
        tls_cert: Our certificate with its chain; with it the listener speaks TLS and nothing else.
        tls_key: Its private key.
        tls_client_ca: The authorities whose certificates senders must show, and their revocation lists.
        tls_any_client: Senders beyond this machine need no certificate.
        plaintext_beyond_loopback: Senders beyond this machine need no TLS.
        allow_from: Addresses and networks that may connect; empty for all.
        messages_per_peer_s: Of one address; ``None`` for `PEER_MESSAGES_PER_S` beyond this machine and no limit on it,
            0 for no limit.
        limits: All others.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tls_any_client: bool = False
    plaintext_beyond_loopback: bool = False
    allow_from: tuple[str, ...] = ()
    messages_per_peer_s: float | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)

    @property
    def tls_files(self) -> TlsFiles | None:
        """Return the files of TLS, if it is spoken."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return TlsFiles(certificate=self.tls_cert, key=self.tls_key, client_ca=self.tls_client_ca)

    def problems(self) -> list[str]:
        """Return everything that is wrong, each with what to do; reads the files and asks for the host's addresses."""
        return [*self._exposure_problems(), *self._tls_problems(), *self._address_problems(), *self._limit_problems()]

    def check(self) -> None:
        """Refuse settings that are wrong.

        Raises:
            Permanent: `listener-settings-invalid`, with everything that is.
        """
        if problems := self.problems():
            raise Permanent("listener-settings-invalid", "\n".join(problems))

    def is_loopback(self) -> bool:
        """Tell whether only this machine can connect. A host that is not known is none."""
        return _is_loopback(self.host)

    def server_limits(self) -> ServerLimits:
        """Return the limits with the rate that applies here."""
        rate = self.messages_per_peer_s
        if rate is None:
            rate = 0.0 if self.is_loopback() else PEER_MESSAGES_PER_S
        return replace(self.limits, messages_per_peer_s=rate or None)

    def networks(self) -> tuple[Network, ...]:
        """Return whom `allow_from` lets in."""
        return tuple(ip_network(one) for one in self.allow_from)

    def _exposure_problems(self) -> list[str]:
        if self.plaintext_beyond_loopback and self.tls_cert is not None:
            return ["--plaintext-beyond-loopback and --tls-cert exclude each other: a port speaks TLS or it does not"]
        if self.is_loopback() or self.plaintext_beyond_loopback:
            return []
        if self.tls_cert is None and self.tls_key is None:
            return [_IN_THE_CLEAR.format(host=self.host)]
        if self.tls_client_ca is None and not self.tls_any_client:
            return [_ANY_CLIENT]
        return []

    def _tls_problems(self) -> list[str]:
        problems = []
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("--tls-cert", "--tls-key") if self.tls_key is None else ("--tls-key", "--tls-cert")
            problems.append(f"{given} is given without {missing}: TLS needs both")
        if self.tls_client_ca is not None and self.tls_cert is None and self.tls_key is None:
            problems.append("--tls-client-ca is given without --tls-cert and --tls-key: there is no TLS to ask in")
        if self.tls_client_ca is not None and self.tls_any_client:
            problems.append("--tls-client-ca and --tls-any-client exclude each other: a certificate is demanded or not")
        if self.tls_files is not None:
            try:
                load(self.tls_files)
            except TlsFilesError as error:
                problems.append(str(error))
        return problems

    def _address_problems(self) -> list[str]:
        problems = []
        if not _addresses(self.host):
            problems.append(f"--mllp-host {self.host!r} is no address and no name that this machine can resolve")
        for one in self.allow_from:
            try:
                ip_network(one)
            except ValueError as error:
                problems.append(f"--allow-from {one!r} is no address and no network such as 192.0.2.0/24 ({error})")
        return problems

    def _limit_problems(self) -> list[str]:
        limits = self.limits
        values = {one.name: getattr(limits, one.name) for one in fields(limits)}
        values["messages_per_peer_s"] = self.messages_per_peer_s or 1.0
        problems = [
            f"{_FLAGS.get(name, name)} {value:g} has to be more than 0" for name, value in values.items() if value <= 0
        ]
        if limits.connections_per_peer_max > limits.connections_max:
            problems.append(
                f"--connections-per-peer {limits.connections_per_peer_max} is more than --connections-max "
                f"{limits.connections_max}: one address could take every place"
            )
        if limits.frame_bytes_max > limits.in_flight_bytes_max:
            problems.append(
                f"--frame-bytes-max {limits.frame_bytes_max} must not be over {limits.in_flight_bytes_max}, "
                "which is what one connection may hold"
            )
        return problems


def _addresses(host: str) -> Sequence[str]:
    """Return the addresses of a host; none where it is not known."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):  # a name that cannot be one makes the latter
        return ()
    return [str(address[0]) for *_, address in found]


def _is_loopback(host: str) -> bool:
    addresses = _addresses(host)
    return bool(addresses) and all(ip_address(one.partition("%")[0]).is_loopback for one in addresses)
