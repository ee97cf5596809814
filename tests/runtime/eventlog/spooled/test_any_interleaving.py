"""Property: whatever the log does and however often the process ends, nothing acknowledged is lost or reordered.

Goal: the promise of `spooled.publisher` under interleavings that nobody thought of. Method: a Hypothesis state machine
sends, changes the log's mood, damages nothing, restarts with or without an end in order, and lets time pass; at the
end the log is well, and what it holds is compared with what was acknowledged.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.runtime.errors import AfterstayError, Ambiguous, Transient
from services.runtime.eventlog.port import Position
from services.runtime.eventlog.spooled.publisher import SpooledPublisher
from services.runtime.eventlog.spooled.states import STATES
from tests.runtime.eventlog.spooled.support import (
    PARTITIONS,
    QUICK,
    TOPIC,
    Broker,
    Mood,
    Sender,
    small,
    until,
    until_direct,
)

SETTINGS = small(QUICK, bytes_max=300_000, answer_timeout_s=0.03, grace_s=0.01, handover_s=0.05, close_timeout_s=0.1)
MOODS: tuple[Mood, ...] = ("up", "down", "frozen", "deaf", "topicless")


class AnyInterleaving(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.broker = Broker()
        self.failures: list[AfterstayError] = []
        self.sender: Sender

    @initialize(mood=st.sampled_from(["up", "down", "frozen"]))
    def start(self, mood: Mood) -> None:
        self.broker.mood = mood
        self.sender = Sender(publisher=self.loop.run_until_complete(self._open()))

    @rule(count=st.integers(1, 250), padding=st.sampled_from([0, 0, 500]))
    def send(self, count: int, padding: int) -> None:
        async def send() -> None:
            self.sender.send(count, padding=padding)
            await asyncio.sleep(0)

        self.loop.run_until_complete(send())

    @rule(mood=st.sampled_from(MOODS))
    def change(self, mood: Mood) -> None:
        async def change() -> None:
            self.broker.change(mood)

        self.loop.run_until_complete(change())

    @rule(turns=st.integers(1, 50))
    def let_the_loop_turn(self, turns: int) -> None:
        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    @rule(time_s=st.sampled_from([0.005, 0.02, 0.06]))
    def let_time_pass(self, time_s: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(time_s))

    @rule()
    def wait_for_all_answers(self) -> None:
        self.loop.run_until_complete(until(lambda: not self.sender.unanswered))

    @rule()
    def restart(self) -> None:
        async def restart() -> None:
            await self.sender.publisher.close()
            assert not self.sender.unanswered, "an end in order answers everything"
            self.sender.publisher = await self._open()

        self.loop.run_until_complete(restart())

    @invariant()
    def the_books_make_sense(self) -> None:
        if not hasattr(self, "sender"):
            return
        stats = self.sender.publisher.stats
        assert stats.state in STATES
        assert stats.records >= 0
        assert stats.disk_bytes >= 0
        assert (stats.oldest_timestamp_us is None) == (stats.records == 0)
        assert stats.state != "direct" or stats.records == 0
        assert self.failures == []

    def teardown(self) -> None:
        try:
            if hasattr(self, "sender"):
                self.loop.run_until_complete(self._end_well())
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)

    async def _end_well(self) -> None:
        self.broker.change("up")
        await until(lambda: not self.sender.unanswered)
        await until_direct(self.sender.publisher)
        await self.sender.publisher.close()
        assert set(self.sender.acknowledged) <= set(self.broker.numbers)
        for outcome in self.sender.outcomes.values():
            assert isinstance(outcome, Position | Transient | Ambiguous)
        acknowledged = set(self.sender.acknowledged)
        for partition in range(PARTITIONS):
            first = [number for number in self.broker.first_occurrences(partition) if number in acknowledged]
            assert first == sorted(first)
        assert self.sender.publisher.stats.quarantined_total == 0

    async def _open(self) -> SpooledPublisher:
        return await SpooledPublisher.open(
            self.folder,
            open_direct=self.broker.open,
            topics={TOPIC: PARTITIONS},
            settings=SETTINGS,
            on_failure=self.failures.append,
        )


AnyInterleaving.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyInterleaving = AnyInterleaving.TestCase


@pytest.mark.slow
def test_hundreds_of_interleavings() -> None:
    run_state_machine_as_test(AnyInterleaving, settings=settings(AnyInterleaving.TestCase.settings, max_examples=300))
