"""Purge what was kept for nobody: stays that no panel patient has claimed within a set time (DESIGN §5).

Messages of people who are not on the panel are kept with their stay, because a merge, a panel load or a review may
claim them. After `KEPT` without a message and without a claim the stay goes as a whole; the ids of its events stay, so
that a resend is a duplicate. A stay that somebody has yet to decide about, or that ever had a task, is never purged.
"""

from datetime import timedelta
from typing import Final

from services.followup.usecases.again import run_again
from services.followup.usecases.ports import Begin
from services.runtime.clock import Clock

KEPT: Final = timedelta(days=30)
"""DESIGN §5; as long as the window in which a readmission counts."""
BATCH: Final = 200
"""Stays of one transaction: short, so that the consumer beside it hardly waits."""


class PurgeUnlinked:
    """The use case. Synchronous; any number of processes may run it side by side."""

    def __init__(self, begin: Begin, clock: Clock, *, kept: timedelta = KEPT) -> None:
        self._begin = begin
        self._clock = clock
        self._kept = kept

    @run_again
    def run(self, *, limit: int = BATCH) -> int:
        """Purge up to `limit` stays in one transaction and return how many; call it again while it returns some.

        Raises:
            Transient: nothing was purged; run it again.
        """
        before = self._clock.now() - self._kept
        with self._begin() as unit:
            expired = unit.purges.expired(before, limit)
            if not expired:
                return 0
            unit.stays.lock(set().union(*expired.values()))
            return unit.purges.purge(expired.keys(), before)
