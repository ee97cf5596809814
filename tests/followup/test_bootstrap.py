"""What the composition itself decides: how a stop meets the timers."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from services.followup.scheduler import wake_due
from services.followup.usecases.apply_events import ApplyEvents
from services.runtime.log import get_logger

PATIENCE_S = 10.0


class SlowWake:
    """A use case whose batch of timers takes until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.finished = False

    def wake(self) -> int:
        self.begun.set()
        self.finished = self.let_go.wait(PATIENCE_S)
        return 0


async def test_a_ring_that_the_stop_cuts_short_ends_without_an_error_and_its_batch_to_the_end() -> None:
    apply = SlowWake()
    with ThreadPoolExecutor(1) as work:
        ring = asyncio.create_task(wake_due(cast("ApplyEvents", apply), work, get_logger("test")))
        assert await asyncio.to_thread(apply.begun.wait, PATIENCE_S)
        ring.cancel()
        await ring  # APScheduler logs what a job raises as an error
        apply.let_go.set()
    assert apply.finished
