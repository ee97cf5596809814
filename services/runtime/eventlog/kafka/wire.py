"""Produce requests and their answers on the wire, packed by hand.

A request is shared by the messages of one moment, which are few on the acknowledgement path, so what it costs counts
for each of them. The layout is that of version 7, which every broker from Kafka 2.1 on speaks; requests of all other
kinds are aiokafka's. Source: Kafka protocol guide, Produce API.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PRODUCE: Final = 0
PRODUCE_VERSION: Final = 7
ACKS_ALL: Final = -1

Batches = Mapping[str, Sequence[tuple[int, bytes | bytearray]]]
"""For each topic the partitions, each with its batch."""

_HEAD: Final = struct.Struct(">ihhih")  # size, api key, api version, correlation id, length of the client id
_BODY: Final = struct.Struct(">hhii")  # no transactional id, acks, time-out, topics
_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_PARTITION: Final = struct.Struct(">ii")  # index, length of the batch
_ANSWER: Final = struct.Struct(">ihqqq")  # index, error code, base offset, append time, log start offset


@dataclass(slots=True)
class PartitionAnswer:
    """What became of one partition's batch: an error code (0: stored), and the offset of its first record."""

    topic: str
    partition: int
    error_code: int
    base_offset: int


def pack_produce(batches: Batches, *, correlation_id: int, client_id: bytes, timeout_ms: int) -> bytes:
    """Return a request as it is written, with its size in front."""
    parts: list[bytes | bytearray] = [b"", client_id, _BODY.pack(-1, ACKS_ALL, timeout_ms, len(batches))]
    for topic, partitions in batches.items():
        name = topic.encode()
        parts += (_INT16.pack(len(name)), name, _INT32.pack(len(partitions)))
        for partition, batch in partitions:
            parts += (_PARTITION.pack(partition, len(batch)), batch)
    size = _HEAD.size - 4 + sum(map(len, parts))
    parts[0] = _HEAD.pack(size, PRODUCE, PRODUCE_VERSION, correlation_id, len(client_id))
    return b"".join(parts)


def unpack_produced(frame: bytes) -> tuple[int, list[PartitionAnswer]]:
    """Return the correlation id and the answers of a response, without its size in front.

    Raises:
        struct.error: it is not one.
    """
    correlation_id, topics = struct.unpack_from(">ii", frame)
    position = 8
    answers = []
    for _topic in range(topics):
        (length,) = _INT16.unpack_from(frame, position)
        position += 2
        topic = frame[position : position + length].decode()
        (partitions,) = _INT32.unpack_from(frame, position + length)
        position += length + 4
        for _partition in range(partitions):
            index, error_code, base_offset, _time, _start = _ANSWER.unpack_from(frame, position)
            position += _ANSWER.size
            answers.append(PartitionAnswer(topic, index, error_code, base_offset))
    return correlation_id, answers
