"""Canaries in the database: whose turn it is to send one, whether it has arrived, and that they do not pile up.

Any number of schedulers may run; of each minute one sends. What is kept of a canary is a row of its own and its event,
which are purged together after a day.
"""

from datetime import datetime, timedelta
from typing import Final, Protocol

KEPT: Final = timedelta(days=1)
"""How long a canary can be traced after it was sent."""
AWAITED: Final = timedelta(days=30)
"""How long one that did not arrive is remembered, so that its event is purged when it comes after all."""


class CanaryBook(Protocol):
    """Where canaries are written down. Each method is one transaction; all may raise `Transient`."""

    def claim(self, turn: int, control_id: str, now: datetime) -> bool:
        """Take a turn, by its number; False when somebody has taken it."""

    def has_arrived(self, control_id: str) -> bool:
        """Tell whether the canary's event was consumed."""

    def purge(self, sent_before: datetime, forgotten_before: datetime) -> int:
        """Drop canaries that arrived, with their events, and those that nobody waits for any more; return how many."""
