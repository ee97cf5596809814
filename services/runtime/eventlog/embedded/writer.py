"""The one thread that writes the embedded log: many appends, one fsync.

Promise: an append is reported as done only after the transaction that holds it has been synced to the disk.
Everything that waits when the thread comes round goes into one transaction (group commit), so the disk's sync, not
the message, is what a busy listener pays for; a lone message never waits for company.

What happens when SQLite fails:
- *Before COMMIT*, or in COMMIT with "disk full", "write failed" or "busy": the transaction is rolled back and for
  certain not in the log. The thread stays as it is; the next append is the probe that finds the disk mended (F10).
- *Otherwise in COMMIT* (a failed fsync above all): the frames are in the file and may survive. The callers get
  `Ambiguous`, and the writer has failed for good: after a failed fsync the kernel may call lost pages clean, so the
  same file must not be synced again and believed (F12). The process has to end; opening the log again recovers it.
- Anything else that is not about room or waiting (damage, a second writer) also fails the writer for good.

While the GIL is busy with parsing, each SQLite call costs this thread a wait for it; therefore rows go in by
statements of up to 64 rows, not one by one.
"""

import contextlib
import ctypes
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from services.runtime.errors import AfterstayError, Ambiguous, Transient
from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.port import NewRecord, OnPublished, Position
from services.runtime.log import get_logger

WAL_RESTART_WAIT_MS = 100  # how long one try holds up acknowledgements
_COMMIT_OVERHEAD_BYTES = 4 * 4096  # pages that one small commit writes beside its records' own, measured
_ROWS_PER_STATEMENT = (64, 8, 1)  # few sizes: SQLite keeps each statement, with what was last bound to it
_COLUMNS = 6

_HEALS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

# An append on its way: the record, its encoded headers, its bytes, whom to tell. A plain tuple, since one is made for
# every message on the hot path.
Append = tuple[NewRecord, bytes, int, OnPublished]
Outcome = list[Position] | AfterstayError

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterLimits:
    """How much goes into one commit, and how far the write-ahead log may run ahead of the database file."""

    batch_records_max: int = 1024  # a commit of 3.5 KB records then takes about 20 ms; nobody waits long behind it
    batch_bytes_max: int = 4 * 1024 * 1024
    checkpoint_bytes: int = 1024 * 1024  # pauses of 1 to 2 ms; SQLite's own 1,000 pages pause 5 (measured)
    wal_bytes_max: int = 64 * 1024 * 1024  # beyond it the writer waits for readers, to start the file again


