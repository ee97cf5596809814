"""How the embedded log lies on disk: the files, the tables, the checksum, and the connections that suit them.

`log.db` holds the records. Each (topic, partition) is a *stream* with a small number; a record's rowid is that
number and its offset packed together, so a stream is one range of one table, an append is one row, and the greatest
rowid below a stream's limit is its last offset. Measured against a table WITHOUT ROWID on (topic, partition, offset):
a record of 3.5 KB stays in one page instead of spilling into an overflow page, 10 to 20 % less time and space.

Offsets are dense and start at 0 (the port promises less); a missing row is therefore damage, and is reported as such.
The checksum (CRC-32) covers a record's place, time, key, headers and value: SQLite checks the frames of its
write-ahead log but not the pages of the database file, where a flipped bit would otherwise be delivered (fault F09).
A flipped bit may also cut a branch off the table without a trace; so each stream notes, at every checkpoint, an end
that it had reached (`known_end`), and a table that ends before it is known to be damaged.

The write-ahead log is synced on every commit (`synchronous=FULL`, and F_FULLFSYNC where macOS needs it); files are
readable by their owner only. Source: DESIGN §5, `streaming.md` §7, https://www.sqlite.org/wal.html.
"""

import contextlib
import os
import sqlite3
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from services.runtime.errors import Permanent, Transient

LOG_FILE = "log.db"
FORMAT = 1
PARTITIONS_DEFAULT = 4  # fixed when the log is created; four consumers at once are plenty for one machine
PARTITIONS_MAX = 1024
BUSY_TIMEOUT_S = 5.0  # a backup or a shell holds the file for moments, not longer (F31)
OFFSET_BITS = 40  # 10^12 records a partition: 34 years at 1,000 a second; leaves 2^23 streams in SQLite's 63 bits

_OFFSET_MASK = (1 << OFFSET_BITS) - 1
_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE stream (
        id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
        known_end INTEGER NOT NULL, checksum INTEGER NOT NULL
    )""",
    """CREATE TABLE record (
        id INTEGER PRIMARY KEY, timestamp_us INTEGER NOT NULL, checksum INTEGER NOT NULL,
        key BLOB NOT NULL, headers BLOB NOT NULL, value BLOB NOT NULL
    )""",
)
_STREAMS = f"""
SELECT id, CAST(topic AS BLOB), partition, known_end, checksum, (
    SELECT record.id FROM record
    WHERE record.id BETWEEN stream.id << {OFFSET_BITS} AND (stream.id << {OFFSET_BITS}) + {_OFFSET_MASK}
    ORDER BY record.id DESC LIMIT 1
) FROM stream ORDER BY topic, partition
"""  # noqa: S608 - made of two constants
_PLACE = struct.Struct("<qq")

Headers = tuple[tuple[str, bytes], ...]
_encoder = msgspec.msgpack.Encoder()
_headers_decoder = msgspec.msgpack.Decoder(Headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A topic's partition: its number, the offset after the last row, and the end it is known to have reached."""

    id: int
    topic: str
    partition: int
    stored_end: int
    known_end: int

    @property
    def end(self) -> int:
        """Return the offset after the last record, whether its row can be found or not."""
        return max(self.stored_end, self.known_end)


def record_id(stream: int, offset: int) -> int:
    """Return the rowid of a stream's offset."""
    return stream << OFFSET_BITS | offset


def offset_of(identifier: int) -> int:
    """Return the offset in a rowid."""
    return identifier & _OFFSET_MASK


def encode_headers(headers: Headers) -> bytes:
    """Return headers as stored."""
    return _encoder.encode(headers)


def decode_headers(stored: bytes) -> Headers:
    """Return stored headers.

    Raises:
        msgspec.DecodeError: they are not what `encode_headers` wrote.
    """
    return _headers_decoder.decode(stored)


def checksum(identifier: int, timestamp_us: int, key: bytes, headers: bytes, value: bytes) -> int:
    """Return the CRC-32 of a record and its place."""
    return zlib.crc32(value, zlib.crc32(headers, zlib.crc32(key, zlib.crc32(_PLACE.pack(identifier, timestamp_us)))))


