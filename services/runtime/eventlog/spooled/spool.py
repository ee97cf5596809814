"""The spool: a queue on disk, appended to at one end and forwarded from the other, in one order.

Promises:
- What `append` has reported is durable, and stays until it was forwarded or set aside where a person finds it.
- Batches come in the order of the appends. A record whose bytes are not what was written is never in one (F08, F09).
- The disk it takes is bounded: appends are for the caller to refuse when `has_room` says no, and a segment is
  deleted as soon as all of it is forwarded.
- Memory is bounded by what waits for the disk, which the caller limits, and one batch.

All methods are called on the event loop's thread; one task forwards. Appends go to the embedded log's writer, with
its group commit and its rule for a failed fsync: nothing more is believed, and the process has to end (F12).
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from services.runtime.errors import AfterstayError, Permanent, Transient
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher, PublisherLimits
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.port import NewRecord, PublishOutcome
from services.runtime.eventlog.spooled import folder as on_disk
from services.runtime.eventlog.spooled.folder import Segment
from services.runtime.eventlog.spooled.spooled_record import SPOOL_TOPIC, from_spool, to_spool
from services.runtime.lifecycle import in_thread
from services.runtime.log import get_logger

BATCH_RECORDS_MAX: Final = 200  # `streaming.md` §8: one at a time never caught up with 800 a second
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
KEPT_SEGMENT_BYTES: Final = 1024 * 1024  # an emptied segment this small is written on: flapping makes no files
_ROW_BYTES: Final = 100  # what a record takes beside its own bytes, before half-filled pages

OnStored = Callable[[AfterstayError | None], None]
_Append = tuple[NewRecord, int, OnStored]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The next records to forward.

    Attributes:
        begin: Where the first of them lies; the others follow without a gap.
        records: None stands for one that is damaged.
        stored: Indexes of those that the log has confirmed already, behind one that it did not take.
    """

    segment: Segment
    begin: int
    records: list[NewRecord | None]
    stored: frozenset[int]


