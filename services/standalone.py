"""Everything on one machine by one command: a listener, and a worker that it supervises.

`run` is the listener process. It owns the data folder, accepts MLLP and writes the log; consumer, timers and web run
in a worker process of their own, so that an acknowledgement never waits for the rest. The worker may die and is
started again; the listener goes on acknowledging meanwhile. The worker holds a pipe of its parent: when the parent
dies, however it dies, the pipe ends and the worker leaves at once.

Loopback only: accounts and TLS come with a later release.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.ingest.bootstrap import Listener, ListenerSettings
from services.runtime.errors import Permanent
from services.runtime.lifecycle import FolderLock, stop_requested
from services.runtime.log import Logger, configure, get_logger

LOOPBACK: Final = "127.0.0.1"
DRAIN_S: Final = 8.0
"""SIGTERM under load ends within 10 s (fault F42): the listener drains, then the worker is given the rest."""
WORKER_STOP_S: Final = 8.0
WORKER_READY_S: Final = 60.0
RESTART_FIRST_S: Final = 0.5
RESTART_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What `afterstay run` was told. A port of 0 is any free one."""

    data_dir: Path
    feeds_file: Path | None
    mllp_port: int
    http_port: int
    log_level: str = "info"


def run(settings: RunSettings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Prints one line of JSON on standard output when it serves, and nothing after it.

    Raises:
        Permanent: the folder is in use, a port is taken, or a file is wrong.
    """
    configure(settings.log_level)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with FolderLock(settings.data_dir) as lock:
        return _event_loop(_serve(settings, lock))
