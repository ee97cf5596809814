"""Positions of consumer groups in Kafka, read and set without joining the group; and who its members are.

Kafka takes a position from outside only while the group has no members; from a running one the error is
`positions-unavailable`, like that of a broker that is away. Nobody depends on it: the truth is the consumer's own
database (`port.GroupPositions`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from aiokafka.client import CoordinationType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from services.runtime.errors import AfterstayError, Transient
from services.runtime.eventlog.kafka.client import RETRY_BACKOFF_MS, KafkaClient, describe
from services.runtime.eventlog.kafka.connection import KafkaConnection

REQUEST_TIMEOUT_MS: Final = 3000
COORDINATOR_S: Final = 5.0
"""How long a coordinator is looked for; on a fresh cluster the first one takes a moment."""

_OUTSIDER: Final = (-1, "")  # generation and member of one who did not join
_NEVER: Final = -1
_Answer = TypeVar("_Answer")
_COORDINATOR_MOVES: Final = {14, 15, 16}  # loading, not available, not the coordinator


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A member of a group as its coordinator knows it; `partitions` by topic."""

    member_id: str
    client_id: str
    host: str
    partitions: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescription:
    """A group's state in Kafka's words (`Stable`, `Empty`, `Dead`, `PreparingRebalance` ...) and its members."""

    state: str
    members: tuple[GroupMember, ...]


class KafkaGroupPositions:
    """The positions of any group of a cluster."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client
        self._coordinators: dict[str, int] = {}

    @classmethod
    async def open(cls, connection: KafkaConnection, *, client_id: str) -> Self:
        """Connect to the cluster.

        Raises:
            Permanent: `broker-settings-unusable`, `broker-refused`.
            Transient: `log-unavailable`.
        """
        return cls(await KafkaClient.open(connection, client_id=client_id, request_timeout_ms=REQUEST_TIMEOUT_MS))

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the group's next offset to read for each partition that it committed."""

        async def ask(coordinator: int) -> tuple[int, dict[int, int]]:
            response = await self._client.send(coordinator, OffsetFetchRequest(group, None))
            offsets = {}
            error_code = response.error_code
            for name, partitions in response.topics:
                for partition, offset, _metadata, code in partitions if name == topic else ():
                    error_code = error_code or code
                    if offset != _NEVER:
                        offsets[partition] = offset
            return error_code, offsets

        return await self._ask(group, f"the positions of group {group}", ask)

    async def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Remember the next offset to read for these partitions."""
        if not offsets:
            return
        asked = [(topic, [(partition, offset, "") for partition, offset in offsets.items()])]

        async def ask(coordinator: int) -> tuple[int, None]:
            retention = OffsetCommitRequest.DEFAULT_RETENTION_TIME
            response = await self._client.send(coordinator, OffsetCommitRequest(group, *_OUTSIDER, retention, asked))
            codes = [code for _topic, partitions in response.topics for _partition, code in partitions]
            return next((code for code in codes if code), 0), None

        await self._ask(group, f"setting the positions of group {group}", ask)

    async def group_members(self, group: str) -> GroupDescription:
        """Return a group's state and members; a group that nobody knows is `Dead` and has none.

        Raises:
            Transient: `positions-unavailable`.
        """

        async def ask(coordinator: int) -> tuple[int, GroupDescription]:
            response = await self._client.send(coordinator, DescribeGroupsRequest([group]))
            ((error_code, _group, state, protocol_type, _protocol, members, *_rest),) = response.groups
            found = tuple(_member(member, protocol_type) for member in members)
            return error_code, GroupDescription(state=state, members=found)

        return await self._ask(group, f"the members of group {group}", ask)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, group: str, what: str, ask: Callable[[int], Awaitable[tuple[int, _Answer]]]) -> _Answer:
        """Ask the group's coordinator, looking for it anew where it has moved."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + COORDINATOR_S
        while True:
            try:
                error_code, answer = await ask(await self._coordinator(group))
            except KafkaError as error:
                self._coordinators.pop(group, None)
                if getattr(error, "errno", None) not in _COORDINATOR_MOVES or loop.time() >= give_up_at:
                    raise _unavailable(what, describe(error)) from error
            except AfterstayError as error:
                raise _unavailable(what, error.message) from error
            else:
                if error_code == 0:
                    return answer
                self._coordinators.pop(group, None)
                if error_code not in _COORDINATOR_MOVES or loop.time() >= give_up_at:
                    raise _unavailable(what, for_code(error_code).__name__)
            await asyncio.sleep(RETRY_BACKOFF_MS / 1000)

    async def _coordinator(self, group: str) -> int:
        node = self._coordinators.get(group)
        if node is not None:
            return node
        request = FindCoordinatorRequest(group, CoordinationType.GROUP)
        response = await self._client.send(self._client.any_node(), request)
        if response.error_code:
            raise for_code(response.error_code)
        self._coordinators[group] = response.coordinator_id
        return int(response.coordinator_id)


def _member(member: Any, protocol_type: str) -> GroupMember:  # noqa: ANN401 - aiokafka is untyped
    member_id, client_id, host, _metadata, assignment, *_rest = member
    partitions: dict[str, tuple[int, ...]] = {}
    if protocol_type == "consumer" and assignment:
        for topic, numbers in ConsumerProtocolMemberAssignment.decode(assignment).assignment:
            partitions[topic] = tuple(sorted(numbers))
    return GroupMember(member_id=member_id, client_id=client_id, host=host.lstrip("/"), partitions=partitions)


def _unavailable(what: str, reason: str) -> Transient:
    return Transient("positions-unavailable", f"Kafka could not be asked for {what}: {reason}; try again")
