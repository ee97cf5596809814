"""`deploy/kafka/broker` is a real Kafka that starts, stops, keeps its data and leaves no process."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError

from tests.support.kafka import BROKER, Brokers, SecureBrokers, fresh_topic, kafka_admin


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    """One broker, synced at each write, that the test may harm."""
    with Brokers(tmp_path / "one", flush_each_write=True) as one:
        yield one


async def test_what_was_acknowledged_is_there_after_every_kind_of_end(brokers: Brokers) -> None:
    address = brokers.bootstrap
    topic = await fresh_topic(address, partitions=1)
    sent = [await _publish(address, topic, b"first")]

    brokers.stop()
    assert brokers.processes() == []
    assert _status(brokers.data) == 3
    brokers.start()
    assert brokers.bootstrap == address, "clients know the address"
    sent.append(await _publish(address, topic, b"after a stop"))

    brokers.kill()
    brokers.start()
    sent.append(await _publish(address, topic, b"after a kill"))

    brokers.freeze()
    assert _status(brokers.data) == 1
    brokers.thaw()
    assert _status(brokers.data) == 0
    assert await _values(address, topic, 3) == [b"first", b"after a stop", b"after a kill"]
    assert sent == [0, 1, 2]


def test_a_frozen_broker_can_be_stopped(brokers: Brokers) -> None:
    brokers.freeze()
    brokers.stop()
    assert brokers.processes() == []


def test_a_second_start_starts_nothing(brokers: Brokers) -> None:
    pid = brokers.pid()
    with ThreadPoolExecutor() as threads:
        assert [one.result().bootstrap for one in [threads.submit(brokers.start) for _ in range(2)]] == [
            brokers.bootstrap
        ] * 2
    assert brokers.pid() == pid
    assert len(brokers.processes()) == 1


async def test_each_write_is_synced_when_told_so(brokers: Brokers) -> None:
    assert await _broker_setting(brokers, "log.flush.interval.messages") == "1"


def test_a_taken_port_is_named_and_nothing_stays(brokers: Brokers, tmp_path: Path) -> None:
    taken = brokers.bootstrap.rpartition(":")[2]
    done = _run("start", tmp_path / "other", f"--port={taken}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"port {taken} of broker 1 is taken" in done.stderr
    assert Brokers(tmp_path / "other").processes() == []


def test_a_stale_pid_file_harms_no_other_process(tmp_path: Path) -> None:
    data = tmp_path / "one"
    with Brokers(data) as brokers:
        pid_file = data / "1" / "broker.pid"
        brokers.stop()
        bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        pid_file.write_text(f"{bystander.pid}\n", encoding="ascii")
        assert _status(data) == 3
        brokers.stop()
        assert bystander.poll() is None
        bystander.communicate(b"\n")
        assert bystander.returncode == 0


def test_a_folder_without_a_broker_is_stopped(tmp_path: Path) -> None:
    assert _status(tmp_path) == 3
    assert _run("stop", tmp_path).returncode == 0


async def test_three_brokers_outlive_one_and_come_back(tmp_path: Path) -> None:
    with Brokers(tmp_path / "three", brokers=3) as three:
        topic = await fresh_topic(three.bootstrap, partitions=1, replicas=3)
        assert await _broker_setting(three, "min.insync.replicas") == "2"
        assert await _publish(three.bootstrap, topic, b"with three") == 0

        three.kill(2)
        assert _status(three.data) == 1
        assert await _publish(three.bootstrap, topic, b"with two") == 1
        three.restart(2)
        assert _status(three.data) == 0
        assert await _values(three.bootstrap, topic, 2) == [b"with three", b"with two"]

        three.stop()  # the last one has no quorum and ignores SIGTERM
        assert three.processes() == []
        three.start()
        assert await _values(three.bootstrap, topic, 2) == [b"with three", b"with two"]
        assert _run("start", three.data, "--brokers=1").returncode == 1, "three do not become one"


async def test_a_secure_broker_takes_only_who_can_log_in(secure_kafka: SecureBrokers) -> None:
    login: dict[str, Any] = {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=str(secure_kafka.ca_file)),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": secure_kafka.username,
        "sasl_plain_password": secure_kafka.password,
    }
    topic = await fresh_topic(secure_kafka.bootstrap, partitions=1, **login)
    producer = AIOKafkaProducer(bootstrap_servers=secure_kafka.bootstrap, **login)
    await producer.start()
    try:
        assert (await producer.send_and_wait(topic, b"secret")).offset == 0
    finally:
        await producer.stop()
    assert _status(secure_kafka.data) == 0
    for wrong in ({"sasl_plain_password": "wrong"}, {"ssl_context": ssl.create_default_context()}):
        with pytest.raises(KafkaConnectionError):
            await _connect(secure_kafka.bootstrap, **{**login, **wrong})
    with pytest.raises(KafkaConnectionError):
        await _connect(secure_kafka.bootstrap, request_timeout_ms=2_000)


async def _connect(bootstrap: str, **client: Any) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **client)
    try:
        await producer.start()
    finally:
        await producer.stop()


async def _publish(bootstrap: str, topic: str, value: bytes) -> int:
    """Send one record and return its offset."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        return int((await producer.send_and_wait(topic, value, partition=0)).offset)


async def _values(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Read a topic from its start."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return [(await consumer.getone()).value for _ in range(count)]


async def _broker_setting(brokers: Brokers, name: str) -> str:
    async with kafka_admin(brokers.bootstrap) as admin:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
        ((*_, settings),) = answer.resources
        return next(str(setting[1]) for setting in settings if setting[0] == name)


def _status(data: Path) -> int:
    return _run("status", data).returncode


def _run(verb: str, data: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BROKER), verb, f"--data={data}", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )
