"""How a spool lies on disk: segments, how far each is forwarded, what is set aside, and the topics it remembers.

    SPOOL/lock                           the claim of the one process that owns it
    SPOOL/topics.json                    the partitions that the log had when it was last asked
    SPOOL/segments/NNNNNNNN-XXXXXXXX/    a segment: an embedded log of one topic and one partition, and `position`
    SPOOL/segments/…/keep                it has a record that cannot be forwarded: do not delete it
    SPOOL/quarantine/…                   segments with a record that cannot be forwarded, whole and for a person

A segment is written by one process in one life and only read afterwards, so a damaged one never stops a start. Its
name has a number, by which segments are in order, and a random part, so that a name is never used again. `position`
is how many of its records are forwarded, with a checksum, because a number that is too high would skip records. It
is written and not synced: a power cut may set it back, and then some records are forwarded twice.
Everything here is synchronous and blocks on the disk. Source: faults.md F08, F09; `streaming.md` §8.
"""

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.runtime.errors import AfterstayError, Permanent, Transient
from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.embedded.reader import LogReader
from services.runtime.eventlog.port import Record
from services.runtime.eventlog.spooled.spooled_record import SPOOL_TOPIC
from services.runtime.log import get_logger

SEGMENTS: Final = "segments"
QUARANTINE: Final = "quarantine"
TOPICS_FILE: Final = "topics.json"
POSITION_FILE: Final = "position"
KEEP_FILE: Final = "keep"

_TRASH: Final = "trash-"
_ONE_RECORD_BYTES: Final = 1  # a reader returns one record at least, however large
_PAGE_BYTES: Final = 4096
_FRAMES_OF_EMPTY_LOG_BYTES: Final = 32 + 4 * (24 + _PAGE_BYTES)  # the schema's four pages; the first record adds some

_log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Segment:
    """A part of the spool; changed on the event loop only.

    Attributes:
        position: The next record to forward.
        end: How many records it has that are known to be durable.
        disk_bytes: What it takes on the disk; estimated while it is written to.
        keep: A record of it cannot be forwarded: it is set aside once it is finished.
    """

    folder: Path
    position: int = 0
    end: int = 0
    disk_bytes: int = 0
    keep: bool = False

    @property
    def pending(self) -> int:
        """Return how many records wait to be forwarded."""
        return self.end - self.position

    @property
    def pending_bytes(self) -> int:
        """Return about how much of the disk they take."""
        return self.disk_bytes * self.pending // self.end if self.pending else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a start finds in the folder."""

    segments: list[Segment]
    oldest_timestamp_us: int | None
    quarantined_segments: int


def prepare(folder: Path) -> None:
    """Make the folders of a spool where they are missing.

    Raises:
        Permanent: `data-folder-unusable`.
    """
    try:
        for part in (folder, folder / SEGMENTS, folder / QUARANTINE):
            if not part.is_dir():
                part.mkdir(mode=0o700, parents=True)
                sync_names(part.parent)
    except OSError as error:
        raise layout.unusable(folder, str(error.strerror)) from error


def survey(folder: Path) -> Survey:
    """Return the segments with records to forward, in order; delete the others and set unreadable ones aside.

    A few seeks for each segment, whatever its length.

    Raises:
        Transient: `log-unavailable`, when the disk cannot be read now.
    """
    segments: list[Segment] = []
    oldest: int | None = None
    for path in sorted((folder / SEGMENTS).iterdir()):
        if path.name.startswith(_TRASH):
            shutil.rmtree(path, ignore_errors=True)  # the rest of a deletion that was interrupted
            continue
        try:
            segment, first = _look_into(path)
        except Permanent as damage:
            set_aside(folder, path, damage)
            continue
        if segment.pending == 0:
            finish(folder, segment)
            continue
        segments.append(segment)
        if oldest is None and first is not None and not first.damaged:
            oldest = first.timestamp_us
    kept_aside = sum(1 for _ in (folder / QUARANTINE).iterdir())
    return Survey(segments=segments, oldest_timestamp_us=oldest, quarantined_segments=kept_aside)


def new_segment(folder: Path) -> Segment:
    """Make the folder of the next segment, durably.

    Raises:
        OSError: there is no room, or no right to.
    """
    parent = folder / SEGMENTS
    numbers = [int(path.name.partition("-")[0]) for path in parent.iterdir() if not path.name.startswith(_TRASH)]
    path = parent / f"{max(numbers, default=0) + 1:08d}-{secrets.token_hex(4)}"
    path.mkdir(mode=0o700)
    sync_names(parent)
    return Segment(folder=path)


