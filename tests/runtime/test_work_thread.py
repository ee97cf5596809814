"""The work thread: one call after the other, results and errors to whoever asked, never in the way of the end."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from services.runtime.work_thread import WorkThread

ENDS_ALTHOUGH_IT_WORKS = """
import threading
from services.runtime.work_thread import WorkThread
started = threading.Event()
work = WorkThread("stuck")
work.submit(lambda: (started.set(), threading.Event().wait()))
started.wait()
work.shutdown(wait=False)
"""


def test_calls_run_one_after_the_other_on_one_thread() -> None:
    work, seen = WorkThread("test"), []
    futures = [work.submit(lambda n: seen.append((n, threading.current_thread().name)), n) for n in range(100)]
    for future in futures:
        future.result(5)
    work.shutdown()
    assert seen == [(n, "test") for n in range(100)]


def test_an_error_is_the_callers_and_the_thread_goes_on() -> None:
    work = WorkThread("test")
    with pytest.raises(ZeroDivisionError):
        work.submit(lambda: 1 // 0).result(5)
    assert work.submit(lambda: 7).result(5) == 7
    work.shutdown()
    with pytest.raises(RuntimeError):
        work.submit(lambda: 7)


def test_a_call_that_never_ends_does_not_keep_the_process() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", ENDS_ALTHOUGH_IT_WORKS], cwd=root, timeout=30, check=False)
    assert done.returncode == 0
