"""What the thousandth message of a stay costs, beside the first.

Twenty people are in hospital, and each measured batch has one message of each stay: the first of every stay, … the
tenth, the hundredth, the thousandth. So every such batch does the same work on as many stays, and only the length of
their histories differs: A08 updates, A02 transfers, an A03 discharge said again and again. The last one is the
exception: a sender that gives another time of discharge each time, all of which the stay keeps.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Messages of one kind about a stay; `tasks` is how many tasks the stay has by them."""

    name: str
    trigger: str
    tasks: int
    moving: bool = False
    """Each gives another time of discharge."""
    checkpoints: tuple[int, ...] = CHECKPOINTS

    def of(self, group: int, first: int, last: int, today: datetime) -> Iterator[tuple[int, Told]]:
        """Yield these messages of every stay of a group of people."""
        for number in range(first, last + 1):
            told = Told(
                trigger=self.trigger,
                sent_at=today - timedelta(hours=1) + timedelta(seconds=number),
                control_id=f"S{number}",
                bed=number % 40,
                left_minutes_ago=60 + number if self.moving else 60,
            )
            yield from ((group * STAYS + person, told) for person in range(STAYS))


HISTORIES: Final = (
    History(name="A08 updates", trigger="A08", tasks=0),
    History(name="A02 transfers", trigger="A02", tasks=0),
    History(name="A03 said again", trigger="A03", tasks=2),
    History(name="A03, another time each", trigger="A03", tasks=2, moving=True, checkpoints=CHECKPOINTS[:-1]),
)


def measure(folder: Path, template: Path) -> str:
    """Tell all histories and return the report."""
    rows = []
    for place, history in enumerate(HISTORIES):
        costs = _tell(folder / f"{place}", template, history)
        first = costs[CHECKPOINTS[0]]
        for checkpoint, cost in costs.items():
            rows.append((f"{history.name}: message {checkpoint:,}", cost.text(0, 1e6), ratio(cost, first)))
    return f"""The cost of one more message of a stay, as its history grows: ApplyEvents on a real database, batches of
{STAYS} messages of as many stays; median (min-max) of {BATCHES} batches; first messages make the stay and its tasks.

{table(("history", "CPU µs/message", "to the first"), rows)}
"""


def _tell(home: Path, template: Path, history: History) -> dict[int, Spread]:
    """Return the costs at each checkpoint, for each message."""
    today = now()
    with FollowUpSide(home, template, today) as side:

        def handle(group: int, first: int, last: int) -> Cost:
            return side.handle(side.records(history.of(group, first, last, today)))

        handle(BATCHES, 1, 2)  # statements, calendars and caches are warm after it
        costs = {1: _costs(handle(group, 1, 1) for group in range(BATCHES))}
        told = 1
        for checkpoint in history.checkpoints[1:]:
            first = checkpoint - BATCHES // 2
            for begin in range(told + 1, first, FILL_BATCH // STAYS):
                handle(0, begin, min(begin + FILL_BATCH // STAYS, first) - 1)
            told = first + BATCHES - 1
            costs[checkpoint] = _costs(handle(0, number, number) for number in range(first, told + 1))
        people = (BATCHES + 1) * STAYS
        side.check(stays=people, tasks=people * history.tasks, positions=people + STAYS * told)
    return costs


def _costs(costs: Iterable[Cost]) -> Spread:
    return spread(cost.cpu_s / STAYS for cost in costs)