def finish(folder: Path, segment: Segment) -> None:
    """Take leave of a segment that is forwarded: it is deleted, or set aside if a record of it was not."""
    path = segment.folder
    if segment.keep:
        set_aside(folder, path, Permanent("record-damaged", "some of its records could not be forwarded"))
        return
    # One that is deleted by half is never read again.
    trash = path.with_name(_TRASH + path.name)
    path.rename(trash)
    sync_names(path.parent)
    shutil.rmtree(trash, ignore_errors=True)  # what stays is removed at the next start


def set_aside(folder: Path, path: Path, why: AfterstayError) -> None:
    """Move a segment to the quarantine, and say so."""
    kept = folder / QUARANTINE / path.name
    path.rename(kept)
    sync_names(folder / QUARANTINE)
    sync_names(path.parent)
    _log.critical("spool_segment_quarantined", code=why.code, reason=why.message, folder=str(kept))


def keep(path: Path) -> None:
    """Remember, durably, that a segment must not be deleted.

    Raises:
        OSError: the disk does not take it.
    """
    os.close(os.open(path / KEEP_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    sync_names(path)


def disk_bytes(path: Path) -> int:
    """Return the size of the files of a segment; 0 when it has just been deleted."""
    try:
        return sum(file.stat().st_size for file in path.iterdir())
    except FileNotFoundError:
        return 0


def read_position(path: Path) -> int | None:
    """Return how far a segment is forwarded; None if that is not to be had, so that it is forwarded from its start."""
    try:
        text, _, checksum = (path / POSITION_FILE).read_bytes().partition(b" ")
    except OSError:
        return 0 if not (path / POSITION_FILE).exists() else None
    if not text.isdigit() or checksum.strip() != b"%08x" % _checksum(path, text):
        return None
    return int(text)


def write_position(path: Path, position: int) -> None:
    """Remember how far a segment is forwarded.

    Raises:
        OSError: the disk does not take it; going on without is safe.
    """
    text = b"%020d" % position
    fd = os.open(path / POSITION_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, b"%s %08x\n" % (text, _checksum(path, text)), 0)
    finally:
        os.close(fd)


def read_topics(folder: Path) -> dict[str, int]:
    """Return the partition counts that were remembered; empty when there are none that make sense."""
    try:
        found = json.loads((folder / TOPICS_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {topic: count for topic, count in found.items() if isinstance(count, int) and count > 0}


def write_topics(folder: Path, partitions: Mapping[str, int]) -> None:
    """Remember partition counts, for a start while the log is away.

    Raises:
        OSError: the disk does not take it.
    """
    path = folder / TOPICS_FILE
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(json.dumps(dict(partitions)).encode())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_names(folder)


def sync_names(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _look_into(path: Path) -> tuple[Segment, Record | None]:
    """Return a segment as it lies there, and the first record to forward.

    Raises:
        Permanent: it cannot be read at all.
        Transient: `log-unavailable`.
    """
    try:
        reader = LogReader(path)
    except Permanent as error:
        if error.code != "log-missing":
            raise
        return Segment(folder=path), None  # killed between making the folder and the log in it
    except Transient as error:
        if _was_never_made(path):
            return Segment(folder=path), None
        if not _has_tables(path):
            raise layout.damaged("its tables are gone") from error
        raise
    try:
        (end,) = reader.end_offsets(SPOOL_TOPIC).values()
        position = read_position(path)
        if position is None or position > end:
            _log.warning("spool_position_lost", folder=str(path), records=end)
            position = 0
        first = reader.read(SPOOL_TOPIC, 0, position, 1, _ONE_RECORD_BYTES)
    finally:
        reader.close()
    segment = Segment(
        folder=path,
        position=position,
        end=end,
        disk_bytes=disk_bytes(path),
        keep=(path / KEEP_FILE).exists(),
    )
    return segment, first[0] if first else None


def _was_never_made(path: Path) -> bool:
    """Tell whether a process was killed while it made the log, before a record can have been in it."""
    log_file = path / layout.LOG_FILE
    frames = path / f"{layout.LOG_FILE}-wal"
    frames_bytes = frames.stat().st_size if frames.exists() else 0
    return log_file.stat().st_size <= _PAGE_BYTES and frames_bytes <= _FRAMES_OF_EMPTY_LOG_BYTES


def _has_tables(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path / layout.LOG_FILE)) as connection:
        try:
            return bool(layout.read_meta(connection))
        except sqlite3.Error:
            return True  # not known: what the reader said of it stands


def _checksum(path: Path, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(path.name.encode("ascii")))
