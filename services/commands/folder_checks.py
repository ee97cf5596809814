"""Checks of the data folder: disk, lock, files, books. They create nothing that stays and change nothing."""

import fcntl
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from services.commands.data_source import DataSource
from services.commands.findings import Finding, failed, passed, warned
from services.commands.status import read_status
from services.runtime.database import DATABASE_FILE
from services.runtime.errors import Transient
from services.runtime.eventlog.embedded.layout import LOG_FILE, error_name, is_damage
from services.runtime.lifecycle import LOCK_FILE

SYNCS: Final = 16
SYNC_SLOW_S: Final = 0.02
"""Each group of acknowledgements waits for one; p99 under 10 ms at half load is the goal (DESIGN §7) [D]."""
SYNC_FAKE_S: Final = 0.000_02
"""Faster than any device answers: nothing was written [D]."""
FREE_FAIL_BYTES: Final = 512 * 1024**2
FREE_WARN_BYTES: Final = 5 * 1024**3
"""About a million messages with their events, 4 KB each [D]."""

_SHARED: Final = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "vboxsf"}
_VOLATILE: Final = {"tmpfs", "ramfs"}


def examine_folder(data: Path) -> Iterator[Finding]:
    """Look whether the folder is there, can be written, and lies where it keeps what it is given."""
    if not data.is_dir():
        yield from _examine_missing(data)
        return
    yield from _examine_file_system(data)
    with tempfile.NamedTemporaryFile(dir=data, prefix=".doctor-") as probe:
        seconds = [_timed_sync(probe.fileno()) for _ in range(SYNCS)]
    typical = statistics.median(seconds)
    text = f"writable; a sync takes {typical * 1000:.2f} ms (slowest of {SYNCS}: {max(seconds) * 1000:.2f} ms)"
    if typical > SYNC_SLOW_S:
        yield warned("disk", f"{text}: every acknowledgement waits for one", "move the folder to a faster local disk")
    elif typical < SYNC_FAKE_S:
        text += ": too fast to be true, so what was acknowledged may be lost with the power"
        yield warned("disk", text, "move the folder to a disk that really writes on fsync")
    else:
        yield passed("disk", text)


def examine_space(data: Path) -> Iterator[Finding]:
    """Look how much room there is."""
    free = shutil.disk_usage(_existing(data)).free
    text = f"{free / 1024**3:.1f} GiB free"
    fix = "free some space, or move the data folder to a larger disk while nothing runs"
    if free < FREE_FAIL_BYTES:
        yield failed("space", f"{text}: soon nothing can be acknowledged, and senders will queue", fix)
    elif free < FREE_WARN_BYTES:
        yield warned("space", text, fix)
    else:
        yield passed("space", text)


def owner_of(data: Path) -> int | None:
    """Return the process that runs on this folder (0 where it cannot be named), or `None`.

    The claim is a `flock` that is asked for and given back at once: a `run` that starts in this very moment waits.
    """
    try:
        descriptor = os.open(data / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        written = os.pread(descriptor, 32, 0).strip()
        return int(written) if written.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def examine_lock(owner: int | None) -> Iterator[Finding]:
    """Say whether `run` is running."""
    yield passed("running", "nothing runs on this folder" if owner is None else f"process {owner or '(unknown)'} runs")


def examine_files(data: Path) -> Iterator[Finding]:
    """Let SQLite check its files."""
    for name in (LOG_FILE, DATABASE_FILE):
        file = data / name
        if not file.exists():
            yield passed(name, "not made yet")
            continue
        problems = _quick_check(file)
        if problems:
            yield failed(
                name,
                f"damaged: {problems[0]}" + (f" and {len(problems) - 1} more" if len(problems) > 1 else ""),
                f"stop `run`, keep a copy of {data}, restore a backup, and ask the hospitals to send again since then",
            )
        else:
            yield passed(name, f"sound ({file.stat().st_size / 1024**2:.1f} MiB)")


def examine_books(source: DataSource) -> Iterator[Finding]:
    """Balance the books."""
    status = read_status(source)
    for problem in status.problems:
        yield failed("books", problem, "keep a copy of all data and report it: a message may not be followed up")
    if status.balanced:
        yield passed("books", f"they balance: {status.received} received, {status.pending} pending")
    if status.outcomes.dead_letter:
        reasons = ", ".join(f"{n} {reason}" for reason, n in status.dead_letters.items())
        yield warned(
            "dead-letters",
            f"{status.outcomes.dead_letter} messages could not take effect: {reasons}",
            "see `afterstay dlq ls`; mend the feeds file or have them resent, then `afterstay dlq replay`",
        )


def _examine_missing(data: Path) -> Iterator[Finding]:
    parent = _existing(data)
    if data.exists() or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        yield failed("folder", f"{data} is no folder and cannot become one", "choose another with --data")
    else:
        yield warned("folder", f"{data} is not there yet", "check --data; the first `afterstay run` makes it")


def _examine_file_system(data: Path) -> Iterator[Finding]:
    kind = _file_system_of(data)
    if kind in _SHARED:
        yield failed(
            "folder",
            f"{data} lies on {kind}, where SQLite's log cannot be shared between processes",
            "move it to a local disk",
        )
    elif kind in _VOLATILE:
        yield warned("folder", f"{data} lies in memory ({kind}) and is lost with the machine", "move it to a disk")
    else:
        yield passed("folder", f"{data} is there ({kind or 'unknown file system'})")


def _file_system_of(data: Path) -> str | None:
    """Return the type of the mount that a folder lies on, where the system tells (Linux)."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    mounts = [(Path(fields[1].replace("\\040", " ")), fields[2]) for line in lines if len(fields := line.split()) > 2]
    place = data.resolve()
    around = [(len(mount.parts), index) for index, (mount, _) in enumerate(mounts) if place.is_relative_to(mount)]
    return mounts[max(around)[1]][1] if around else None


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())


def _timed_sync(descriptor: int) -> float:
    began = time.perf_counter()
    os.pwrite(descriptor, os.urandom(4096), 0)
    os.fsync(descriptor)
    return time.perf_counter() - began


def _quick_check(file: Path) -> list[str]:
    try:
        with closing(sqlite3.connect(file, timeout=5.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(20)")]
    except sqlite3.Error as error:
        if is_damage(error):
            return [error_name(error)]
        raise Transient("file-busy", f"{file} cannot be read now ({error_name(error)}): try again") from error
    return [] if found == ["ok"] else found
