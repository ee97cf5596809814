"""What a data folder holds: one JSON file of what must not change between starts, and a folder for each broker.

    DIR/cluster.json      ports and options, written at the first start
    DIR/1/                server.properties (written anew at each start), broker.pid, broker.log, log/ (the data)

Promise: the data and the addresses stay from one start to the next.
"""

import dataclasses
import json
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from localbroker.failure import Failure

HOST = "127.0.0.1"
FREE_PORTS = range(20_000, 32_000)
"""Below the ports that systems give outgoing connections (32768 and up), which could take one between two starts."""
_FILE = "cluster.json"


@dataclass(frozen=True)
class Cluster:
    """What one data folder is; ports stand in the order of the brokers."""

    ports: tuple[int, ...]
    controller_ports: tuple[int, ...]
    flush_each_write: bool = False
    """Sync before acknowledging: what a single broker needs, or a power cut takes acknowledged records."""
    secrets: str | None = None
    """Folder with server.pem, ca.pem and users, where clients must use TLS and SASL/SCRAM."""

    @property
    def bootstrap(self) -> str:
        """The address that clients are given."""
        return ",".join(f"{HOST}:{port}" for port in self.ports)

    @property
    def nodes(self) -> range:
        """The numbers of the brokers."""
        return range(1, len(self.ports) + 1)


@dataclass(frozen=True)
class User:
    """A name and password that the broker knows; the first is its own."""

    name: str
    password: str = dataclasses.field(repr=False)


def read_cluster(data: Path) -> Cluster | None:
    """Return what the folder is, or nothing if no broker was started in it."""
    try:
        said = json.loads((data / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    said["ports"], said["controller_ports"] = tuple(said["ports"]), tuple(said["controller_ports"])
    return Cluster(**said)


def write_cluster(data: Path, cluster: Cluster) -> None:
    """Keep it for the next start; the file is whole or not there."""
    fresh = data / f"{_FILE}.new"
    fresh.write_text(json.dumps(dataclasses.asdict(cluster), indent=2) + "\n", encoding="utf-8")
    fresh.replace(data / _FILE)


def new_cluster(brokers: int, port: int) -> Cluster:
    """Choose ports: consecutive ones from a port, or free ones for port 0."""
    taken: set[int] = set()
    ports = tuple(_free_port(taken) if port == 0 else port + place for place in range(brokers))
    taken.update(ports)
    return Cluster(ports=ports, controller_ports=tuple(_free_port(taken) for _ in range(brokers)))


def check_free(cluster: Cluster, node: int) -> None:
    """Refuse to start where something else listens: the broker's own complaint is a page of Java."""
    for port in (cluster.ports[node - 1], cluster.controller_ports[node - 1]):
        if not _is_free(port):
            raise Failure(f"port {port} of broker {node} is taken: stop what listens there, or give another --port")


def read_users(secrets: Path) -> list[User]:
    """Return who may connect: lines `name:password` of the file `users`, the broker's own first."""
    lines = (secrets / "users").read_text(encoding="utf-8").split()
    users = [User(*line.split(":", 1)) for line in lines]
    if not users:
        raise Failure(f"{secrets / 'users'} names nobody: write lines of name:password, the broker's own first")
    return users


def _free_port(taken: set[int]) -> int:
    for port in random.sample(FREE_PORTS, k=len(FREE_PORTS)):
        if port not in taken and _is_free(port):
            taken.add(port)
            return port
    raise Failure(f"no port of {FREE_PORTS.start} to {FREE_PORTS.stop - 1} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the broker does: not stopped by TIME_WAIT
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
