"""The event log as the services see it: append durably, read again from anywhere.

A log has topics; a topic has a fixed number of partitions, numbered from 0; a partition is a sequence of records.
Topics and their partitions exist before they are used (Kafka: created at deployment; embedded: any legal name).

Semantics that every adapter keeps (`tests/runtime/eventlog/suite.py` holds them to it):
- **Order.** Within a partition, records have strictly increasing offsets, and records that one process handed over
  one after the other keep that order, unless one of them failed. Between partitions there is no order.
- **Offsets.** An offset in a commit or handed to `read` always means *next to read*; only in a `Record`, and in the
  `Position` that a publish returns, it is the record's own. Consumers must not assume that offsets are dense or start
  at 0 (Kafka's need not): the next offset after a record is `record.offset + 1`, whether or not anything is there.
- **Durability.** A publish that has succeeded survives `kill -9` of every process and loss of power. A record that a
  reader sees is as durable as that.
- **Visibility.** A record whose publish has succeeded is seen by every read that begins later, in any process.
- **At least once.** A publisher that was told `Ambiguous`, or was killed before it was told, may find its record in
  the log once it sends it again: consumers recognise records by what is in them (`schemas.events`, `event_id`).

Keys and headers other than the one with the raw message carry no patient data (DESIGN §4).

Records and positions are structs because every message and every replay makes them: a frozen dataclass takes fifteen
times as long to make.
Source: DESIGN §2 and §4, `streaming.md` §7 and §8; "next to read" is arroyo's rule.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from services.runtime.errors import AfterstayError


class NewRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record before it is in the log.

    The partition is the caller's choice. `timestamp_us` is when the message was received, in microseconds since
    1970 UTC: retention counts from it, so a sender's clock must not get here. Header names may repeat.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_us: int


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record in the log.

    A `damaged` one failed its checksum or could not be read at all. It has its topic, partition and offset and
    nothing else: key, value and headers are empty and the timestamp is 0, so it cannot pass for a valid one by
    oversight. What is left of its bytes stays in the log. Dead-letter it and read on.
    """

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_us: int
    damaged: bool = False

    def header(self, name: str) -> bytes | None:
        """Return the first header of this name."""
        return next((value for header, value in self.headers if header == name), None)


class Position(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A place in a topic: of a record that was published, its own; anywhere else, the next to read."""

    topic: str
    partition: int
    offset: int


PublishOutcome = Position | AfterstayError
OnPublished = Callable[[PublishOutcome], None]


class Publisher(Protocol):
    """Appends records. All methods are called on the event loop's thread.

    How a publish fails:
    - `Transient` `log-unavailable`: for certain not in the log (disk full, no room, broker gone before it was sent);
      the publisher heals by itself, so try again later.
    - `Transient` `log-overloaded`: not even tried, because more is waiting than the limits allow; slow down.
    - `Transient` `log-failed`: not even tried, because this publisher has failed for good and said so through the
      `on_failure` that its constructor took; the process must stop accepting and exit non-zero (fault F12).
    - `Ambiguous` `log-write-unknown`: may be in the log or not. Do not acknowledge; a resend must be harmless.
    - `Permanent` `record-too-large`, `partition-unknown`, `topic-unknown`: it can never be stored like this.
    """

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions, ascending; they do not change while the process runs.

        Raises:
            Permanent: `topic-unknown`.
            Transient: `log-unavailable`.
        """

    async def publish(self, record: NewRecord) -> Position:
        """Append one record and return where, once it is durable; raise as listed above otherwise.

        Canceling the caller does not recall the record.
        """

    def submit(self, record: NewRecord, on_done: OnPublished) -> None:
        """Append one record and call `on_done` once with where it is, durable, or with the error as listed above.

        The way without a task per message. `on_done` runs on the event loop's thread, never inside `submit`; records
        that became durable together are reported in one turn of the loop, those of a partition in order. It must
        not raise; if it does, the others are still told and the loop's exception handler hears of it.
        """

    async def close(self) -> None:
        """Finish what was handed over, report it, and let go; what is submitted later gets `log-unavailable`."""


class Subscriber(Protocol):
    """Reads records from any position; it keeps no state between calls and changes nothing in the log.

    Every method may raise `Transient` `log-unavailable` (try again), `Permanent` `topic-unknown`, or `Permanent`
    `log-damaged` when not even the extent of the log can be read (restore it).
    """

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the topic's partitions, ascending."""

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        """Return for each partition the first offset that may still be read (retention moves it up)."""

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return for each partition the offset that the next record will have at least.

        An end below a position that was once read means that the log is another one: stop, or records are skipped.
        """

    async def read(self, topic: str, partition: int, offset: int, *, max_records: int, bytes_max: int) -> list[Record]:
        """Return the records at `offset` and after, ascending and without omission; empty when there are none yet.

        It stops before `bytes_max` of keys, values and headers would be passed, but always returns one record if
        there is one, so that a large record cannot block its partition. An offset below the beginning is read from
        the beginning. A damaged record is returned as such and does not end the list.

        Raises:
            Permanent: `partition-unknown`.
        """

    async def wait_for_records(self, topic: str, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        """Return True as soon as one of these partitions has a record at or after its position; False on time-out."""

    async def close(self) -> None:
        """Let go of files and sockets."""


class GroupPositions(Protocol):
    """Remembers how far each consumer group has read; apart from `Subscriber`, which has no state.

    A commit is a hint, not the truth: the truth is the consumer's own database, where position and effects move in
    one transaction (DESIGN §5). So a commit may be lost in a crash, never makes an effect, and may be set back: a
    lower offset than before is taken as given and means "read again from there".
    """

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the group's next offset to read for each partition that it ever committed; absent means never.

        Raises:
            Transient: `positions-unavailable`.
        """

    async def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Remember the next offset to read for these partitions, all or none; others stay as they are.

        Raises:
            Transient: `positions-unavailable`; going on without it is right.
        """

    async def close(self) -> None:
        """Let go of files and sockets."""
