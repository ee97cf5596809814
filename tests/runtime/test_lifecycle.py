"""One owner for a data folder, however the last one died; signals that drain; one bridge to synchronous code."""

import asyncio
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import pytest

from services.runtime.errors import Permanent
from services.runtime.lifecycle import LOCK_FILE, FolderLock, hangup_heard, in_thread, is_owned, stop_requested

# Takes the lock and says so; with "child" it first starts a process that inherits the lock and outlives it.
OWNER = """
import subprocess, sys
from pathlib import Path
from services.runtime.lifecycle import FolderLock
lock = FolderLock(Path(sys.argv[1])).acquire()
child = None
if sys.argv[2] == "child":
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    child = subprocess.Popen(command, pass_fds=[lock.fileno()], stdin=sys.stdin, stdout=subprocess.DEVNULL)
print(child.pid if child else 0, flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(root: Path, folder: Path, *, child: bool = False) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", OWNER, os.fspath(folder), "child" if child else "alone"]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        try:
            yield process
        finally:
            process.kill()
            assert process.stdin is not None
            process.stdin.close()  # which ends an inheritor too


@pytest.fixture
def root(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath


# The lock


def test_a_folder_in_use_is_refused_at_once_naming_the_owner(tmp_path: Path, root: Path) -> None:
    with owner(root, tmp_path) as process:
        with pytest.raises(Permanent) as refusal:
            FolderLock(tmp_path).acquire()
        assert refusal.value.code == "data-folder-in-use"
        assert f"process {process.pid}" in refusal.value.message
        assert str(tmp_path) in refusal.value.message


def test_a_second_lock_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(Permanent) as refusal:
        FolderLock(tmp_path).acquire()
    assert f"process {os.getpid()}" in refusal.value.message


def test_a_released_folder_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        with FolderLock(tmp_path) as lock:
            assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
            assert lock.fileno() > 2
    lock.release()


def test_a_folder_whose_owner_was_killed_is_free_at_once(tmp_path: Path, root: Path) -> None:
    with owner(root, tmp_path) as process:
        process.kill()
        process.wait()
        with FolderLock(tmp_path):
            assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_lock_that_a_child_of_a_killed_owner_still_holds_is_waited_for(tmp_path: Path, root: Path) -> None:
    with owner(root, tmp_path, child=True) as process:
        process.kill()
        process.wait()
        lock = FolderLock(tmp_path)
        waiting = threading.Thread(target=lock.acquire, daemon=True)
        waiting.start()
        wait_until(lambda: is_polling(waiting))
        assert process.stdin is not None
        process.stdin.close()  # the orphan reads the same pipe, and ends
        waiting.join(20)
        assert not waiting.is_alive()
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
        lock.release()


def test_an_orphan_that_stays_is_refused_after_the_wait_and_says_who_is_gone(tmp_path: Path, root: Path) -> None:
    with owner(root, tmp_path, child=True) as process:
        process.kill()
        process.wait()
        with pytest.raises(Permanent) as refusal:
            FolderLock(tmp_path).acquire(orphan_wait_s=0.1)
        assert refusal.value.code == "data-folder-in-use"
        assert f"process {process.pid}, which owned it, is gone" in refusal.value.message


def test_an_owner_that_is_a_zombie_counts_as_gone(tmp_path: Path, root: Path) -> None:
    with owner(root, tmp_path, child=True) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet taken note of
        with pytest.raises(Permanent) as refusal:
            FolderLock(tmp_path).acquire(orphan_wait_s=0.1)
        assert "is gone" in refusal.value.message


def test_a_lock_without_a_readable_pid_is_waited_for_like_an_orphan_s(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("w") as file:
        file.write("rubbish")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Permanent) as refusal:
            FolderLock(tmp_path).acquire(orphan_wait_s=0.1)
    assert "its owner is not known" in refusal.value.message


def test_a_folder_that_is_not_there_is_called_unusable(tmp_path: Path) -> None:
    with pytest.raises(Permanent) as refusal:
        FolderLock(tmp_path / "missing").acquire()
    assert refusal.value.code == "data-folder-unusable"


def test_a_file_system_without_locks_is_called_unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(Permanent) as refusal:
        FolderLock(tmp_path).acquire()
    assert refusal.value.code == "data-folder-unusable"
    assert "No locks available" in refusal.value.message


def test_whether_somebody_owns_a_folder_can_be_asked_without_leaving_a_trace(tmp_path: Path) -> None:
    assert not is_owned(tmp_path)
    assert list(tmp_path.iterdir()) == []
    lock = FolderLock(tmp_path).acquire()
    assert is_owned(tmp_path)
    lock.release()
    assert not is_owned(tmp_path)
    with FolderLock(tmp_path):  # the question holds nothing
        assert is_owned(tmp_path)


def test_only_the_owner_of_the_folder_can_read_the_lock_file(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        assert (tmp_path / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def is_polling(thread: threading.Thread) -> bool:
    """Tell whether the thread has found the folder locked and sleeps before its next try."""
    assert thread.ident is not None
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code is FolderLock._wait.__code__


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_for_the_stop(number: signal.Signals) -> None:
    with stop_requested() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(20):
            await stop.wait()


async def test_a_second_sigterm_changes_nothing() -> None:
    with stop_requested() as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(20):
                await stop.wait()
            stop.clear()


async def test_a_second_sigint_interrupts() -> None:
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(20):
            await stop.wait()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_signals_are_given_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_requested():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


async def test_a_hangup_is_heard_each_time_and_ends_nothing() -> None:
    heard = asyncio.Event()
    before = signal.getsignal(signal.SIGHUP)
    with hangup_heard(heard.set):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(20):
                await heard.wait()
            heard.clear()
    assert signal.getsignal(signal.SIGHUP) is before


# The bridge

trace_id: ContextVar[str] = ContextVar("trace_id")


async def test_a_synchronous_function_runs_in_a_thread_and_its_result_comes_back() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="bridge") as executor:
        name, total = await in_thread(executor, lambda *numbers: (threading.current_thread().name, sum(numbers)), 1, 2)
    assert name.startswith("bridge")
    assert total == 3


async def test_an_exception_comes_back_to_the_caller() -> None:
    def fail() -> None:
        raise Permanent("disk-full", "make room")

    with pytest.raises(Permanent):
        await in_thread(None, fail)


async def test_the_function_sees_the_caller_s_context_variables() -> None:
    trace_id.set("t1")
    assert await in_thread(None, trace_id.get) == "t1"


async def test_canceling_the_caller_lets_the_function_finish() -> None:
    may_finish = threading.Event()
    finished = threading.Event()

    def work() -> None:
        assert may_finish.wait(20)
        finished.set()

    task = asyncio.create_task(in_thread(None, work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_finish.set()
    assert await asyncio.to_thread(finished.wait, 20)
