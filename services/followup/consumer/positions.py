"""Where a consumer goes on: the database's positions against the extent of the log. Pure.

Promise: no record is passed over unseen. The database's position is the truth and what the log or a consumer group
remembers is a hint (DESIGN §5), so every difference between them has a name here:

- **known**: the log offers what was applied already (a crash after the commit, a rebalance). The use case drops it.
- **gap**: the first record offered lies beyond the position (the group's commit was ahead: a database restored from
  a backup). What lies between is read from the log and applied first.
- **lost**: the log begins beyond the position, because retention has cut records that nobody applied. Nothing brings
  them back from this log: the exact range is an alarm, and the consumer goes on.
- **replaced**: the log ends below the position. It is another log than the one that was consumed; going on would skip
  records unseen, so the consumer stops.

Source: `streaming.md` §3, safe recipe 2; faults F24 and F25.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.runtime.eventlog.port import Record

LOG_REPLACED: Final = "log-replaced"
RECORDS_LOST: Final = "records-lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Records that retention took before they were applied: offsets from `first` to before `next`."""

    topic: str
    partition: int
    first: int
    next: int

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition} offsets {self.first} to {self.next - 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """Where each partition is read on from, and what the comparison found."""

    starts: Mapping[int, int]
    new: Mapping[int, int]
    """Partitions that this group never consumed, with where it starts: to be recorded before anything is read."""
    lost: tuple[Lost, ...]
    replaced: Mapping[int, tuple[int, int]]
    """Partitions whose log ends before the position: (position, end)."""


def resume(topic: str, reached: Mapping[int, int], begins: Mapping[int, int], ends: Mapping[int, int]) -> Resumption:
    """Compare the positions that the database holds with where the log begins and ends now."""
    starts = {partition: max(reached.get(partition, begin), begin) for partition, begin in begins.items()}
    return Resumption(
        starts=starts,
        new={partition: begin for partition, begin in begins.items() if partition not in reached},
        lost=tuple(
            Lost(topic=topic, partition=partition, first=reached[partition], next=begin)
            for partition, begin in sorted(begins.items())
            if reached.get(partition, begin) < begin
        ),
        replaced={
            partition: (position, ends.get(partition, 0))
            for partition, position in sorted(reached.items())
            if position > ends.get(partition, 0)
        },
    )


def runs(records: Iterable[Record]) -> list[list[Record]]:
    """Order records by partition and offset, once each, and cut them where offsets are left out.

    A consumer group may offer a record twice in one batch, or offer what follows a piece that it skipped (a rebalance
    in between). Each piece is without holes of its own, so that comparing its first offsets with the positions finds
    every record that is missing. Nearly always there is one piece.
    """
    by_partition: dict[int, dict[int, Record]] = {}
    for record in records:
        by_partition.setdefault(record.partition, {})[record.offset] = record
    pieces: list[list[Record]] = []
    for _, offered in sorted(by_partition.items()):
        for place, piece in enumerate(_dense([offered[offset] for offset in sorted(offered)])):
            if place == len(pieces):
                pieces.append([])
            pieces[place] += piece
    return pieces


def _dense(ascending: Sequence[Record]) -> list[list[Record]]:
    pieces: list[list[Record]] = []
    for record in ascending:
        if not pieces or pieces[-1][-1].offset + 1 != record.offset:
            pieces.append([])
        pieces[-1].append(record)
    return pieces
