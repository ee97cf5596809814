"""A canary through a real listener, log, worker and database: it arrives, and nobody but its counters notices."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.canary import Canary, CanaryTarget
from services.followup.store.canary import SqlCanaryBook
from services.runtime.clock import SystemClock
from services.runtime.database import database_url, open_database
from services.runtime.metrics import Metrics
from tests.system.service import Service

pytestmark = pytest.mark.system


async def test_a_canary_goes_all_the_way_and_leaves_no_task_no_letter_and_balanced_books(shared: Service) -> None:
    before = shared.books()
    tasks = shared.tasks()
    engine = open_database(database_url(shared.data))
    metrics = Metrics()
    host, port = shared.mllp
    with ThreadPoolExecutor(1) as executor:
        canary = Canary(
            SqlCanaryBook(engine),
            CanaryTarget(host=host, port=port).send,
            clock=SystemClock(),
            executor=executor,
            metrics=metrics,
        )
        await canary.fly()
    engine.dispose()

    assert (canary.stats.sent, dict(canary.stats.lost)) == (1, {})
    assert b"afterstay_canary_roundtrip_seconds_count 1.0" in metrics.render()
    after = shared.settle()
    assert after.balanced
    assert after.outcomes.no_effect["canary"] == before.outcomes.no_effect.get("canary", 0) + 1
    assert after.outcomes.dead_letter == before.outcomes.dead_letter
    assert len(shared.tasks()) == len(tasks)
