"""The produce request on the wire, packed by hand.

aiokafka's own takes 60 µs to encode and decode a request of eight partitions field by field, which every message of
a batch shares, and a batch on the acknowledgement path is small. The layout is that of version 7, which every broker
from Kafka 2.1 on speaks; requests and responses of all other kinds are aiokafka's.
Source: Kafka protocol guide, Produce API; what `AIOKafkaConnection.send` asks of a request.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Self

from aiokafka.errors import IncompatibleBrokerVersion

API_KEY: Final = 0
API_VERSION: Final = 7
ACKS_ALL: Final = -1

_HEADER: Final = struct.Struct(">hhih")  # api key, api version, correlation id, length of the client id
_BODY: Final = struct.Struct(">hhii")  # no transactional id, acks, time-out, topics
_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_PARTITION: Final = struct.Struct(">ii")  # index, length of the batch
_ANSWER: Final = struct.Struct(">ihqqq")  # index, error code, base offset, append time, log start offset


@dataclass(frozen=True, slots=True)
class PartitionAnswer:
    """What became of one partition's batch: an error code (0: stored), and the offset of its first record."""

    topic: str
    partition: int
    error_code: int
    base_offset: int


class ProduceResponse:
    """Reads a response; aiokafka looks the method up by its name."""

    @classmethod
    def decode(cls, buffer: BytesIO) -> list[PartitionAnswer]:
        """Return the answers of all partitions, from behind the header."""
        data = buffer.getbuffer()
        position = buffer.tell()
        answers = []
        (topics,) = _INT32.unpack_from(data, position)
        position += 4
        for _topic in range(topics):
            (length,) = _INT16.unpack_from(data, position)
            topic = str(data[position + 2 : position + 2 + length], "utf-8")
            (partitions,) = _INT32.unpack_from(data, position + 2 + length)
            position += 6 + length
            for _partition in range(partitions):
                index, error_code, base_offset, _time, _start = _ANSWER.unpack_from(data, position)
                position += _ANSWER.size
                answers.append(PartitionAnswer(topic, index, error_code, base_offset))
        return answers


class _Packed:
    """Bytes where aiokafka expects something to encode."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def encode(self) -> bytes:
        return self._packed


class _ResponseHeader:
    def __init__(self, correlation_id: int) -> None:
        self.correlation_id = correlation_id


class ProduceRequest:
    """Batches for partitions of one broker, to be answered when all in-sync replicas have them."""

    RESPONSE_TYPE: Final = ProduceResponse

    def __init__(self, batches: Mapping[str, Sequence[tuple[int, bytes | bytearray]]], *, timeout_ms: int) -> None:
        parts: list[bytes | bytearray] = [_BODY.pack(-1, ACKS_ALL, timeout_ms, len(batches))]
        for topic, partitions in batches.items():
            name = topic.encode()
            parts += (_INT16.pack(len(name)), name, _INT32.pack(len(partitions)))
            for partition, batch in partitions:
                parts += (_PARTITION.pack(partition, len(batch)), batch)
        self.batches = batches
        self._body = b"".join(parts)

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Self:
        """Agree on the version with a broker."""
        lowest, highest = versions.get(API_KEY, (API_VERSION, API_VERSION))
        if not lowest <= API_VERSION <= highest:
            raise IncompatibleBrokerVersion(f"the broker takes produce requests of version {lowest} to {highest} only")
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> _Packed:
        """Return the request's header."""
        name = client_id.encode()
        return _Packed(_HEADER.pack(API_KEY, API_VERSION, correlation_id, len(name)) + name)

    def encode(self) -> bytes:
        """Return the request behind its header."""
        return self._body

    def parse_response_header(self, buffer: BytesIO) -> _ResponseHeader:
        """Read a response's header."""
        return _ResponseHeader(_INT32.unpack(buffer.read(4))[0])
