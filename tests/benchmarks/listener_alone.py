"""A process with the listener of `afterstay run` and nothing else: no worker beside it.

`python -m tests.benchmarks.listener_alone DATA FEEDS` prints ``{"port": N}`` and serves until SIGTERM.
"""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

import uvloop

from services.ingest.bootstrap import Listener, ListenerSettings
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher
from services.runtime.lifecycle import FolderLock, stop_requested
from services.runtime.log import configure


async def _serve(data_dir: Path, feeds_file: Path) -> None:
    with stop_requested() as stop:
        listener = await Listener.open(
            ListenerSettings(feeds_file=feeds_file), partial(EmbeddedPublisher.open, data_dir)
        )
        print(json.dumps({"port": await listener.start()}), flush=True)  # noqa: T201 - what the benchmark waits for
        await stop.wait()
        await listener.drain()


def main(data_dir: Path, feeds_file: Path) -> None:
    """Serve until told to stop."""
    configure("warning")
    data_dir.mkdir(exist_ok=True)
    with FolderLock(data_dir), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(data_dir, feeds_file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
