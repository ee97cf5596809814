"""What the thousandth message of a stay costs, beside the first.

Twenty people are in hospital, and each measured batch has one message of each stay: the first of every stay, … the
tenth, the hundredth, the thousandth. So every such batch does the same work on as many stays, and only the length of
their histories differs. Three histories: A08 updates, A02 transfers, and an A03 discharge said again and again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tests.benchmarks.crowd import Told, now
from tests.benchmarks.figures import Spread, ratio, spread, table
from tests.benchmarks.follow_up_side import Cost, FollowUpSide

STAYS: Final = 20
CHECKPOINTS: Final = (1, 10, 100, 1_000)
BATCHES: Final = 7
"""Measured at a checkpoint: first messages of as many groups of people, else the messages up to it and around it."""
FILL_BATCH: Final = 500
HISTORIES: Final = {"A08 updates": ("A08", 0), "A02 transfers": ("A02", 0), "A03 said again": ("A03", 2)}
"""Trigger, and how many tasks a stay has by it."""


def measure(folder: Path, template: Path) -> str:
    """Tell all histories and return the report."""
    rows = []
    for place, (name, (trigger, tasks)) in enumerate(HISTORIES.items()):
        costs = _tell(folder / f"{place}", template, trigger, tasks)
        first = costs[CHECKPOINTS[0]]
        for checkpoint, cost in costs.items():
            rows.append((f"{name}: message {checkpoint:,}", cost.text(0, 1e6), ratio(cost, first)))
    return f"""The cost of one more message of a stay, as its history grows: ApplyEvents on a real database, batches of
{STAYS} messages of as many stays; median (min-max) of {BATCHES} batches; first messages make the stay and its tasks.

{table(("history", "CPU µs/message", "to the first"), rows)}
"""


def _tell(home: Path, template: Path, trigger: str, tasks: int) -> dict[int, Spread]:
    """Return the costs at each checkpoint, for each message."""
    history = _History(trigger=trigger, today=now())
    with FollowUpSide(home, template, history.today) as side:
        side.handle(side.records(history.of(BATCHES, 1, 2)))  # statements, calendars and caches are warm after it
        costs = {1: _costs(side.handle(side.records(history.of(group, 1, 1))) for group in range(BATCHES))}
        told = 1
        for checkpoint in CHECKPOINTS[1:]:
            first = checkpoint - BATCHES // 2
            for begin in range(told + 1, first, FILL_BATCH // STAYS):
                side.handle(side.records(history.of(0, begin, min(begin + FILL_BATCH // STAYS, first) - 1)))
            told = first + BATCHES - 1
            costs[checkpoint] = _costs(
                side.handle(side.records(history.of(0, number, number))) for number in range(first, told + 1)
            )
        people = (BATCHES + 1) * STAYS
        side.check(stays=people, tasks=people * tasks, positions=people + STAYS * told)
    return costs


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    trigger: str
    today: datetime

    def of(self, group: int, first: int, last: int) -> Iterator[tuple[int, Told]]:
        """Yield these messages of every stay of a group of people."""
        for number in range(first, last + 1):
            sent_at = self.today - timedelta(hours=1) + timedelta(seconds=number)
            told = Told(trigger=self.trigger, sent_at=sent_at, control_id=f"S{number}", bed=number % 40)
            yield from ((group * STAYS + person, told) for person in range(STAYS))


def _costs(costs: Iterable[Cost]) -> Spread:
    return spread(cost.cpu_s / STAYS for cost in costs)
