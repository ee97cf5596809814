"""The commands and their exit codes.

`start` prints the bootstrap address, and nothing else, on standard output once every broker takes clients, and returns
with them running in the background. `stop` leaves no process and all data. `status` exits 0 when all run and answer,
1 when not all do, 3 when none runs (as the Linux Standard Base has it for services). `install` only fetches what the
others need.
"""

import argparse
import dataclasses
import ssl
import sys
import time
from pathlib import Path

from localbroker.failure import Failure
from localbroker.layout import Cluster, new_cluster, read_cluster, read_users, write_cluster
from localbroker.processes import Broker, brokers_of
from localbroker.software import install, locked
from localbroker.wire import live_brokers

READY_WITHIN_S = 90.0
"""Measured: one in 2 s on a quiet machine, 11 s on a busy one, three in 8 s; builds share their machines."""
STOP_WITHIN_S = 15.0
STOP_WITHOUT_QUORUM_WITHIN_S = 3.0
"""The last of three has nobody to hand over to, and ignores SIGTERM; what it acknowledged is on the others too."""
POLL_S = 0.1
RUNNING, DEGRADED, STOPPED = 0, 1, 3


def main() -> int:
    """Do what the command line says and return the exit code."""
    options = _grammar().parse_args()
    try:
        if options.command == "install":
            print(install())
            return 0
        data: Path = options.data.resolve()
        if options.command == "status":
            return _status(data)
        data.mkdir(parents=True, exist_ok=True)
        with locked(data / ".lock"):
            return _start(data, options) if options.command == "start" else _stop(data, options.node)
    except Failure as failure:
        print(f"broker: {failure}", file=sys.stderr)
        return 1


def _grammar() -> argparse.ArgumentParser:
    grammar = argparse.ArgumentParser(prog="broker", description="a real Apache Kafka without Docker")
    verbs = grammar.add_subparsers(dest="command", required=True)
    verbs.add_parser("install", help="install Java and fetch the jars where they are missing; print their folder")
    start = verbs.add_parser("start", help="start what does not run, print the bootstrap address, return")
    start.add_argument("--port", type=int, help="first port (default 9092 the first time, then as before; 0: any)")
    start.add_argument("--brokers", type=int, choices=(1, 3), help="how many (default 1, then as before)")
    start.add_argument("--flush-each-write", action="store_true", default=None, help="sync before acknowledging")
    start.add_argument(
        "--sasl-tls",
        type=Path,
        metavar="SECRETS",
        help="demand TLS and SCRAM-SHA-512; a folder with server.pem (PKCS#8 key, certificate, CA), ca.pem and users",
    )
    stop = verbs.add_parser("stop", help="end all brokers; the data stays")
    stop.add_argument("--node", type=int, choices=(1, 2, 3), help="end only this one")
    status = verbs.add_parser("status", help="exit 0: all answer, 1: not all, 3: none runs")
    for verb in (start, stop, status):
        verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="where everything lies")
    return grammar


def _start(data: Path, options: argparse.Namespace) -> int:
    cluster = _cluster(data, options)
    jars = install()
    idle = [broker for broker in brokers_of(data, cluster) if broker.pid() is None]
    try:
        for broker in idle:
            broker.launch(cluster, jars)
        _await_ready(cluster, brokers_of(data, cluster))
    except BaseException:
        for broker in idle:  # nothing half started stays behind
            broker.end(patience_s=0)
        raise
    print(cluster.bootstrap, flush=True)
    return 0


def _cluster(data: Path, options: argparse.Namespace) -> Cluster:
    """Return what to start: as the folder has it, with what the options change."""
    cluster = read_cluster(data)
    if cluster is None:
        cluster = new_cluster(options.brokers or 1, 9092 if options.port is None else options.port)
    elif options.brokers not in (None, len(cluster.ports)):
        raise Failure(f"{data} holds {len(cluster.ports)} broker(s): give another --data for {options.brokers}")
    elif options.port and options.port != cluster.ports[0]:
        cluster = dataclasses.replace(cluster, ports=tuple(options.port + node - 1 for node in cluster.nodes))
    if options.flush_each_write:
        cluster = dataclasses.replace(cluster, flush_each_write=True)
    if options.sasl_tls:
        secrets = options.sasl_tls.resolve()
        _check_secrets(secrets)
        if not cluster.secrets and any(broker.home.exists() for broker in brokers_of(data, cluster)):
            raise Failure(f"{data} was formatted without users: give another --data for --sasl-tls")
        cluster = dataclasses.replace(cluster, secrets=str(secrets))
    write_cluster(data, cluster)
    return cluster


def _check_secrets(secrets: Path) -> None:
    missing = [name for name in ("server.pem", "ca.pem", "users") if not (secrets / name).is_file()]
    if missing:
        raise Failure(f"{secrets} lacks {', '.join(missing)}")
    read_users(secrets)


def _await_ready(cluster: Cluster, brokers: list[Broker]) -> None:
    """Wait until every broker tells clients of every broker."""
    deadline = time.monotonic() + READY_WITHIN_S
    for broker in brokers:
        while _told_of(cluster, broker.node) != set(cluster.nodes):
            if broker.pid() is None:
                raise Failure(f"broker {broker.node} ended while starting; end of {broker.log}:\n{broker.last_words()}")
            if time.monotonic() > deadline:
                raise Failure(f"broker {broker.node} took no clients within {READY_WITHIN_S:g} s: see {broker.log}")
            time.sleep(POLL_S)


def _told_of(cluster: Cluster, node: int) -> set[int]:
    """Return the brokers that clients of this one are told of; none while it does not answer."""
    try:
        return live_brokers(cluster, node)
    except ssl.SSLCertVerificationError as error:
        raise Failure(f"broker {node} has a certificate that ca.pem does not vouch for: {error}") from error
    except OSError:
        return set()


def _stop(data: Path, node: int | None) -> int:
    cluster = read_cluster(data)
    if cluster is None:
        return 0
    running = [broker for broker in brokers_of(data, cluster) if broker.pid() is not None]
    quorum = len(cluster.ports) // 2 + 1
    left = len(running)
    for broker in running:
        if node in (None, broker.node):
            broker.end(STOP_WITHIN_S if left >= quorum else STOP_WITHOUT_QUORUM_WITHIN_S)
            left -= 1
    return 0


def _status(data: Path) -> int:
    cluster = read_cluster(data)
    if cluster is None:
        print(f"no broker was started in {data}")
        return STOPPED
    answering = running = 0
    for broker in brokers_of(data, cluster):
        pid = broker.pid()
        answers = pid is not None and broker.node in _told_of(cluster, broker.node)
        running += pid is not None
        answering += answers
        state = "stopped" if pid is None else f"running, process {pid}, {'answers' if answers else 'does not answer'}"
        print(f"broker {broker.node} at 127.0.0.1:{cluster.ports[broker.node - 1]}: {state}")
    if not running:
        return STOPPED
    return RUNNING if answering == len(cluster.ports) else DEGRADED
