"""The broker's settings; each that is not Kafka's default has its reason here. Source: measured, docs/adr/0018."""

from pathlib import Path

from localbroker.layout import HOST, Cluster, read_users

CLUSTER_ID = "AAAAAAAAQACAAAAAAAAAAA"
"""Fixed: a random one begins with `-` once in 64 times, which the format tool takes for an option."""
SCRAM = "SCRAM-SHA-512"
_SMALL = {
    "group.initial.rebalance.delay.ms": 0,
    "auto.create.topics.enable": "false",  # a mistyped topic must not come to be, with one partition
    "log.cleaner.dedupe.buffer.size": 4_194_304,  # the default does not fit the heap: "Error starting LogManager"
    "broker.session.timeout.ms": 2_000,  # a broker killed comes back after this and 2.5 s, instead of 12 s
    "broker.heartbeat.interval.ms": 500,
    "log.segment.bytes": 67_108_864,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 4,
}


def server_properties(cluster: Cluster, node: int, log: Path) -> str:
    """Return the text of server.properties for one broker."""
    client = "SASL_SSL" if cluster.secrets else "PLAINTEXT"
    address, controller = f"{HOST}:{cluster.ports[node - 1]}", f"{HOST}:{cluster.controller_ports[node - 1]}"
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node,
        "listeners": f"{client}://{address},CONTROLLER://{controller}",
        "advertised.listeners": f"{client}://{address}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": client,
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{client}:{client}",
        "log.dirs": log,
        **_SMALL,
        **_quorum(cluster),
        **_replication(len(cluster.ports)),
    }
    if cluster.flush_each_write:
        settings["log.flush.interval.messages"] = 1
    if cluster.secrets:
        settings |= _security(Path(cluster.secrets))
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def format_options(cluster: Cluster) -> list[str]:
    """Return what the format tool is told beside the cluster id."""
    options = ["--standalone"] if len(cluster.ports) == 1 else []  # with static voters it is an error
    for user in read_users(Path(cluster.secrets)) if cluster.secrets else []:
        options += ["--add-scram", f"{SCRAM}=[name={user.name},password={user.password}]"]
    return options


def _quorum(cluster: Cluster) -> dict[str, object]:
    addresses = [f"{HOST}:{port}" for port in cluster.controller_ports]
    if len(addresses) == 1:
        return {"controller.quorum.bootstrap.servers": addresses[0]}
    voters = ",".join(f"{node}@{address}" for node, address in zip(cluster.nodes, addresses, strict=True))
    return {"controller.quorum.voters": voters}


def _replication(brokers: int) -> dict[str, object]:
    """Return how often records are kept; internal topics default to 3, and on one broker no group would ever form."""
    in_sync = 2 if brokers > 1 else 1
    return {
        "default.replication.factor": brokers,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": brokers,
        "transaction.state.log.replication.factor": brokers,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": brokers,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def _security(secrets: Path) -> dict[str, object]:
    own = read_users(secrets)[0]
    login = "org.apache.kafka.common.security.scram.ScramLoginModule"
    jaas = f'{login} required username="{own.name}" password="{own.password}";'
    return {
        "sasl.enabled.mechanisms": SCRAM,
        "sasl.mechanism.inter.broker.protocol": SCRAM,
        f"listener.name.sasl_ssl.{SCRAM.lower()}.sasl.jaas.config": jaas,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": secrets / "server.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": secrets / "ca.pem",
    }
