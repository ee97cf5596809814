"""How many events a second the consumer applies, over many patients with a panel of 10,000 people.

Everybody is on the panel, which is the hard case: a hospital's feed is mostly of people nobody follows. A third of the
events are admissions, a third updates, a third discharges, each of which makes two tasks. Batch sizes are those that
the consumer meets: a few while it keeps up, 500 while it catches up.
"""

from datetime import timedelta
from pathlib import Path
from typing import Final

from services.runtime.eventlog.port import Record
from tests.benchmarks.crowd import Told, now
from tests.benchmarks.figures import spread, table
from tests.benchmarks.follow_up_side import Cost, FollowUpSide

TRIGGERS: Final = ("A01", "A08", "A03")
WARM_UP_PEOPLE: Final = 100
BATCHES: Final = {10: 30, 100: 9, 500: 6}
"""Size, and how many are measured; all sizes go through the same people in turn."""
ROUNDS: Final = 3
TASKS_EACH: Final = 2


def measure(folder: Path, template: Path) -> str:
    """Apply everything and return the report."""
    today = now()
    people = WARM_UP_PEOPLE
    found: dict[int, list[Cost]] = {size: [] for size in BATCHES}
    with FollowUpSide(folder / "data", template, today) as side:

        def records(first: int, count: int) -> list[Record]:
            return side.records(
                (person, Told(trigger=trigger, sent_at=today - timedelta(minutes=9 - place), control_id=f"N{trigger}"))
                for person in range(first, first + count)
                for place, trigger in enumerate(TRIGGERS)
            )

        side.handle(records(0, WARM_UP_PEOPLE))
        for _ in range(ROUNDS):
            for size, batches in BATCHES.items():
                needed = -(-size * batches // ROUNDS // len(TRIGGERS))
                pending = records(people, needed)
                people += needed
                costs = [side.handle(pending[begin : begin + size]) for begin in range(0, len(pending), size)]
                found[size].append(
                    Cost(sum(cost.wall_s for cost in costs) / len(pending), sum(c.cpu_s for c in costs) / len(pending))
                )
        side.check(stays=people, tasks=people * TASKS_EACH, positions=people * len(TRIGGERS))
    rows = [
        (
            f"{size}",
            spread(1 / cost.wall_s for cost in costs).text(),
            spread(cost.cpu_s for cost in costs).text(0, 1e6),
        )
        for size, costs in found.items()
    ]
    return f"""The consumer over {people:,} people on a panel of 10,000, a third of the events discharges with two tasks
each: ApplyEvents on a real database; median (min-max) of {ROUNDS} rounds.

{table(("events in a batch", "events/s", "CPU µs/event"), rows)}
"""
