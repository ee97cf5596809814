"""The log: one line of JSON per fact, on standard error, with nothing in it that was not meant to be there.

Promises:
- Keys pass an allow-list (`ALLOWED_KEYS`). Any other key is dropped, name and value, and counted in `dropped_keys`:
  a new key is a reviewed line here, so that no patient's name reaches a disk through a hurried `log.info`.
- Event names are fixed snake_case words in the past tense, never built from data; anything else is replaced.
- A line is one line: values are scalars, cut to a limit and escaped to ASCII, so neither a line feed nor a
  bidirectional override in a sender's field can forge or disguise a line (faults B36, B38).
- An exception is logged as its type, code and frames. Its text is logged only when it is ours (`AfterstayError`),
  because the text of a foreign one may quote the row or the field it failed on.
- Logs of libraries come out of the same end: their message template is kept, their arguments are not.
- Writing a log line never raises: a full disk under standard error must not stop an acknowledgement (fault F10).

Loggers may be made at import and used before `configure`; until then warnings and worse go to standard error.
Source: house style 32. structlog's processors and context variables do the work; its global configuration is not
used, because until somebody sets it it prints every key to standard output, where our data goes.
"""

import contextlib
import json
import logging
import math
import re
import sys
import traceback
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, Protocol

from structlog import BoundLoggerBase
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, Processor

from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import AfterstayError

VALUE_CHARS_MAX = 500  # room for a path and a sentence of advice; a message of 1 MB is not a log value
SEQUENCE_ITEMS_MAX = 20
FRAMES_MAX = 12  # the innermost frames tell where it broke

ALLOWED_KEYS = frozenset(
    # Who says it, and what it belongs to. Ids are ours and opaque; a control id is the sender's, by house style 32.
    {"logger", "service", "version", "pid", "trace_id", "control_id", "event_id", "feed", "source"}
    | {"task_id", "episode_id", "stay_id", "review_id", "import_id", "dead_letter_id", "notice_id", "timer_id"}
    # Where in the stream.
    | {"topic", "partition", "offset", "group", "positions", "lag", "records", "batch", "commits"}
    # What was decided. Words of closed sets only.
    | {"code", "reason", "outcome", "kind", "trigger", "status", "state", "acknowledgment", "rule", "protocol"}
    | {"normalizer", "processing", "finding", "findings", "zone", "mode", "revision", "signal"}
    # Sockets, files and requests. A route is the template, never the path with its ids and its query.
    | {"peer", "host", "port", "address", "connection", "connections", "frames", "file", "line", "folder", "url"}
    | {"certificate", "tls", "expires_at"}  # of machines: names and fingerprints, never those of patients
    | {"method", "route", "http_status", "role", "user"}
    # How many, how large, how long.
    | {"count", "total", "created", "updated", "unchanged", "removed", "refused", "skipped", "pending", "attempt"}
    | {"events", "tasks", "rows", "bytes", "limit", "duration_ms", "wait_ms", "age_s", "timeout_s", "seed"}
)
_INT_MAX = 2**63  # Python refuses to print integers of thousands of digits, and no counter needs them

_EVENT_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")
_LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}


class Stream(Protocol):
    """Where lines go: standard error, or a test's buffer."""

    def write(self, text: str, /) -> int:
        """Write text."""

    def flush(self) -> None:
        """Hand it to the operating system."""


class _Output:
    """The process's one destination, threshold and clock; replaced by `configure`, never read from outside."""

    def __init__(self) -> None:
        self.threshold: int = logging.WARNING
        self.stream: Stream | None = None  # None: whatever sys.stderr is when the line is written
        self.clock: Clock = SystemClock()

    def write(self, line: str) -> None:
        """Write one line; called by structlog as the wrapped logger, under the level's name."""
        stream = self.stream if self.stream is not None else sys.stderr
        with contextlib.suppress(OSError, ValueError):  # full disk, closed pipe, closed stream
            stream.write(line + "\n")
            stream.flush()

    debug = info = warning = error = critical = write


_output = _Output()


class Logger(BoundLoggerBase):
    """Log facts: `log.info("message_accepted", feed=feed.name, duration_ms=3)`.

    A level that is off costs the call and one comparison (0.15 µs). `bind` returns a logger with more keys.
    """

    def debug(self, event: str, **keys: object) -> None:
        """Log what only a developer asks for."""
        if _output.threshold <= logging.DEBUG:
            self._proxy_to_logger("debug", event, **keys)

    def info(self, event: str, **keys: object) -> None:
        """Log what happened as it should."""
        if _output.threshold <= logging.INFO:
            self._proxy_to_logger("info", event, **keys)

    def warning(self, event: str, **keys: object) -> None:
        """Log what an operator should know of and the program coped with."""
        if _output.threshold <= logging.WARNING:
            self._proxy_to_logger("warning", event, **keys)

    def error(self, event: str, **keys: object) -> None:
        """Log what failed and needs somebody; pass `exc_info=error` for where."""
        if _output.threshold <= logging.ERROR:
            self._proxy_to_logger("error", event, **keys)

    def exception(self, event: str, **keys: object) -> None:
        """Log a failure with the exception being handled."""
        self.error(event, **{"exc_info": True, **keys})

    def critical(self, event: str, **keys: object) -> None:
        """Log that the process cannot go on."""
        if _output.threshold <= logging.CRITICAL:
            self._proxy_to_logger("critical", event, **keys)


