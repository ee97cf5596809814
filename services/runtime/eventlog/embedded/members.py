"""Who consumes the embedded log: the process that owns the data folder, all of it, or nobody.

The claim is the folder's lock (`lifecycle.FolderLock`), which the kernel drops when the owner is gone, however it went.
A worker process that dies while its listener lives is not seen here; its commits stand still, and that is.
"""

from pathlib import Path
from typing import Final

from services.runtime.eventlog.lag import Membership, Owner
from services.runtime.eventlog.port import Subscriber
from services.runtime.lifecycle import is_owned

CLIENT_ID: Final = "afterstay-run"
HOST: Final = "127.0.0.1"


class FolderMembers:
    """The one member that a data folder's group has (port: `lag_observer.GroupMembers`)."""

    def __init__(self, folder: Path, subscriber: Subscriber) -> None:
        self._folder = folder
        self._subscriber = subscriber

    async def membership(self, group: str, topic: str) -> Membership:  # noqa: ARG002 - a folder has one consumer
        """Return the owner, for every partition, or an empty group."""
        if not is_owned(self._folder):
            return Membership(members=0, owners={})
        owner = Owner(client_id=CLIENT_ID, host=HOST)
        return Membership(members=1, owners=dict.fromkeys(await self._subscriber.partitions(topic), owner))
