"""A process's start, its stop, and its one bridge from asynchronous shells to synchronous code.

Promises:
- SIGTERM and SIGINT ask for a drain, SIGHUP for a look at changed files; nothing else in the project touches signals.
- A data folder has one owner. The claim is a `flock`, which the kernel drops when the owner and every process that
  inherited it are gone, however they went; the pid in the file is only there to be named to an operator.
- Asynchronous code calls synchronous code through `in_thread` and nothing else (house style 9).
"""

import asyncio
import contextvars
import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar, TypeVarTuple

from services.runtime.errors import Permanent

LOCK_FILE = "lock"
ORPHAN_WAIT_S = 10.0  # a worker that lost its parent drains for at most this long (F42)
_POLL_S = 0.05

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


async def in_thread(
    executor: Executor | None, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments
) -> _Result:
    """Run a synchronous function on the executor (None: the loop's own) and return its result.

    The function sees the caller's context variables, so its log lines keep their trace id. Canceling the caller
    does not stop the function: it runs to its end and its result is dropped.
    """
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(executor, context.run, function, *arguments)


@contextmanager
def stop_requested() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM or SIGINT sets; call it on the loop's thread, in the main thread.

    A second SIGINT interrupts at once, for the person who will not wait; a second SIGTERM changes nothing, since
    service managers send several.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def interrupt() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def hangup_heard(take_up: Callable[[], None]) -> Iterator[None]:
    """Call `take_up` on the loop's thread at each SIGHUP, which then does not end the process.

    It is what service managers send when files that a process has read have changed (systemd: `ExecReload`).
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, take_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


class FolderLock:
    """The claim to be the one owner of a data folder (fault F31: a second server refuses to start).

    Children that are to keep the claim alive inherit `fileno()`: by `fork`, or by `pass_fds` of a subprocess.
    """

    def __init__(self, folder: Path, *, option: str = "--data") -> None:
        """Take the folder, and the option of the command line by which an operator chooses another."""
        self._path = folder / LOCK_FILE
        self._option = option
        self._fd: int | None = None

    def fileno(self) -> int:
        """Return the descriptor that carries the claim."""
        assert self._fd is not None, "the folder is not locked"
        return self._fd

    def acquire(self, *, orphan_wait_s: float = ORPHAN_WAIT_S) -> Self:
        """Claim the folder; blocks for up to `orphan_wait_s` when only orphans of a dead owner still hold it.

        Raises:
            Permanent: `data-folder-in-use`, naming the pid, when a living process owns it or its orphans stay;
                `data-folder-unusable` when the folder cannot hold a lock.
        """
        assert self._fd is None, "the folder is locked already"
        fd = _open(self._path)
        try:
            self._wait(fd, orphan_wait_s)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return self

    def release(self) -> None:
        """Give up the claim of this process; inheritors keep theirs.

        The file stays: removing it would let two processes lock two files of the same name.
        """
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def _wait(self, fd: int, orphan_wait_s: float) -> None:
        deadline = time.monotonic() + orphan_wait_s
        while not _try_lock(fd, self._path):
            owner = _recorded_owner(fd)
            if owner is not None and _is_running(owner):
                raise Permanent(
                    "data-folder-in-use",
                    f"the data folder {self._path.parent} is in use by process {owner}; stop that process "
                    f"or choose another folder with {self._option}",
                )
            if time.monotonic() >= deadline:
                named = f"process {owner}, which owned it, is gone" if owner else "its owner is not known"
                raise Permanent(
                    "data-folder-in-use",
                    f"the data folder {self._path.parent} is still held: {named}, but another process holds "
                    f"on after {orphan_wait_s:g} s; find it with `fuser {self._path}` and stop it",
                )
            time.sleep(_POLL_S)


def is_owned(folder: Path) -> bool:
    """Tell whether somebody owns a data folder now; nothing is created, and a claim that is being made waits it out."""
    try:
        fd = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # never owned, or not readable by us
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(fd)
    return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error


def _try_lock(fd: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise _unusable(path, error) from error
    return True


def _unusable(path: Path, error: OSError) -> Permanent:
    return Permanent(
        "data-folder-unusable",
        f"the data folder {path.parent} cannot be locked ({error.strerror}); it must exist, be writable, and lie "
        "on a local disk",
    )


def _recorded_owner(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _is_running(pid: int) -> bool:
    """Tell whether a process lives; a zombie has already let go of its locks and does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True  # no /proc here, or it ended just now: the next round tells
    return status.rpartition(")")[2].split()[:1] != ["Z"]
