"""Real Kafka brokers for tests, run by `deploy/kafka/broker`, and the faults that can happen to them.

The broker of the session takes everything from everybody: a test works on topics and groups of its own (`fresh_topic`,
`fresh_name`) and never harms it. A test that kills, freezes or fills a broker starts `Brokers` of its own.
"""

import contextlib
import functools
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import psutil
import pytest
import trustme
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

BROKER: Final = Path(__file__).parents[2] / "deploy" / "kafka" / "broker"
START_WITHIN_S: Final = 600.0  # on a machine that has neither Java nor the jars yet
STOP_WITHIN_S: Final = 60.0
GONE_WITHIN_S: Final = 10.0
HOST: Final = "127.0.0.1"
USERNAME, PASSWORD = "afterstay", "not-a-secret-of-anybody"


class Brokers:
    """One or three brokers on a folder of their own; a context manager that starts them and leaves no process.

    Brokers are numbered from 1. Ports and data stay from one start to the next.

    Attributes:
        bootstrap: Where clients connect; known from the first start on.
    """

    def __init__(
        self, data: Path, *, brokers: Literal[1, 3] = 1, flush_each_write: bool = False, sasl_tls: Path | None = None
    ) -> None:
        self.data = data
        self.bootstrap = ""
        self._options = [f"--brokers={brokers}"]
        self._options += ["--flush-each-write"] if flush_each_write else []
        self._options += [f"--sasl-tls={sasl_tls}"] if sasl_tls else []

    def start(self) -> Self:
        """Start what does not run, and wait until all take clients."""
        port = [] if self.bootstrap else ["--port=0"]
        self.bootstrap = _broker("start", self.data, *self._options, *port, within_s=START_WITHIN_S).strip()
        return self

    def stop(self, number: int | None = None) -> None:
        """End all of them in order, or one."""
        one = [f"--node={number}"] if number else []
        _broker("stop", self.data, *one, within_s=STOP_WITHIN_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What can happen to one

    def kill(self, number: int = 1) -> None:
        """End it as a power cut does, and return when it is gone."""
        process = psutil.Process(self.pid(number))
        process.kill()
        deadline = time.monotonic() + GONE_WITHIN_S
        while _runs(process):
            assert time.monotonic() < deadline, f"broker {number} outlived SIGKILL"
            time.sleep(0.01)

    def freeze(self, number: int = 1) -> None:
        """Stop it where it stands: connections stay open and nothing is answered."""
        os.kill(self.pid(number), signal.SIGSTOP)

    def thaw(self, number: int = 1) -> None:
        """Let a frozen one go on."""
        os.kill(self.pid(number), signal.SIGCONT)

    def restart(self, number: int = 1) -> None:
        """Bring one back that was killed or stopped, or stop and start one that runs."""
        self.stop(number)
        self.start()

    def pid(self, number: int = 1) -> int:
        """Return the process of a broker that runs."""
        return int((self.data / str(number) / "broker.pid").read_text(encoding="ascii"))

    def processes(self) -> list[psutil.Process]:
        """Return the processes that work on this folder, by their command lines."""
        return [one for one in psutil.process_iter() if _runs(one) and f"{self.data}/" in _command_line(one)]


class SecureBrokers(Brokers):
    """One broker that demands TLS and SCRAM-SHA-512, with a certificate authority of its own."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self.ca_file = self.secrets / "ca.pem"
        self.username, self.password = USERNAME, PASSWORD
        _write_secrets(self.secrets)
        super().__init__(folder / "data", sasl_tls=self.secrets)


# What tests take


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """One plain broker for the whole session; do it no harm."""
    with Brokers(tmp_path_factory.mktemp("kafka")) as brokers:
        yield brokers


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBrokers]:
    """One broker that demands TLS and a login; do it no harm."""
    with SecureBrokers(tmp_path_factory.mktemp("secure-kafka")) as brokers:
        yield brokers


def fresh_name(begin: str) -> str:
    """Return a name for a topic or group that no other test has."""
    return f"{begin}.{secrets.token_hex(6)}"


async def fresh_topic(
    bootstrap: str, *, partitions: int = 4, replicas: int = 1, settings: Mapping[str, str] | None = None, **client: Any
) -> str:
    """Make a topic that no other test has and return its name once every partition has a leader.

    Args:
        bootstrap: Where the broker is.
        partitions: How many.
        replicas: How many brokers keep it.
        settings: Of the topic, in Kafka's words.
        client: Further arguments for the client, such as its login.
    """
    name = fresh_name("topic")
    async with kafka_admin(bootstrap, **client) as admin:
        made = await admin.create_topics([NewTopic(name, partitions, replicas, topic_configs=dict(settings or {}))])
        failed = [error for error in made.topic_errors if error[1]]  # it never raises
        assert not failed, failed
        deadline = time.monotonic() + GONE_WITHIN_S
        while not _is_led((await admin.describe_topics([name]))[0], partitions):
            assert time.monotonic() < deadline, f"{name} has no leaders"
    return name


@contextlib.asynccontextmanager
async def kafka_admin(bootstrap: str, **client: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give an admin client, closed afterwards."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **client)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def _is_led(topic: Mapping[str, Any], partitions: int) -> bool:
    led = [one for one in topic["partitions"] if not one["error_code"] and one["leader"] >= 0]
    return not topic["error_code"] and len(led) == partitions


def _broker(verb: str, data: Path, *options: str, within_s: float) -> str:
    """Run the broker script, as a person does, with the system's Python, and return its standard output."""
    done = subprocess.run(
        [_system_python(), str(BROKER), verb, f"--data={data}", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=within_s,
        check=False,
        text=True,
    )
    if done.returncode:
        pytest.fail(f"broker {verb} ended with {done.returncode}: {done.stderr}")
    return done.stdout


@functools.cache
def _system_python() -> str:
    """Return a Python without our packages: the script must do with the standard library."""
    return getattr(sys, "_base_executable", sys.executable)


def _write_secrets(folder: Path) -> None:
    folder.mkdir(parents=True)
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Kafka reads no other form
    chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
    (folder / "server.pem").write_bytes(pkcs8 + chain + authority.cert_pem.bytes())
    (folder / "users").write_text(f"broker:{secrets.token_hex(8)}\n{USERNAME}:{PASSWORD}\n", encoding="ascii")


def _runs(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that is over and waits for its parent does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return " ".join(process.cmdline())
    return ""
