"""When a connection has had its time: the clocks of one connection and the limits that apply to them.

Times are those of the event loop's monotonic clock, passed in. No I/O.
"""

from dataclasses import dataclass

from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason


@dataclass(slots=True)
class ConnectionTimes:
    """When what last happened; None where it has not.

    Attributes:
        opened_at: the connection was made.
        active_at: bytes came or answers left.
        heard_at: the first byte came.
        frame_since: the frame that is not whole yet began.
        stalled_since: the peer stopped taking our answers.
    """

    opened_at: float
    active_at: float
    heard_at: float | None = None
    frame_since: float | None = None
    stalled_since: float | None = None

    def overdue(
        self, now: float, limits: ServerLimits, *, frame_bytes: int, framed: bool, owing: bool
    ) -> CloseReason | None:
        """Name the limit that is passed, if one is.

        Args:
            now: the loop's clock.
            limits: the server's limits.
            frame_bytes: how much there is of the frame that is not whole yet.
            framed: a start byte has been seen before.
            owing: messages wait for their answer, so the silence is ours.
        """
        if self.frame_since is not None:
            return _frame_overdue(now - self.frame_since, limits, frame_bytes)
        reason, since, limit_s = CloseReason.IDLE_TIMEOUT, self.active_at, limits.idle_timeout_s
        if self.heard_at is None:
            reason, since, limit_s = CloseReason.SILENT_TIMEOUT, self.opened_at, limits.silent_timeout_s
        elif not framed:
            reason, since, limit_s = CloseReason.NO_START_BLOCK, self.heard_at, limits.header_timeout_s
        return reason if now - since >= limit_s and not owing else None


def _frame_overdue(age_s: float, limits: ServerLimits, frame_bytes: int) -> CloseReason | None:
    if age_s >= limits.frame_timeout_s:
        return CloseReason.FRAME_TIMEOUT
    if age_s >= limits.header_timeout_s and frame_bytes < limits.header_bytes:
        return CloseReason.HEADER_TIMEOUT
    return None
