"""A listener on the embedded log in a process of its own, with a door as it is told.

`python -m tests.system.door_process FOLDER [TLS-FOLDER]` prints ``{"port": N}``, logs on standard error and serves
until SIGTERM. TLS-FOLDER is one of `tests.support.certificates.ServerFiles`.
"""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

import uvloop

from services.ingest.bootstrap import Listener, ListenerSettings
from services.ingest.door import DoorSettings
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher
from services.runtime.lifecycle import FolderLock, hangup_heard, stop_requested
from services.runtime.log import configure
from tests.support.certificates import ServerFiles


async def _serve(data_dir: Path, door: DoorSettings) -> None:
    with stop_requested() as stop:
        settings = ListenerSettings(feeds_file=data_dir / "feeds.yaml", door=door)
        listener = await Listener.open(settings, partial(EmbeddedPublisher.open, data_dir))
        with hangup_heard(listener.door.reload_certificates):
            print(json.dumps({"port": await listener.start()}), flush=True)  # noqa: T201 - what the test waits for
            await stop.wait()
        await listener.drain()


def main(data_dir: Path, tls: ServerFiles | None) -> None:
    """Serve until told to stop."""
    configure("info")
    door = DoorSettings()
    if tls is not None:
        door = DoorSettings(tls_cert=tls.cert, tls_key=tls.key, tls_client_ca=tls.client_ca)
    with FolderLock(data_dir), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(data_dir, door))


if __name__ == "__main__":
    main(Path(sys.argv[1]), ServerFiles(Path(sys.argv[2])) if len(sys.argv) > 2 else None)