def get_logger(name: str) -> Logger:
    """Give a module its logger; harmless at import."""
    return Logger(_output, _OUR_PROCESSORS, {"logger": name})


def configure(level: str = "info", stream: Stream | None = None, *, clock: Clock | None = None) -> None:
    """Send lines of this level and above to the stream (None: standard error).

    Libraries are heard from warning on, at level debug in everything: at info they talk about themselves.
    Calling it again replaces what was set. Start servers with their own log configuration off
    (`uvicorn.Config(log_config=None)`), else they put their handlers back.

    Raises:
        ValueError: the level is none of debug, info, warning, error, critical.
    """
    if level not in _LEVELS:
        raise ValueError(f"log level {level!r} is unknown; choose one of {', '.join(_LEVELS)}")
    _output.threshold = _LEVELS[level]
    _output.stream = stream
    _output.clock = clock if clock is not None else SystemClock()
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler())
    root.setLevel(_LEVELS["debug"] if level == "debug" else max(_output.threshold, _LEVELS["warning"]))


class _LibraryHandler(logging.Handler):
    """Passes records of the standard library's logging through our processors, without their arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        template = str(record.msg).strip().partition("\n")[0]  # asyncio puts an exception's text on the next
        keys = {"message": template, "exc_info": record.exc_info or None}
        level = logging.getLevelName(record.levelno).lower()
        method = level if level in _LEVELS else "warning"
        logger = Logger(_output, _LIBRARY_PROCESSORS, {"logger": record.name})
        getattr(logger, method)("library_logged", **keys)


def _keep(allowed: frozenset[str]) -> Processor:
    """Return the processor that keeps allowed keys, encodes their values and counts the rest."""

    def keep(_logger: object, method: str, keys: EventDict) -> EventDict:
        event = keys.pop("event")
        kept: dict[str, Any] = {
            "timestamp": _output.clock.now().isoformat(timespec="milliseconds"),
            "level": method,
            "event": event if isinstance(event, str) and _EVENT_NAME.fullmatch(event) else "event_name_refused",
            "exc_info": keys.pop("exc_info", None),
        }
        kept.update((key, _plain(value)) for key, value in keys.items() if key in allowed)
        if dropped := sum(key not in allowed for key in keys):
            kept["dropped_keys"] = dropped
        return kept

    return keep


def _describe_exception(_logger: object, _method: str, keys: EventDict) -> EventDict:
    """Replace `exc_info` by keys of this module's own, which the allow-list gives nobody else."""
    exception = _exception_of(keys.pop("exc_info"))
    if exception is not None:
        frames = traceback.extract_tb(exception.__traceback__)[-FRAMES_MAX:]
        keys["error_type"] = type(exception).__qualname__
        keys["error_at"] = [f"{PurePath(frame.filename).name}:{frame.lineno}:{frame.name}" for frame in frames]
        if isinstance(exception, AfterstayError):
            keys["error_code"] = exception.code
            keys["error_message"] = _plain(exception.message)
    return keys


def _exception_of(exc_info: object) -> BaseException | None:
    if exc_info is True:
        return sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _plain(value: object) -> object:
    """Return the value as JSON may hold it."""
    if isinstance(value, list | tuple):
        return [_scalar(item) for item in value[:SEQUENCE_ITEMS_MAX]]
    return _scalar(value)


def _scalar(value: object) -> object:
    """Return a scalar; of any other object only the type, since its text may say anything."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _INT_MAX:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | PurePath):
        text = str(value)
        return text if len(text) <= VALUE_CHARS_MAX else text[:VALUE_CHARS_MAX] + "..."
    return f"<{type(value).__qualname__}>"


def _render(_logger: object, _method: str, keys: EventDict) -> str:
    return _ENCODER.encode(keys)


_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False)
_OUR_PROCESSORS = [merge_contextvars, _keep(ALLOWED_KEYS), _describe_exception, _render]
_LIBRARY_PROCESSORS = [merge_contextvars, _keep(ALLOWED_KEYS | {"message"}), _describe_exception, _render]
