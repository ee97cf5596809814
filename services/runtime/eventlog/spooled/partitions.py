"""What partitions the log has: asked once at a start, and remembered for a start while the log is away."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from services.runtime.errors import AfterstayError
from services.runtime.eventlog.port import Publisher
from services.runtime.eventlog.spooled import folder as on_disk
from services.runtime.eventlog.spooled.delivery import no_answer
from services.runtime.lifecycle import in_thread
from services.runtime.log import get_logger

_log = get_logger(__name__)


async def learn_partitions(
    direct: Publisher, topics: Iterable[str], *, timeout_s: float
) -> dict[str, int] | AfterstayError:
    """Ask the log how many partitions each topic has; return why it does not say."""
    try:
        async with asyncio.timeout(timeout_s):
            return {topic: len(await direct.partitions(topic)) for topic in topics}
    except AfterstayError as error:
        return error
    except TimeoutError:
        return no_answer(timeout_s)


async def remember_partitions(folder: Path, partitions: Mapping[str, int]) -> None:
    """Write down what the log has said; without it the next start uses what is declared."""
    try:
        await in_thread(None, on_disk.write_topics, folder, partitions)
    except OSError as error:
        _log.warning("spool_topics_not_written", folder=str(folder), reason=str(error.strerror))