class Spool:
    """The spool of a folder that this process has locked.

    Attributes:
        pending: Records that are durable and wait to be forwarded.
        waiting: Appends that wait for the disk.
        disk_bytes: What all segments take, those in the quarantine apart.
        oldest_timestamp_us: When the oldest pending record was received.
        changed: Set whenever an append was answered; for the one who forwards to wait on and clear.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        writer_limits: PublisherLimits,
        on_failure: Callable[[AfterstayError], None],
        factory: type[sqlite3.Connection],
    ) -> None:
        self.pending = 0
        self.waiting = 0
        self.disk_bytes = 0
        self.oldest_timestamp_us: int | None = None
        self.spooled_total = 0
        self.drained_total = 0
        self.quarantined_total = 0
        self.quarantined_segments = 0
        self.changed = asyncio.Event()
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._writer_limits = writer_limits
        self._on_failure = on_failure
        self._factory = factory
        self._segments: deque[Segment] = deque()  # the last one is written to
        self._active: Segment
        self._writer: EmbeddedPublisher
        self._roll_at_bytes = segment_bytes
        self._rolling: asyncio.Task[None] | None = None
        self._held: list[_Append] | None = None  # appends between two segments, for as long as the first is closed
        self._reader: tuple[Segment, EmbeddedSubscriber] | None = None
        self._stored: frozenset[int] = frozenset()  # offsets ahead of the first segment's position, of one batch
        self._failure: AfterstayError | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        segment_bytes: int,
        writer_limits: PublisherLimits,
        on_failure: Callable[[AfterstayError], None],
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> Self:
        """Open a spool, making it if there is none; what is in it stays and waits to be forwarded.

        Raises:
            Permanent: `data-folder-unusable`.
            Transient: `log-unavailable`.
        """
        spool = cls(
            folder,
            segment_bytes=segment_bytes,
            writer_limits=writer_limits,
            on_failure=on_failure,
            factory=factory,
        )
        found = await in_thread(None, on_disk.survey, folder)
        spool._segments.extend(found.segments)
        spool.pending = sum(segment.pending for segment in found.segments)
        spool.disk_bytes = sum(segment.disk_bytes for segment in found.segments)
        spool.oldest_timestamp_us = found.oldest_timestamp_us
        spool.quarantined_segments = found.quarantined_segments
        spool._use(*await spool._open_segment())
        return spool

    @property
    def pending_bytes(self) -> int:
        """Return about how much of the disk the pending records take."""
        return sum(segment.pending_bytes for segment in self._segments)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is in the spool and nothing is on its way into it."""
        return not self.pending and not self.waiting

    def append(self, record: NewRecord, size: int, on_stored: OnStored) -> None:
        """Append a record of so many bytes; `on_stored` is told later, with None once it is durable."""
        self.waiting += 1
        if self._held is not None:
            self._held.append((record, size, on_stored))
        else:
            self._write(record, size, on_stored)

    async def next_batch(self, records_max: int = BATCH_RECORDS_MAX) -> Batch | None:
        """Return the next records to forward, or None when none is pending.

        Raises:
            Transient: `log-unavailable`, when the disk cannot be read now.
        """
        while self._segments:
            segment = self._segments[0]
            if not segment.pending:
                if segment is self._active:
                    return None
                await self._finish(segment)
                continue
            try:
                return await self._read(segment, records_max)
            except Permanent as damage:
                await self._set_aside(segment, damage)
        return None

    async def advance(self, batch: Batch, done: int, *, quarantined: int, stored: frozenset[int]) -> None:
        """Note that the first `done` records of a batch are through, so many of them to be set aside.

        `stored` are indexes of the batch that are through as well; they come again, marked, with those before them.
        """
        segment = batch.segment
        assert batch.begin == segment.position, "batches are forwarded one after the other"
        if quarantined and not segment.keep:
            await in_thread(None, on_disk.keep, segment.folder)
            segment.keep = True
        segment.position += done
        self._stored = frozenset(batch.begin + index for index in stored if index >= done)
        self.pending -= done
        self.drained_total += done - quarantined
        self.quarantined_total += quarantined
        if not self.pending:
            self.oldest_timestamp_us = None
        elif done < len(batch.records):
            self._note_oldest(batch.records[done])
        try:
            await in_thread(None, on_disk.write_position, segment.folder, segment.position)
        except OSError as error:  # what is forwarded may be forwarded again after a restart, and that is harmless
            _log.warning("spool_position_not_written", folder=str(segment.folder), reason=str(error.strerror))
        if not segment.pending and segment is not self._active:
            await self._finish(segment)

    def start_afresh(self) -> None:
        """Begin a new segment if the present one has grown, so that an emptied spool gives its disk back."""
        if self._active.disk_bytes > KEPT_SEGMENT_BYTES or self._active.keep:
            self._start_rolling()

    async def close(self) -> None:
        """Store and report what was appended, and let go of the files."""
        if self._rolling is not None:
            await self._rolling
        await self._writer.close()
        await self._close_reader()

    # Appending

    def _write(self, record: NewRecord, size: int, on_stored: OnStored) -> None:
        segment = self._active
        disk_bytes = size + _ROW_BYTES
        segment.disk_bytes += disk_bytes
        self.disk_bytes += disk_bytes

        def on_done(outcome: PublishOutcome) -> None:
            self.waiting -= 1
            self.changed.set()
            if isinstance(outcome, AfterstayError):
                segment.disk_bytes -= disk_bytes
                self.disk_bytes -= disk_bytes
                on_stored(outcome)
                return
            segment.end = outcome.offset + 1
            if not self.pending:
                self.oldest_timestamp_us = record.timestamp_us
            self.pending += 1
            self.spooled_total += 1
            on_stored(None)

        self._writer.submit(to_spool(record), on_done)
        if segment.disk_bytes >= self._roll_at_bytes:
            self._start_rolling()

    def _start_rolling(self) -> None:
        if self._rolling is None and self._failure is None:
            self._rolling = asyncio.get_running_loop().create_task(self._roll(), name="spool-roll")

    async def _roll(self) -> None:
        """Go on in a new segment. Appends are held back only while the old one writes what it was handed over."""
        try:
            following, writer = await self._open_segment()
        except AfterstayError as error:
            self._roll_at_bytes = self._active.disk_bytes + self._segment_bytes // 4  # the old one does meanwhile
            _log.warning("spool_segment_not_made", code=error.code, reason=error.message)
            self._rolling = None
            return
        self._held = []
        full = self._active
        await self._writer.close()
        if self._failure is None:
            self._use(following, writer)
        else:
            await writer.close()  # nothing more is stored by this process; the closed one says so
        held, self._held = self._held, None
        self._rolling = None
        for record, size, on_stored in held:
            self._write(record, size, on_stored)
        self.changed.set()
        if full is not self._active:
            self._correct_size(full, await in_thread(None, on_disk.disk_bytes, full.folder))
            if not full.pending:
                await self._finish(full)

    async def _open_segment(self) -> tuple[Segment, EmbeddedPublisher]:
        try:
            segment = await in_thread(None, on_disk.new_segment, self._folder)
        except OSError as error:
            raise Transient(
                "log-unavailable", f"the spool {self._folder} cannot take another segment ({error.strerror})"
            ) from error
        writer = await EmbeddedPublisher.open(
            segment.folder, on_failure=self._fail, partitions=1, limits=self._writer_limits, factory=self._factory
        )
        return segment, writer

    def _use(self, segment: Segment, writer: EmbeddedPublisher) -> None:
        self._active = segment
        self._writer = writer
        self._segments.append(segment)
        self._roll_at_bytes = self._segment_bytes

    def _fail(self, error: AfterstayError) -> None:
        if self._failure is None:
            self._failure = error
            self._on_failure(error)

    def _correct_size(self, segment: Segment, disk_bytes: int) -> None:
        if segment in self._segments:
            self.disk_bytes += disk_bytes - segment.disk_bytes
            segment.disk_bytes = disk_bytes

    # Forwarding

    async def _read(self, segment: Segment, records_max: int) -> Batch:
        subscriber = await self._reader_of(segment)
        begin = segment.position
        count = min(segment.pending, records_max)
        found = await subscriber.read(SPOOL_TOPIC, 0, begin, max_records=count, bytes_max=BATCH_BYTES_MAX)
        if [record.offset for record in found] != list(range(begin, begin + len(found))) or not found:
            raise Permanent("log-damaged", f"the segment {segment.folder.name} does not hold what was written to it")
        records = [from_spool(record) for record in found]
        self._note_oldest(records[0])
        stored = frozenset(offset - begin for offset in self._stored)
        return Batch(segment=segment, begin=begin, records=records, stored=stored)

    async def _reader_of(self, segment: Segment) -> EmbeddedSubscriber:
        if self._reader is not None and self._reader[0] is segment:
            return self._reader[1]
        await self._close_reader()
        self._reader = (segment, await EmbeddedSubscriber.open(segment.folder))
        return self._reader[1]

    async def _close_reader(self) -> None:
        if self._reader is not None:
            _, subscriber = self._reader
            self._reader = None
            await subscriber.close()

    def _note_oldest(self, record: NewRecord | None) -> None:
        if record is not None:
            self.oldest_timestamp_us = record.timestamp_us

    async def _finish(self, segment: Segment) -> None:
        """Take leave of a segment that is forwarded."""
        if segment in self._segments:
            await self._drop(segment)
            self.quarantined_segments += segment.keep
            await in_thread(None, on_disk.finish, self._folder, segment)

    async def _set_aside(self, segment: Segment, damage: Permanent) -> None:
        """Pass over a segment that cannot be read as a whole."""
        if segment is self._active:
            self._start_rolling()
            if self._rolling is None:
                raise Transient("log-unavailable", "the spool is damaged and has failed")
            await self._rolling
            if segment is self._active:
                raise Transient("log-unavailable", "a damaged segment of the spool could not be closed yet")
        self.pending -= segment.pending
        self.quarantined_total += segment.pending
        await self._drop(segment)
        await in_thread(None, on_disk.set_aside, self._folder, segment.folder, damage)
        self.quarantined_segments += 1

    async def _drop(self, segment: Segment) -> None:
        self._segments.remove(segment)
        self._stored = frozenset()
        self.disk_bytes -= segment.disk_bytes
        if not self.pending:
            self.oldest_timestamp_us = None
        if self._reader is not None and self._reader[0] is segment:
            await self._close_reader()
