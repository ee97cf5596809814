"""Reads Kafka from any position, by fetch requests of its own: the port's statelessness with a consumer's speed.

A fetch brings up to `fetch_bytes` of a partition, and one batch of records at least; what a page leaves of it is kept,
so reading on costs no request and jumping elsewhere costs one. `wait_for_records` hands the waiting to the broker (a
fetch that is answered when there is something), and keeps what came. Broker away: `log-unavailable` after
`REQUEST_TIMEOUT_MS` at the latest; the next call connects again, so it heals by itself.

aiokafka's own consumer is not used: it has a place in each partition and fetches ahead from there, so each jump throws
that away, and it hides a broker that is gone behind an endless wait.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, Self

from aiokafka.client import ConnectionGroup
from aiokafka.errors import CorruptRecordException, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from services.runtime.errors import Permanent
from services.runtime.eventlog.kafka.client import RETRY_BACKOFF_MS, KafkaClient, or_unavailable, unavailable
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.fetched import Fetched
from services.runtime.eventlog.port import Record

REQUEST_TIMEOUT_MS: Final = 3000
FETCH_BYTES: Final = 524_288
"""Of a partition at once. Measured: half as much costs a fifth more a record, twice as much a tenth."""
POLL_MS: Final = 500
"""How long a broker is asked to wait for records; well below the time-out of a request."""
LEADER_MOVES_S: Final = 3.0
"""How long a partition may be without a leader before that is an error."""

_BEGINNING: Final = -2
_END: Final = -1
_OUT_OF_RANGE: Final = 1
_NO_LEADER: Final = 5
_LEADER_ELSEWHERE: Final = {3, 5, 6, 9, 74, 75}  # unknown here, no leader, not the leader, no replica, epochs


class KafkaSubscriber:
    """Reads any topic of a cluster; see the module."""

    def __init__(self, client: KafkaClient, fetch_bytes: int = FETCH_BYTES) -> None:
        self._client = client
        self._fetch_bytes = fetch_bytes
        self._fetched: dict[tuple[str, int], Fetched] = {}
        self._polls: dict[int, asyncio.Task[list[Fetched]]] = {}

    @classmethod
    async def open(cls, connection: KafkaConnection, *, client_id: str, fetch_bytes: int = FETCH_BYTES) -> Self:
        """Connect to the cluster; who wants a record here and there fetches little at once.

        Raises:
            Permanent: `broker-settings-unusable`, `broker-refused`.
            Transient: `log-unavailable`.
        """
        client = await KafkaClient.open(connection, client_id=client_id, request_timeout_ms=REQUEST_TIMEOUT_MS)
        return cls(client, fetch_bytes)

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions."""
        return await self._client.partitions(topic)

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        """Return for each partition the first offset that may still be read."""
        return await self._offsets(topic, await self.partitions(topic), _BEGINNING)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return for each partition the offset behind the last record that every in-sync replica has."""
        return await self._offsets(topic, await self.partitions(topic), _END)

    async def read(self, topic: str, partition: int, offset: int, *, max_records: int, bytes_max: int) -> list[Record]:
        """Return records from an offset on, within the limits."""
        await self._require_partitions(topic, (partition,))
        try:
            fetched = self._fetched.get((topic, partition))
            if fetched is None or fetched.at != offset or not fetched.look():
                fetched = await self._fetch_from(topic, partition, offset)
                self._fetched[topic, partition] = fetched
            return fetched.take(max_records, bytes_max)
        except CorruptRecordException as error:
            self._fetched.pop((topic, partition), None)
            raise Permanent("log-damaged", f"partition {partition} of {topic} cannot be read on: {error}") from error

    async def wait_for_records(self, topic: str, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        """Wait until a partition has a record at or after its position, or for the time-out."""
        await self._require_partitions(topic, positions)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            if any(self._has(topic, partition, offset) for partition, offset in positions.items()):
                return True
            remaining_s = deadline - loop.time()
            if remaining_s <= 0:
                return False
            await self._poll(topic, positions, remaining_s)

    async def close(self) -> None:
        """Close the connections."""
        for poll in self._polls.values():
            poll.cancel()
        await asyncio.gather(*self._polls.values(), return_exceptions=True)
        self._polls.clear()
        self._fetched.clear()
        await self._client.close()

    async def _require_partitions(self, topic: str, partitions: Iterable[int]) -> None:
        known = await self._client.partitions(topic)
        for partition in partitions:
            if partition not in known:
                raise Permanent("partition-unknown", f"{topic} has partitions 0 to {max(known)}, not {partition}")

    # Reading

    async def _fetch_from(self, topic: str, partition: int, offset: int) -> Fetched:
        """Fetch what there is at an offset and after, from the beginning if that lies above it."""
        start = self._start(topic, partition, offset)
        moving = _LeaderSearch(self._client, f"partition {partition} of {topic}")
        while True:
            error_code, data = await self._fetch(topic, partition, start)
            if error_code == 0:
                fetched = Fetched(topic, partition, offset, data, start=start)
                if not data or fetched.look() or fetched.until == start:
                    return fetched
                start = fetched.until  # nothing but a transaction's marks
            elif error_code == _OUT_OF_RANGE:
                begin = (await self._offsets(topic, (partition,), _BEGINNING))[partition]
                if start >= begin:
                    return Fetched(topic, partition, offset, b"")
                start = begin
            else:
                await moving.go_on(error_code)

    async def _fetch(self, topic: str, partition: int, start: int) -> tuple[int, bytes]:
        node = self._client.leader(topic, partition)
        if node is None:
            return _NO_LEADER, b""
        answers = await self._send_fetch(node, topic, {partition: start}, wait_ms=0, group=ConnectionGroup.DEFAULT)
        return answers[partition]

    def _start(self, topic: str, partition: int, offset: int) -> int:
        """Return where a fetch for an offset begins: behind marks that an earlier one has skipped."""
        fetched = self._fetched.get((topic, partition))
        return fetched.until if fetched is not None and fetched.at == offset and not fetched.look() else offset

    async def _send_fetch(
        self, node: int, topic: str, starts: Mapping[int, int], *, wait_ms: int, group: ConnectionGroup
    ) -> dict[int, tuple[int, bytes]]:
        """Fetch from one broker; return for each partition its error code and the stored batches."""
        asked = [(topic, [(partition, start, self._fetch_bytes) for partition, start in starts.items()])]
        request = FetchRequest(wait_ms, 1, self._fetch_bytes * len(starts), 0, asked)
        response = await or_unavailable(self._client.send(node, request, group), f"reading from broker {node}")
        return {
            partition: (error_code, data or b"")
            for _topic, partitions in response.topics
            for partition, error_code, *_marks, data in partitions
        }

    # Waiting

    def _has(self, topic: str, partition: int, offset: int) -> bool:
        fetched = self._fetched.get((topic, partition))
        if fetched is None or fetched.at != offset:
            return False
        try:
            return fetched.look()
        except CorruptRecordException:
            return True  # reading says what is wrong with it

    async def _poll(self, topic: str, positions: Mapping[int, int], wait_s: float) -> None:
        """Ask every broker concerned to tell when there is something, and keep what the first ones answer.

        A broker that has not answered yet is not asked again: its answer is taken by a later call.
        """
        wait_ms = min(POLL_MS, max(1, int(wait_s * 1000)))
        nodes: dict[int | None, dict[int, int]] = {}
        for partition, offset in positions.items():
            nodes.setdefault(self._client.leader(topic, partition), {})[partition] = offset
        if None in nodes:
            await self._client.refresh()
            await asyncio.sleep(RETRY_BACKOFF_MS / 1000)
        for node, offsets in nodes.items():
            if node is not None and node not in self._polls:
                self._polls[node] = asyncio.create_task(self._poll_broker(node, topic, offsets, wait_ms))
        await asyncio.wait(self._polls.values(), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        for node, poll in [(node, poll) for node, poll in self._polls.items() if poll.done()]:
            del self._polls[node]
            for fetched in poll.result():
                if fetched.topic == topic and positions.get(fetched.partition) == fetched.at:
                    self._fetched[topic, fetched.partition] = fetched

    async def _poll_broker(self, node: int, topic: str, offsets: Mapping[int, int], wait_ms: int) -> list[Fetched]:
        # On a connection of its own, so that nothing else waits behind it.
        starts = {partition: self._start(topic, partition, offset) for partition, offset in offsets.items()}
        answers = await self._send_fetch(node, topic, starts, wait_ms=wait_ms, group=ConnectionGroup.COORDINATION)
        found = []
        lost = False
        for partition, (error_code, data) in answers.items():
            if error_code == 0 and data:
                found.append(Fetched(topic, partition, offsets[partition], data, start=starts[partition]))
            elif error_code == _OUT_OF_RANGE:
                found.append(await self._fetch_from(topic, partition, offsets[partition]))
            lost = lost or error_code != 0
        if lost and not any(fetched.look() for fetched in found):
            await self._client.refresh()
            await asyncio.sleep(wait_ms / 1000)  # such an answer comes at once, so it would be asked for incessantly
        return found

    # Offsets

    async def _offsets(self, topic: str, partitions: Iterable[int], which: int) -> dict[int, int]:
        offsets: dict[int, int] = {}
        missing = list(partitions)
        moving = _LeaderSearch(self._client, topic)
        while missing:
            nodes: dict[int, list[tuple[int, int]]] = {}
            error_code = _NO_LEADER
            for partition in missing:
                node = self._client.leader(topic, partition)
                if node is not None:
                    nodes.setdefault(node, []).append((partition, which))
            for node, asked in nodes.items():
                request = OffsetRequest(-1, 0, [(topic, asked)])
                response = await or_unavailable(
                    self._client.send(node, request), f"asking broker {node} for the offsets of {topic}"
                )
                for _topic, answers in response.topics:
                    for partition, code, _timestamp, offset, *_epoch in answers:
                        if code == 0:
                            offsets[partition] = offset
                        else:
                            error_code = code
            missing = [partition for partition in missing if partition not in offsets]
            if missing:
                await moving.go_on(error_code)
        return dict(sorted(offsets.items()))


class _LeaderSearch:
    """Bounds how long a partition is looked for among the brokers."""

    def __init__(self, client: KafkaClient, what: str) -> None:
        self._client = client
        self._what = what
        self._loop = asyncio.get_running_loop()
        self._give_up_at = self._loop.time() + LEADER_MOVES_S

    async def go_on(self, error_code: int) -> None:
        """Ask who leads now.

        Raises:
            Transient: `log-unavailable`, if the error is of another kind or it took too long.
        """
        if error_code not in _LEADER_ELSEWHERE or self._loop.time() >= self._give_up_at:
            raise unavailable(f"{for_code(error_code).__name__} for {self._what}")
        await self._client.refresh()
        await asyncio.sleep(RETRY_BACKOFF_MS / 1000)
