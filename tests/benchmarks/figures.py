"""What is made of measurements: medians over rounds with the range beside them, and tables in Markdown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure, measured once in each round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self, digits: int = 0, factor: float = 1.0) -> str:
        """Return ``median (min-max)``."""
        median, low, high = (f"{value * factor:,.{digits}f}" for value in (self.median, *self.range))
        return f"{median} ({low}-{high})"

    @property
    def range(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


def spread(values: Iterable[float]) -> Spread:
    """Return the figure of these rounds."""
    return Spread(tuple(values))


def ratio(first: Spread, second: Spread) -> str:
    """Return how many times the second the first is, by medians."""
    return f"{first.median / second.median:.1f}x"


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of values that are in order."""
    return values[min(len(values) - 1, len(values) * percent // 100)]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that reads as text and renders as Markdown; all but the first column aligned right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [_line(row, widths) for row in cells]
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = row
    padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
    return f"| {' | '.join(padded)} |"
