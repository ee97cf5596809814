"""Goal: a broker that demands TLS and a login is used, and each way to be refused is named by its cause."""

from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from services.runtime.errors import AfterstayError, Permanent, Transient
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.kafka.publisher import KafkaPublisher
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.kafka.topics import TopicPlan, create_topics
from tests.runtime.eventlog.suite import BYTES_MAX, new_record
from tests.support.kafka import Brokers, SecureBrokers, fresh_name


@pytest.fixture
def connection(secure_kafka: SecureBrokers) -> KafkaConnection:
    return KafkaConnection(
        bootstrap=secure_kafka.bootstrap,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        username=secure_kafka.username,
        password=secure_kafka.password,
        ca_file=secure_kafka.ca_file,
    )


async def test_everything_works_by_tls_and_scram(connection: KafkaConnection) -> None:
    plan = TopicPlan(name=fresh_name("topic"), partitions=2, replicas=1, exact={}, at_least={})
    assert await create_topics(connection, [plan]) == [plan.name]
    publisher = await KafkaPublisher.open(connection, client_id="test")
    position = await publisher.publish(new_record(plan.name, value=b"secret"))
    subscriber = await KafkaSubscriber.open(connection, client_id="test")
    assert await subscriber.wait_for_records(plan.name, {0: position.offset}, timeout_s=20)
    (record,) = await subscriber.read(plan.name, 0, position.offset, max_records=9, bytes_max=BYTES_MAX)
    assert record.value == b"secret"
    groups = await KafkaGroupPositions.open(connection, client_id="test")
    group = fresh_name("group")
    await groups.commit(group, plan.name, {0: 1})
    assert await groups.committed(group, plan.name) == {0: 1}
    for opened in (publisher, subscriber, groups):
        await opened.close()


async def refused(connection: KafkaConnection) -> Permanent:
    with pytest.raises(Permanent) as refusal:
        await KafkaPublisher.open(connection, client_id="test")
    assert connection.password is None or connection.password not in str(refusal.value)
    return refusal.value


async def test_a_wrong_password_is_said_to_be_one(connection: KafkaConnection) -> None:
    error = await refused(replace(connection, password="guessed"))
    assert error.code == "broker-refused"
    assert "refused this user" in error.message
    assert "check user name, password and SASL mechanism" in error.message


async def test_a_mechanism_that_the_broker_lacks_is_said_to_be_one(connection: KafkaConnection) -> None:
    error = await refused(replace(connection, sasl_mechanism="PLAIN"))
    assert error.code == "broker-refused"
    assert "takes no login by PLAIN" in error.message


async def test_an_authority_that_we_do_not_know_is_said_to_be_one(connection: KafkaConnection, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    error = await refused(replace(connection, ca_file=tmp_path / "ca.pem"))
    assert error.code == "broker-refused"
    assert "its certificate is not trusted" in error.message


async def test_tls_to_a_broker_that_speaks_none_names_the_protocol(connection: KafkaConnection, kafka: Brokers) -> None:
    with pytest.raises(AfterstayError, match=r"TLS|SASL_SSL.*is it the port for this protocol\?"):
        await KafkaPublisher.open(replace(connection, bootstrap=kafka.bootstrap), client_id="test")


async def test_plain_speech_to_a_broker_that_demands_tls_names_the_protocol(connection: KafkaConnection) -> None:
    plain = KafkaConnection(bootstrap=connection.bootstrap)
    with pytest.raises(Transient, match="PLAINTEXT"):
        await KafkaPublisher.open(plain, client_id="test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bootstrap": " , "}, "the address of Kafka is empty"),
        ({"username": None}, "needs a SASL mechanism, a user name and a password"),
        ({"security_protocol": "PLAINTEXT", "username": None}, "is not encrypted"),
        ({"cert_file": Path("client.pem")}, "go together"),
        ({"ca_file": Path("missing.pem")}, "missing.pem"),
    ],
)
async def test_settings_that_cannot_work_are_refused_before_anything_is_sent(
    changes: dict[str, object], words: str
) -> None:
    sound = KafkaConnection(
        bootstrap="127.0.0.1:1",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        username="afterstay",
        password="secret",
        ca_file=Path("ca.pem"),
    )
    assert "secret" not in repr(sound)
    error = await refused(replace(sound, **changes))  # type: ignore[arg-type] # fields by name
    assert error.code == "broker-settings-unusable"
    assert words in error.message