def open_for_writing(
    folder: Path, *, partitions: int, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """Open the log of a data folder, making it first if there is none, for the one writer.

    `partitions` counts only when the log is made. The connection may be used from another thread than this one.

    Raises:
        Permanent: `data-folder-unusable`, `log-damaged`, `log-format-unknown`.
        Transient: `log-unavailable`.
    """
    assert 1 <= partitions <= PARTITIONS_MAX, f"a log has 1 to {PARTITIONS_MAX} partitions, not {partitions}"
    path = make_file(folder / LOG_FILE)
    try:
        connection = connect(path, factory)
        try:
            _prepare(connection, partitions)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    return connection


def open_for_reading(folder: Path) -> sqlite3.Connection:
    """Open the log of a data folder to read; only the calling thread may use the connection.

    Raises:
        Permanent: `log-missing`, `log-damaged`, `log-format-unknown`.
        Transient: `log-unavailable`.
    """
    path = folder / LOG_FILE
    if not path.exists():
        raise Permanent(
            "log-missing", f"there is no event log at {path}; start `afterstay run` on this folder once to make it"
        )
    try:
        # Not opened read-only: after a crash the first reader has to be able to recover the write-ahead log.
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.text_factory = bytes  # damage may turn a blob into text that is not UTF-8
        connection.execute("PRAGMA query_only = ON")
        check_format(connection)
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    return connection


def make_file(path: Path) -> Path:
    """Return the path of a file that is there, readable by its owner only, and whose name is durable.

    Raises:
        Permanent: `data-folder-unusable`.
    """
    try:
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            _sync_folder(path.parent)
    except OSError as error:
        raise unusable(path.parent, str(error.strerror)) from error
    return path


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """Open a SQLite file for explicit transactions, in write-ahead mode.

    Raises:
        Permanent: `data-folder-unusable`, where the file system cannot share memory between processes.
    """
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=factory
    )
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        connection.close()
        raise unusable(path.parent, f"SQLite answered journal_mode={mode} where WAL is needed")
    return connection


def read_meta(connection: sqlite3.Connection) -> Mapping[str, int]:
    """Return the log's format and partition count; empty while the log is being made."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()
    if tables == (0,):
        return {}
    rows = connection.execute("SELECT CAST(name AS BLOB), value FROM meta")
    return {name.decode(): value for name, value in rows}


def check_format(connection: sqlite3.Connection) -> int:
    """Return the partition count of a log that this code can read.

    Raises:
        Permanent: `log-format-unknown`.
        Transient: `log-unavailable`, while another process is making it.
    """
    meta = read_meta(connection)
    if not meta:
        raise Transient("log-unavailable", "the event log is being made by another process; try again")
    if meta.get("format") != FORMAT:
        raise Permanent(
            "log-format-unknown",
            f"the event log has format {meta.get('format')} and this version reads format {FORMAT}; use the "
            "version of afterstay that wrote it",
        )
    return meta["partitions"]


def read_streams(connection: sqlite3.Connection) -> dict[str, list[Stream]]:
    """Return the streams of each topic that was ever written, by partition; a few seeks, whatever the length.

    Raises:
        Permanent: `log-damaged`, when a stream's own row is not what was written.
    """
    streams: dict[str, list[Stream]] = {}
    for identifier, topic, partition, known_end, stored_checksum, last in connection.execute(_STREAMS):
        if stored_checksum != checksum(record_id(identifier, known_end), partition, topic, b"", b""):
            raise damaged("the list of streams does not fit its checksum")
        stored_end = 0 if last is None else offset_of(last) + 1
        name = topic.decode()
        streams.setdefault(name, []).append(
            Stream(id=identifier, topic=name, partition=partition, stored_end=stored_end, known_end=known_end)
        )
    return streams


def stream_row(identifier: int, topic: str, partition: int, known_end: int) -> tuple[int, str, int, int, int]:
    """Return the row of a stream, with its checksum."""
    place = record_id(identifier, known_end)
    return identifier, topic, partition, known_end, checksum(place, partition, topic.encode(), b"", b"")


def unusable(folder: Path, why: str) -> Permanent:
    """Return the error for a folder that cannot hold the log."""
    return Permanent(
        "data-folder-unusable",
        f"the data folder {folder} cannot hold the event log ({why}); it must exist, be writable, and lie on a "
        "local disk",
    )


def unreadable(path: Path, error: sqlite3.Error) -> Permanent | Transient:
    """Return the error for a log file that SQLite will not read as a whole."""
    if is_damage(error):
        return damaged(error_name(error))
    return Transient("log-unavailable", f"{path} cannot be read now ({error_name(error)}); try again")


def damaged(why: str) -> Permanent:
    """Return the error for a log that is broken beyond single records."""
    return Permanent(
        "log-damaged",
        f"the event log is damaged ({why}); keep the file, restore the data folder from a backup and let the "
        "hospitals send again what came after it",
    )


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether SQLite found the file's structure broken, as against busy or out of reach."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def error_name(error: sqlite3.Error) -> str:
    """Return SQLite's name of the error, or the exception's when the driver itself raised it."""
    return str(getattr(error, "sqlite_errorname", type(error).__name__))


def _prepare(connection: sqlite3.Connection, partitions: int) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer chooses when, after it has answered
    if not read_meta(connection):
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            meta = [("format", FORMAT), ("partitions", partitions)]
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    check_format(connection)


def _sync_folder(folder: Path) -> None:
    """Make the names of new files durable, and the folder's own, which may be as new."""
    _sync_names(folder)
    with contextlib.suppress(PermissionError):  # above our folder there may be nothing for us to read
        _sync_names(folder.parent)


def _sync_names(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
