import pytest

from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason
from services.ingest.mllp.timing import ConnectionTimes

LIMITS = ServerLimits()
FRESH = ConnectionTimes(opened_at=100.0, active_at=100.0)
HEARD = ConnectionTimes(opened_at=100.0, active_at=150.0, heard_at=120.0)
MIDWAY = ConnectionTimes(opened_at=100.0, active_at=150.0, heard_at=120.0, frame_since=130.0)


@pytest.mark.parametrize(
    ("times", "now", "frame_bytes", "framed", "owing", "expected"),
    [
        (FRESH, 159.9, 0, False, False, None),
        (FRESH, 160.0, 0, False, False, CloseReason.SILENT_TIMEOUT),
        (HEARD, 129.9, 0, False, False, None),
        (HEARD, 130.0, 0, False, False, CloseReason.NO_START_BLOCK),
        (HEARD, 3_749.9, 0, True, False, None),
        (HEARD, 3_750.0, 0, True, False, CloseReason.IDLE_TIMEOUT),
        (HEARD, 9_999.9, 0, True, True, None),  # the silence is ours
        (MIDWAY, 139.9, 1, False, False, None),
        (MIDWAY, 140.0, 63, False, False, CloseReason.HEADER_TIMEOUT),
        (MIDWAY, 140.0, 64, False, False, None),
        (MIDWAY, 159.9, 64, True, True, None),
        (MIDWAY, 160.0, 500_000, True, True, CloseReason.FRAME_TIMEOUT),
    ],
)
def test_a_connection_is_overdue_from_the_instant_its_limit_is_reached(
    *, times: ConnectionTimes, now: float, frame_bytes: int, framed: bool, owing: bool, expected: CloseReason | None
) -> None:
    assert times.overdue(now, LIMITS, frame_bytes=frame_bytes, framed=framed, owing=owing) is expected
