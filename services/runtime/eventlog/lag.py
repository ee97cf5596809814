"""How far a consumer group is behind, in seconds of somebody waiting, and what that looks like. Pure.

Promises: the age is that of the record at the committed offset, by its own timestamp, and so says how long the oldest
unprocessed message has been waiting; it is exactly 0 when nothing waits, however long ago the last message came; it
knows no ceiling, falls while a consumer catches up, and grows while a consumer is dead, since whoever looks is not the
consumer. An offset count is shown beside it and never turned into time.

The words are Burrow's (linkedin/Burrow, core/internal/evaluator/caching.go and pull request 716), applied to looks at
the group from outside instead of to its commits. In the order in which they are asked:

    AHEAD    the commit lies beyond the end: the log is not the one that was consumed (ours; Burrow calls it lag 0)
    LOST     the commit lies below the log's start: retention has cut what nobody had read (ours)
    OK       nothing waits
    REWIND   the commit went back within the window and has not reached again where it was
    STOPPED  the group has no members and the commit has not moved since the look before (ours, at once); or nobody
             owns the partition and the commit stood still for the whole window
    OK       the lag was zero at some time within the window
    STALLED  the commit stood still for the whole window although somebody owns the partition
    WARN     the commit advances, but the lag never fell
    OK       none of these

Burrow tells STOPPED from STALLED by whether the same offset is committed again, which cannot be seen from outside;
who is in the group can. Where that is not known, a commit that stood still for one window is STALLED and for two
STOPPED. Source: product.md §2.1; docs/adr/0016-lag-in-seconds.md.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

Status = Literal["OK", "WARN", "STOPPED", "STALLED", "REWIND", "LOST", "AHEAD"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)

_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at a partition. `at_s` is monotonic, `now_us` the time of day of the same moment.

    `oldest_us` is the timestamp of the first record that is not processed; `None` where there is none, or where it
    cannot be read.
    """

    at_s: float
    now_us: int
    begin: int
    end: int
    committed: int | None
    oldest_us: int | None

    @property
    def position(self) -> int:
        """Where the group goes on: its commit, clamped to what the log still has; without one, the beginning."""
        return self.begin if self.committed is None else max(self.committed, self.begin)

    @property
    def lag(self) -> int:
        """How many records wait, of those that can still be read."""
        return max(0, self.end - self.position)

    @property
    def lost(self) -> int:
        """How many offsets were cut off before they were read."""
        return 0 if self.committed is None else max(0, self.begin - self.committed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The member of a group that reads a partition."""

    client_id: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who is in a group: how many members, and whose each partition is (none while they share them out anew)."""

    members: int
    owners: Mapping[int, Owner]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLag:
    """One row of the answer, named in Kafka's own words.

    `current_offset` is `None` where nothing was ever committed; `oldest_age_seconds` where the record cannot be read;
    `catch_up_seconds` where the lag does not shrink; `retention_used` and `data_loss_in_seconds` where nothing is ever
    deleted or nothing waits. `clock_skew_seconds` is how far the oldest record's time lies ahead of ours.
    """

    group: str
    topic: str
    partition: int
    current_offset: int | None
    log_end_offset: int
    lag: int
    oldest_age_seconds: float | None
    status: Status
    catch_up_seconds: float | None
    retention_used: float | None
    client_id: str | None
    host: str | None
    log_start_offset: int
    data_lost_records: int
    data_loss_in_seconds: float | None
    clock_skew_seconds: float


class PartitionHistory:
    """What was seen of one partition within the window, and since when its commit stands still; bounded memory."""

    def __init__(self, window_s: float) -> None:
        assert window_s > 0, "a window lasts"
        self._window_s = window_s
        self._samples: deque[Sample] = deque()
        self._still_since_s = 0.0

    def add(self, sample: Sample) -> None:
        """Take one more look; looks come in the order of their time."""
        before = self._samples[-1] if self._samples else None
        if before is None or before.committed != sample.committed or before.lag == 0:
            self._still_since_s = sample.at_s
        self._samples.append(sample)
        # One look from before the window stays, so that what is left spans it.
        while len(self._samples) > 1 and self._samples[1].at_s <= sample.at_s - self._window_s:
            self._samples.popleft()

    @property
    def last(self) -> Sample:
        """The latest look."""
        return self._samples[-1]

    def oldest_us_at(self, sample: Sample) -> int | None:
        """Return the time of the record that waits longest, if the latest look saw that very record."""
        last = self._samples[-1] if self._samples else None
        same = last is not None and last.lag and last.position == sample.position and last.end <= sample.end
        return last.oldest_us if last is not None and same else None

    def status(self, membership: Membership | None, partition: int) -> Status:
        """Return the word for this partition."""
        samples, last = self._samples, self.last
        if last.committed is not None and last.committed > last.end:
            return "AHEAD"
        if last.lost:
            return "LOST"
        if last.lag and _went_back(samples):
            return "REWIND"
        if last.lag and membership is not None and membership.members == 0 and not self._moves():
            return "STOPPED"
        if any(sample.lag == 0 for sample in samples) or not self._is_whole():
            return "OK"
        return self._of_whole_window(membership, partition)

    def catch_up_seconds(self) -> float | None:
        """Return how long it takes until nothing waits, at the rates of the window; `None` if the lag does not fall."""
        first, last = self._samples[0], self._samples[-1]
        if last.lag == 0:
            return 0.0
        # What retention cuts off makes the lag smaller, too; only what was consumed counts here.
        gained = (_reached(last) - _reached(first)) - (last.end - first.end)
        return last.lag * (last.at_s - first.at_s) / gained if gained > 0 else None

    def _of_whole_window(self, membership: Membership | None, partition: int) -> Status:
        """Return the word where something waited all the time."""
        if len({sample.committed for sample in self._samples}) > 1:
            falls = any(later.lag < earlier.lag for earlier, later in pairwise(self._samples))
            return "OK" if falls else "WARN"
        if membership is not None:
            return "STALLED" if partition in membership.owners else "STOPPED"
        return "STOPPED" if self.last.at_s - self._still_since_s >= 2 * self._window_s else "STALLED"

    def _moves(self) -> bool:
        """Tell whether somebody commits, as a consumer may that has not joined the group (a backfill)."""
        return len(self._samples) > 1 and self._samples[-2].committed != self.last.committed

    def _is_whole(self) -> bool:
        return self.last.at_s - self._samples[0].at_s >= self._window_s


def row_of(
    history: PartitionHistory,
    *,
    group: str,
    topic: str,
    partition: int,
    membership: Membership | None,
    retention_s: float | None,
) -> PartitionLag:
    """Return what is known of a partition as of its latest look."""
    last = history.last
    age_s = age_seconds(last)
    threat_s = age_s if last.lag else None  # what nobody waits for is no loss
    owner = membership.owners.get(partition) if membership is not None else None
    return PartitionLag(
        group=group,
        topic=topic,
        partition=partition,
        current_offset=last.committed,
        log_end_offset=last.end,
        lag=last.lag,
        oldest_age_seconds=age_s,
        status=history.status(membership, partition),
        catch_up_seconds=history.catch_up_seconds(),
        retention_used=threat_s / retention_s if retention_s and threat_s is not None else None,
        client_id=owner.client_id if owner else None,
        host=owner.host if owner else None,
        log_start_offset=last.begin,
        data_lost_records=last.lost,
        data_loss_in_seconds=max(0.0, retention_s - threat_s) if retention_s and threat_s is not None else None,
        clock_skew_seconds=_skew_seconds(last),
    )


def age_seconds(sample: Sample) -> float | None:
    """Return how long the oldest unprocessed record has been waiting: 0 when none is; `None` if that cannot be read.

    A record from the future, by our clock, counts as just received; by how far it is ahead is told apart.
    """
    if sample.lag == 0:
        return 0.0
    if sample.oldest_us is None:
        return None
    return max(0, sample.now_us - sample.oldest_us) / _MICROSECONDS


def _skew_seconds(sample: Sample) -> float:
    ahead_us = 0 if sample.oldest_us is None else sample.oldest_us - sample.now_us
    return max(0, ahead_us) / _MICROSECONDS


def _reached(sample: Sample) -> int:
    return sample.begin if sample.committed is None else sample.committed


def _went_back(samples: Iterable[Sample]) -> bool:
    """Tell whether the commit was further on within the window than it is now, or is gone."""
    *_, now = reached = [-1 if sample.committed is None else sample.committed for sample in samples]
    return now < max(reached)
