"""The worker process of `afterstay run`: consumer, timers and web, under the listener's supervision.

Started by `services.supervision` with what it inherits: data folder, the web's socket, the lifeline, where to say
ready, the log level. It leaves at once when the lifeline ends, since a parent that was killed cannot tell it to.
"""

import asyncio
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Final

from services.followup.bootstrap import WorkerSettings, serve
from services.runtime.errors import AfterstayError
from services.runtime.lifecycle import stop_requested
from services.runtime.log import configure, get_logger

ORPHANED: Final = 3
"""Exit code of a worker whose parent is gone."""


def main(arguments: list[str]) -> int:
    """Run until SIGTERM; return the exit code."""
    data_dir, web_fd, lifeline_fd, ready_fd, log_level = arguments
    configure(log_level)
    threading.Thread(target=_leave_with_parent, args=(int(lifeline_fd),), daemon=True).start()
    log = get_logger("worker")
    try:
        asyncio.run(_run(Path(data_dir), int(web_fd), int(ready_fd)))
    except AfterstayError as error:
        log.exception("worker_failed", code=error.code)
        return 1
    return 0


def _leave_with_parent(lifeline_fd: int) -> None:
    """Block until the parent's end of the pipe is gone; nothing is ever written to it."""
    os.read(lifeline_fd, 1)
    os._exit(ORPHANED)


async def _run(data_dir: Path, web_fd: int, ready_fd: int) -> None:
    def say_ready() -> None:
        os.write(ready_fd, b"1")
        os.close(ready_fd)

    web = socket.socket(fileno=web_fd)
    with stop_requested() as stop:
        await serve(WorkerSettings(data_dir=data_dir), web, stop=stop, on_ready=say_ready)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
