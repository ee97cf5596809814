"""What `afterstay demo` shows while it runs.

Owns the talk on standard error: progress on a terminal, plain lines elsewhere, no color where NO_COLOR is set (rich
keeps to it). Promise: nothing here goes to standard output, and nothing is animated off a terminal.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from services.simulator.comparison import Difference
from services.simulator.streams import SimulatedMessage

_DIFFERENCES_SHOWN: Final = 10


class DemoScreen:
    """The screen of one demo; a context manager for its live part."""

    def __init__(self, stream: TextIO, *, messages: Sequence[SimulatedMessage], expected_tasks: int) -> None:
        self._console = Console(file=stream, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        totals: dict[str, int] = {}
        for message in messages:
            totals[message.feed] = totals.get(message.feed, 0) + 1
        self._rows: dict[str, TaskID] = {
            feed: self._progress.add_task(feed, total=total, note="acknowledged") for feed, total in totals.items()
        }
        self._work = self._progress.add_task("open tasks", total=expected_tasks, note="on the worklist", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str, style: str = "") -> None:
        """Write a line above the progress."""
        self._console.print(Text(line, style=style), soft_wrap=True)

    def answered(self, message: SimulatedMessage, code: str) -> None:
        """Count an answer."""
        self._progress.advance(self._rows[message.feed])
        if code != "AA":
            self.say(f"{message.feed} {message.control_id}: {code}", style="red")

    def worklist(self, tasks: int) -> None:
        """Show how many tasks are open."""
        self._progress.update(self._work, completed=tasks, visible=True)

    def differences(self, problems: Sequence[str], differences: Sequence[Difference]) -> None:
        """Say what is not as it should be."""
        for problem in problems:
            self.say(problem, style="red")
        for difference in differences[:_DIFFERENCES_SHOWN]:
            task = difference.expected or difference.found
            assert task is not None
            self.say(
                f"{difference.problem}: {task.kind} for {task.patient_id}, {task.status}, discharged "
                f"{task.discharged_on} ({difference.story or 'no story'})",
                style="red",
            )
        if len(differences) > _DIFFERENCES_SHOWN:
            self.say(f"and {len(differences) - _DIFFERENCES_SHOWN} more", style="red")
