"""One process's connections to a Kafka cluster: opened and closed within a bound, with errors that name their cause.

Everything in this package speaks through here. It is aiokafka's client (addresses, TLS, SASL, versions, who leads
what) without its producer and consumer, whose behavior in failures is what `docs/adr/0011-kafka-publisher.md` is about.

Promises:
- No call waits longer for a broker than the request time-out says, frozen or dead; `close` neither.
- A refused user, a certificate that is not trusted and a broker that is away are told apart (`why_unreachable`).
- Topics are never made by asking for them: metadata is asked for all topics, which makes none.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable
from typing import Any, Final, Self, TypeVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.structs import TopicPartition

from services.runtime.errors import AfterstayError, Permanent, Transient
from services.runtime.eventlog.kafka.client_log import limit_repeats
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.link import BrokerLink, Receiver

REQUEST_TIMEOUT_MS: Final = 1500
"""`streaming.md` §8: a dead or frozen broker is noticed within 2 s, of which this is the waiting."""
RETRY_BACKOFF_MS: Final = 100
CLOSE_S: Final = 2.0
METADATA_MAX_AGE_MS: Final = 60_000
TOPIC_APPEARS_S: Final = 1.0
"""How long a topic that was just created may be unknown to the broker that is asked."""

_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")  # Kafka's own rule (Topic.validate)
_REFUSALS: Final = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)

_Result = TypeVar("_Result")


class KafkaClient:
    """The connections of one adapter. Used on the event loop that opened it."""

    def __init__(self, inner: AIOKafkaClient, options: dict[str, Any]) -> None:
        self._inner = inner
        self._options = options
        self._closed = False

    @classmethod
    async def open(
        cls, connection: KafkaConnection, *, client_id: str, request_timeout_ms: int = REQUEST_TIMEOUT_MS
    ) -> Self:
        """Connect to one of the brokers and learn the others.

        Raises:
            Permanent: `broker-settings-unusable`, `broker-refused`.
            Transient: `log-unavailable`.
        """
        limit_repeats()
        options = connection.client_options() | {"client_id": client_id, "request_timeout_ms": request_timeout_ms}
        inner = AIOKafkaClient(**options, retry_backoff_ms=RETRY_BACKOFF_MS, metadata_max_age_ms=METADATA_MAX_AGE_MS)
        client = cls(inner, options)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await inner.bootstrap()
        except KafkaConnectionError:
            await client.close()
            if loop.time() - started > request_timeout_ms / 1000:  # a frozen broker has cost enough time
                raise unavailable(f"{connection.bootstrap} does not answer") from None
            raise await client.why_unreachable() from None
        except BaseException:
            await client.close()
            raise
        return client

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions, ascending, asking the brokers if it is new to us.

        Raises:
            Permanent: `topic-unknown`.
            Transient: `log-unavailable`.
        """
        if not _TOPIC.fullmatch(topic):
            raise Permanent("topic-unknown", "a topic has up to 249 letters, digits, dots, dashes and underscores")
        loop = asyncio.get_running_loop()
        give_up = loop.time() + TOPIC_APPEARS_S
        while not (known := self._inner.cluster.partitions_for_topic(topic)):
            if not await self.refresh():
                raise await self.why_unreachable()
            if not self._inner.cluster.partitions_for_topic(topic):
                if loop.time() >= give_up:
                    raise Permanent(
                        "topic-unknown",
                        f"the topic {topic} does not exist on this cluster, or this user may not see it: "
                        "run `afterstay topics create`",
                    )
                await asyncio.sleep(RETRY_BACKOFF_MS / 1000)
        return tuple(sorted(known))

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the broker that leads a partition as far as we know; None if nobody does."""
        node: int | None = self._inner.cluster.leader_for_partition(TopicPartition(topic, partition))
        return None if node == -1 else node

    async def refresh(self) -> bool:
        """Ask a broker who leads what; False if none answered."""
        if await self._inner.force_metadata_update():
            return True
        try:
            await self._inner.bootstrap()  # none of those that we know is left; the addresses we were given may be
        except KafkaConnectionError:
            return False
        return True

    def any_node(self) -> int:
        """Return some broker that is known."""
        node: int | None = self._inner.get_random_node()
        if node is None:
            raise unavailable("the cluster names no broker")
        return node

    async def open_link(self, node: int, receiver: Receiver) -> BrokerLink:
        """Connect to a broker for produce requests alone.

        Raises:
            Permanent: `broker-refused`.
            Transient: `log-unavailable`.
        """
        broker = self._inner.cluster.broker_metadata(node)
        if broker is None:
            raise unavailable(f"the cluster no longer names broker {node}")
        options = {key: value for key, value in self._options.items() if key != "bootstrap_servers"}
        try:
            connection = await create_conn(broker.host, broker.port, **options)
        except (OSError, KafkaError, TimeoutError) as error:
            raise unavailable(f"broker {node} at {broker.host}:{broker.port}: {describe(error)}") from error
        timeout_ms = options["request_timeout_ms"]
        link = BrokerLink(connection, receiver, client_id=options["client_id"], timeout_ms=timeout_ms)
        if not link.speaks_our_version:
            link.close()
            raise Permanent("broker-refused", f"broker {node} is older than Kafka 2.1; use a later one")
        return link

    async def send(self, node: int, request: Any, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:  # noqa: ANN401 - aiokafka is untyped
        """Send a request to a broker and return its response, within the request time-out.

        Raises:
            KafkaError: aiokafka's own; what it means depends on the request.
        """
        return await self._inner.send(node, request, group=group)

    async def why_unreachable(self) -> AfterstayError:
        """Connect once more by hand, for the reason that aiokafka only logs."""
        reasons: list[str] = []
        for host, port, _family in self._inner.hosts:
            options = {key: value for key, value in self._options.items() if key != "bootstrap_servers"}
            try:
                connection = await create_conn(host, port, **options)
            except _REFUSALS as error:
                return self._refused(f"{host}:{port}", error)
            except ssl.SSLError as error:
                return Permanent("broker-refused", f"no TLS with {host}:{port}: {_tlsdescribe(error)}")
            except (OSError, KafkaError, TimeoutError) as error:
                hint = "; is it the port for this protocol?" if isinstance(error, ConnectionError) else ""
                reasons.append(f"{host}:{port}: {describe(error)}{hint}")
            else:
                connection.close()
                reasons.append(f"{host}:{port} answers again")
        protocol = self._options["security_protocol"]
        return unavailable(f"no broker could be reached by {protocol} ({'; '.join(reasons)})")

    def _refused(self, address: str, error: KafkaError) -> Permanent:
        mechanism = self._options.get("sasl_mechanism")
        why = f"takes no login by {mechanism}"
        if isinstance(error, SaslAuthenticationFailed):
            why = f"refused this user by {mechanism} ({error})"
        return Permanent("broker-refused", f"{address} {why}: check user name, password and SASL mechanism")

    async def close(self) -> None:
        """Close every connection, within `CLOSE_S` whatever the brokers do."""
        if self._closed:
            return
        self._closed = True
        transports = [conn._writer.transport for conn in self._inner._conns.values() if conn._writer is not None]  # noqa: SLF001
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._inner.close()
        except TimeoutError:  # a frozen peer takes no more bytes, so what is buffered for it never leaves
            for transport in transports:
                transport.abort()


def unavailable(reason: str) -> Transient:
    """Return the error that says: certainly nothing happened."""
    return Transient("log-unavailable", f"Kafka is not available: {reason}; nothing was stored, it is tried again")


async def or_unavailable(call: Awaitable[_Result], what: str) -> _Result:
    """Await a request that changes nothing, and turn aiokafka's errors into ours."""
    try:
        return await call
    except KafkaError as error:
        raise unavailable(f"{what} failed ({describe(error)})") from error


def describe(error: BaseException) -> str:
    """Return an error of aiokafka or of the system in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error)
    return text if isinstance(error, OSError) and text else type(error).__name__ + (f" {text}" if text else "")


def _tlsdescribe(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); check the CA file and the host name"
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "it does not speak TLS on this port; check the port and the security protocol"
    return f"{error.reason or error}; check the certificate that this client presents"