class LogWriter:
    """Owns the writing connection and the thread that uses it.

    `report` is called on that thread with appends and their outcome, positions in the same order or one error for
    all; `fail` once, when the writer has failed for good; `end` last of all, with False and nothing, or with True and
    the appends in hand if the thread broke through a defect.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        limits: WriterLimits,
        *,
        report: Callable[[list[Append], Outcome], None],
        fail: Callable[[AfterstayError], None],
        end: Callable[[bool, list[Append]], None],
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._report = report
        self._fail = fail
        self._end = end
        self._partitions = layout.check_format(connection)
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA journal_size_limit = {limits.wal_bytes_max // 4}")  # kept after it has outgrown
        streams = layout.read_streams(connection)
        self._streams = {topic: [stream.id for stream in partitions] for topic, partitions in streams.items()}
        self._next_offsets: dict[int, int] = {}
        for stream in chain.from_iterable(streams.values()):
            if stream.stored_end < stream.known_end:
                raise layout.damaged(f"records {stream.stored_end} to {stream.known_end - 1} of a stream are gone")
            self._next_offsets[stream.id] = stream.end
        self._queue: queue.SimpleQueue[list[Append] | None] = queue.SimpleQueue()
        self._in_hand: list[Append] = []
        self._failed = False
        self._restart_wal_bytes = limits.wal_bytes_max
        self._unchecked_bytes = limits.checkpoint_bytes  # a log left by a crash is checkpointed after its first commit
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    @property
    def partitions(self) -> int:
        """Return the partition count of every topic."""
        return self._partitions

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, appends: list[Append]) -> None:
        """Hand over appends; they are written in this order."""
        self._queue.put(appends)

    def stop(self) -> None:
        """Ask the thread to end after what was handed over so far."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait for the thread to be gone."""
        self._thread.join()

    def leftover(self) -> list[Append]:
        """Return what the thread will not take any more, once it has ended."""
        return self._take_waiting([])[0]

    def _run(self) -> None:
        broke = True
        try:
            going_on = True
            while going_on and (first := self._queue.get()) is not None:
                appends, going_on = self._take_waiting(first)
                self._in_hand = appends
                for batch in list(_split(appends, self._limits)):
                    self._report(batch, self._append(batch))
                    self._in_hand = self._in_hand[len(batch) :]
                    self._checkpoint_when_due()
            broke = False
        finally:
            self._close()
            self._end(broke, self._in_hand)

    def _close(self) -> None:
        """Close the file, unless it has failed: see `_give_up`."""
        if not self._failed:
            with contextlib.suppress(sqlite3.Error):  # all that was reported lies in the write-ahead log
                self._note_ends()
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    def _take_waiting(self, appends: list[Append]) -> tuple[list[Append], bool]:
        """Add all that waits in the queue; False when it was the request to stop that came last."""
        try:
            while True:
                more = self._queue.get_nowait()
                if more is None:
                    return appends, False
                appends += more
        except queue.Empty:
            return appends, True

    def _append(self, batch: list[Append]) -> Outcome:
        if self._failed:
            return failed_for_good()
        committing = False
        try:
            parameters, positions, next_offsets = self._lay_out(batch)
            self._connection.execute("BEGIN IMMEDIATE")
            self._insert(parameters)
            committing = True
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._roll_back(error, committing=committing)
        self._next_offsets.update(next_offsets)
        return positions

    def _lay_out(self, batch: list[Append]) -> tuple[list[object], list[Position], dict[int, int]]:
        """Return the batch as one flat list of parameters, where each record goes, and the offsets after it."""
        next_offsets: dict[int, int] = {}
        parameters: list[object] = []
        positions: list[Position] = []
        for record, headers, size, _on_done in batch:
            stream = (self._streams.get(record.topic) or self._add_topic(record.topic))[record.partition]
            offset = next_offsets.get(stream)
            if offset is None:
                offset = self._next_offsets[stream]
            next_offsets[stream] = offset + 1
            identifier = layout.record_id(stream, offset)
            checksum = layout.checksum(identifier, record.timestamp_us, record.key, headers, record.value)
            parameters += (identifier, record.timestamp_us, checksum, record.key, headers, record.value)
            positions.append(Position(topic=record.topic, partition=record.partition, offset=offset))
            self._unchecked_bytes += size
        self._unchecked_bytes += _COMMIT_OVERHEAD_BYTES
        return parameters, positions, next_offsets

    def _add_topic(self, topic: str) -> list[int]:
        """Give a new topic its streams, in a transaction of its own."""
        first = len(self._next_offsets) + 1
        streams = list(range(first, first + self._partitions))
        rows = [layout.stream_row(stream, topic, partition, 0) for partition, stream in enumerate(streams)]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO stream VALUES (?, ?, ?, ?, ?)", rows)
        self._connection.execute("COMMIT")
        self._streams[topic] = streams
        self._next_offsets.update(dict.fromkeys(streams, 0))
        return streams

    def _insert(self, parameters: list[object]) -> None:
        begin = 0
        for rows in _ROWS_PER_STATEMENT:
            width = rows * _COLUMNS
            while len(parameters) - begin >= width:
                self._connection.execute(_INSERTS[rows], parameters[begin : begin + width])
                begin += width

    def _roll_back(self, error: sqlite3.Error, *, committing: bool) -> AfterstayError:
        heals = _heals(error)
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            heals = False
        if not heals:
            self._give_up(error)
        if committing and not heals:
            return Ambiguous(
                "log-write-unknown",
                f"the disk failed while the event log was being synced ({layout.error_name(error)}); the record may "
                "be stored or not, so do not acknowledge it: the sender will send it again",
            )
        if not heals:
            return failed_for_good()
        return Transient(
            "log-unavailable",
            f"the event log cannot be written now ({layout.error_name(error)}); nothing was stored. Make room on the "
            "disk or end what locks the file; it goes on by itself",
        )

    def _give_up(self, error: sqlite3.Error) -> None:
        self._failed = True
        # Closing would sync the file again and believe it, and the interpreter closes what it frees at its end.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        _log.critical("log_writer_failed", code="log-failed", reason=layout.error_name(error))
        self._fail(failed_for_good())

    def _checkpoint_when_due(self) -> None:
        """Copy the write-ahead log into the database file, after the answers have gone out."""
        if self._failed or self._unchecked_bytes < self._limits.checkpoint_bytes:
            return
        try:
            self._note_ends()
            _busy, frames, _copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._restart_wal_when_outgrown(frames * self._page_bytes)
        except sqlite3.Error as error:
            if not _heals(error):
                self._give_up(error)
                return
        self._unchecked_bytes = 0

    def _note_ends(self) -> None:
        """Write down how far the streams have come, so that a table cut short is found out."""
        rows = [
            layout.stream_row(stream, topic, partition, self._next_offsets[stream])
            for topic, streams in self._streams.items()
            for partition, stream in enumerate(streams)
        ]
        with self._connection:  # rolls back if it fails
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("REPLACE INTO stream VALUES (?, ?, ?, ?, ?)", rows)

    def _restart_wal_when_outgrown(self, wal_bytes: int) -> None:
        """Wait a moment for readers to let go, so that the next commit starts the file from its beginning.

        While a reader stays (a forgotten shell with an open transaction), one try for each quarter of the limit.
        """
        if wal_bytes <= self._limits.wal_bytes_max:
            self._restart_wal_bytes = self._limits.wal_bytes_max
            return
        if wal_bytes <= self._restart_wal_bytes:
            return
        self._restart_wal_bytes = wal_bytes + self._limits.wal_bytes_max // 4
        _log.warning("log_wal_outgrown", bytes=wal_bytes, limit=self._limits.wal_bytes_max)
        self._connection.execute(f"PRAGMA busy_timeout = {WAL_RESTART_WAIT_MS}")
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(layout.BUSY_TIMEOUT_S * 1000)}")


def failed_for_good() -> Transient:
    """Return the answer to whatever comes after the writer has failed."""
    return Transient(
        "log-failed",
        "the event log has failed and nothing more is stored by this process; mend the disk, then start it again",
    )


def _heals(error: sqlite3.Error) -> bool:
    """Tell whether the error is about room or waiting, and so for certain left nothing in the log."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code == sqlite3.SQLITE_IOERR_WRITE or code & 0xFF in _HEALS


def _split(appends: list[Append], limits: WriterLimits) -> Iterator[list[Append]]:
    """Yield the appends in batches within the limits; a single one may pass the limit of bytes."""
    batch: list[Append] = []
    batch_bytes = 0
    for append in appends:
        full = len(batch) == limits.batch_records_max or batch_bytes + append[2] > limits.batch_bytes_max
        if batch and full:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(append)
        batch_bytes += append[2]
    if batch:
        yield batch


_ROW = f"({', '.join('?' * _COLUMNS)})"
_INSERTS = {
    rows: f"INSERT INTO record VALUES {', '.join([_ROW] * rows)}"  # noqa: S608 - made of question marks
    for rows in _ROWS_PER_STATEMENT
}
