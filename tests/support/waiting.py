"""Waiting for a condition from within an event loop; nothing sleeps for a fixed time."""

import asyncio
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 30.0
POLL_S: Final = 0.01


async def until_true(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - there is nothing that could set an event
            await asyncio.sleep(POLL_S)
