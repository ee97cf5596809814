"""Keeps aiokafka's own log lines few: a broker that is down makes it write 40 to 110 errors a second.

Each of its loggers passes a message template once in a while and counts the repeats in between, which the next line
names. What matters of an outage is said by our own lines and metrics.
Source: `streaming.md` §3 and §8, measured.
"""

import logging
from typing import Final

from services.runtime.clock import Clock, SystemClock

REPEAT_S: Final = 30.0
_ROOT: Final = "aiokafka"


class RepeatLimit(logging.Filter):
    """Passes the first record of each template, then one in `REPEAT_S`; thread-safe enough to never raise."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._next_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this record is to be written."""
        template = str(record.msg)
        now_s = self._clock.monotonic()
        if now_s < self._next_s.get(template, now_s):
            self._held_back[template] = self._held_back.get(template, 0) + 1
            return False
        self._next_s[template] = now_s + REPEAT_S
        if repeats := self._held_back.pop(template, 0):
            record.msg = f"{template} (and {repeats} more like it since the last such line)"
        return True


def limit_repeats(clock: Clock | None = None) -> None:
    """Put the limit on every logger of aiokafka that exists; harmless when called again.

    Where no log is configured, in a verb, they are silent: our own error names what they would say.
    """
    root = logging.getLogger(_ROOT)
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    names = [_ROOT, *(name for name in logging.Logger.manager.loggerDict if name.startswith(f"{_ROOT}."))]
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(existing, RepeatLimit) for existing in logger.filters):
            logger.addFilter(RepeatLimit(clock or SystemClock()))
