"""Nothing reaches a log line that was not meant to: planted patient data is searched for in every way out."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars

from services.runtime import log as log_module
from services.runtime.clock import FixedClock
from services.runtime.errors import Transient
from services.runtime.log import ALLOWED_KEYS, VALUE_CHARS_MAX, configure, get_logger

CANARY = "ZYXWORTHY"
NOON = datetime(2026, 11, 24, 12, 0, 0, 123_456, tzinfo=UTC)
ENVELOPE = {"timestamp", "level", "event", "logger", "dropped_keys"}


class Sink(io.StringIO):
    """A stream to log to; `lines` is what came, one parsed object for each line."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def sink() -> Iterator[Sink]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    stream = Sink()
    configure("debug", stream, clock=FixedClock(NOON))
    yield stream
    configure("warning")
    root.handlers[:] = handlers
    root.setLevel(level)


class Colour(StrEnum):
    RED = "red"


class Patient:
    def __repr__(self) -> str:
        return CANARY

    __str__ = __repr__


# The line


def test_a_fact_is_one_line_of_json_with_its_time_level_and_logger(sink: Sink) -> None:
    get_logger("services.ingest.pipeline").info("message_accepted", feed="mercy", duration_ms=3)
    assert sink.lines == [
        {
            "timestamp": "2026-11-24T12:00:00.123+00:00",
            "level": "info",
            "event": "message_accepted",
            "logger": "services.ingest.pipeline",
            "feed": "mercy",
            "duration_ms": 3,
        }
    ]


def test_bound_keys_and_context_variables_are_on_every_line(sink: Sink) -> None:
    log = get_logger("x").bind(feed="mercy")
    with bound_contextvars(trace_id="t1", patient=CANARY):
        log.info("message_accepted")
    log.info("message_accepted")
    assert [(line["feed"], line.get("trace_id")) for line in sink.lines] == [("mercy", "t1"), ("mercy", None)]
    assert CANARY not in sink.getvalue()


@pytest.mark.parametrize(
    ("threshold", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error", "critical"]),
        ("info", ["info", "warning", "error", "critical"]),
        ("warning", ["warning", "error", "critical"]),
        ("error", ["error", "critical"]),
        ("critical", ["critical"]),
    ],
)
def test_lines_below_the_level_are_not_written(sink: Sink, threshold: str, heard: list[str]) -> None:
    configure(threshold, sink, clock=FixedClock(NOON))
    log = get_logger("x")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(log, level)("thing_happened")
    assert [line["level"] for line in sink.lines] == heard
    sink.truncate(0)
    sink.seek(0)
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logging.getLogger("library"), level)("thing happened")
    quieter = [level for level in heard if level != "info" or threshold == "debug"]
    assert [line["level"] for line in sink.lines] == quieter  # at info, libraries talk about themselves


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of debug"):
        configure("verbose")


def test_a_level_that_is_off_does_not_look_at_its_values(sink: Sink) -> None:
    class Untouchable:
        def __getattribute__(self, name: str) -> Any:
            pytest.fail("a line that is off was built")

    configure("info", sink)
    get_logger("x").debug("thing_happened", feed=Untouchable())
    assert sink.getvalue() == ""


# What may be in it


def test_an_unknown_key_is_dropped_with_its_value_and_counted(sink: Sink) -> None:
    get_logger("x").info("message_accepted", feed="mercy", name=CANARY, birth_date="19440807", **{CANARY: 1})
    (line,) = sink.lines
    assert line["dropped_keys"] == 3
    assert set(line) == ENVELOPE | {"feed"}
    assert CANARY not in sink.getvalue()
    assert "19440807" not in sink.getvalue()


@given(
    keys=st.dictionaries(
        st.text(min_size=1).filter(lambda key: key not in ALLOWED_KEYS | ENVELOPE | {"exc_info", "self"}),
        st.just(CANARY),
        max_size=5,
    )
)
def test_no_key_outside_of_the_list_passes_whatever_it_is_called(keys: dict[str, str]) -> None:
    stream = Sink()
    configure("debug", stream)
    get_logger("x").info("thing_happened", **keys)
    configure("warning")
    (line,) = stream.lines
    assert set(line) <= ENVELOPE
    assert line.get("dropped_keys", 0) == len(keys)
    assert CANARY not in stream.getvalue()


@pytest.mark.parametrize("key", ["error_message", "error_type", "error_code", "error_at", "message", "level"])
def test_the_keys_that_this_module_sets_cannot_be_set_by_others(sink: Sink, key: str) -> None:
    get_logger("x").info("thing_happened", **{key: CANARY})
    assert CANARY not in sink.getvalue()
    assert sink.lines[0]["dropped_keys"] == 1


def test_clinical_words_are_not_on_the_list() -> None:
    forbidden = {"name", "family", "given", "birth_date", "phone", "street", "mrn", "identifier", "patient", "raw"}
    assert not forbidden & ALLOWED_KEYS


@pytest.mark.parametrize(
    "event", [f"patient {CANARY} admitted", CANARY, "", "admitted", "Message_Accepted", "a_b\n", 7], ids=repr
)
def test_an_event_name_that_is_not_fixed_snake_case_is_replaced(sink: Sink, event: Any) -> None:
    get_logger("x").info(event)
    assert sink.lines[0]["event"] == "event_name_refused"
    assert CANARY not in sink.getvalue()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        (7, 7),
        (2.5, 2.5),
        (True, True),
        (None, None),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (10**400, "<int>"),
        (Colour.RED, "red"),
        (Path("feeds.yaml"), "feeds.yaml"),
        (NOON, "2026-11-24T12:00:00.123456+00:00"),
        (["a", 1], ["a", 1]),
        (("a", [CANARY]), ["a", "<list>"]),
        (list(range(50)), list(range(20))),
        ("x" * 1000, "x" * VALUE_CHARS_MAX + "..."),
        (Patient(), "<Patient>"),
        ({CANARY: 1}, "<dict>"),
        (CANARY.encode(), "<bytes>"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_are_scalars_and_of_other_objects_only_the_type_is_told(sink: Sink, value: Any, written: Any) -> None:
    get_logger("x").info("thing_happened", reason=value)
    assert sink.lines[0]["reason"] == written
    assert CANARY not in sink.getvalue()


@given(text=st.text())
def test_any_text_in_a_value_stays_within_its_line_and_within_ascii(text: str) -> None:
    stream = Sink()
    configure("debug", stream)
    get_logger("x").info("thing_happened", control_id=text + "\r\n\x1b[2J\u2028\u202e\ud800")
    configure("warning")
    assert stream.getvalue().isascii()
    assert stream.getvalue().count("\n") == 1
    assert not set(stream.getvalue()[:-1]) & {chr(code) for code in [*range(32), 127]}


# Exceptions


def fail_with(error: Exception) -> Callable[[], None]:
    def fail_here() -> None:
        raise error

    return fail_here


def test_a_foreign_exception_is_told_by_type_and_place_but_not_by_its_text(sink: Sink) -> None:
    try:
        fail_with(ValueError(f"cannot parse {CANARY}"))()
    except ValueError:
        get_logger("x").exception("parsing_failed", feed="mercy")
    (line,) = sink.lines
    assert line["error_type"] == "ValueError"
    assert line["error_at"][-1].endswith(":fail_here")
    assert line["error_at"][-1].startswith("test_log.py:")
    assert set(line) == ENVELOPE - {"dropped_keys"} | {"feed", "error_type", "error_at"}
    assert CANARY not in sink.getvalue()


def test_our_own_error_is_told_with_its_code_and_its_advice(sink: Sink) -> None:
    get_logger("x").error("commit_failed", exc_info=Transient("log-unavailable", "the disk is full; make room"))
    (line,) = sink.lines
    assert (line["error_type"], line["error_code"]) == ("Transient", "log-unavailable")
    assert line["error_message"] == "the disk is full; make room"


def test_exception_outside_of_a_handler_is_an_error_line(sink: Sink) -> None:
    get_logger("x").exception("thing_failed")
    assert set(sink.lines[0]) == ENVELOPE - {"dropped_keys"}


# Libraries


def test_a_library_s_template_is_kept_and_its_arguments_are_not(sink: Sink) -> None:
    logging.getLogger("webserver.access").warning('%s - "GET /patients?name=%s"', "127.0.0.1", CANARY)
    logging.getLogger("sqlalchemy.engine").warning("SELECT 1\n[parameters: %s]", CANARY)
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <" + CANARY + ">")  # noqa: G003
    assert [(line["event"], line["logger"], line["message"]) for line in sink.lines] == [
        ("library_logged", "webserver.access", '%s - "GET /patients?name=%s"'),
        ("library_logged", "sqlalchemy.engine", "SELECT 1"),
        ("library_logged", "asyncio", "Task exception was never retrieved"),
    ]
    assert CANARY not in sink.getvalue()


def test_a_library_s_exception_is_told_like_ours(sink: Sink) -> None:
    try:
        fail_with(KeyError(CANARY))()
    except KeyError:
        logging.getLogger("library").exception("it broke")
    (line,) = sink.lines
    assert (line["level"], line["error_type"]) == ("error", "KeyError")
    assert CANARY not in sink.getvalue()


def test_a_library_s_own_level_is_told_as_a_warning(sink: Sink) -> None:
    logging.getLogger("library").log(35, "odd")
    assert sink.lines[0]["level"] == "warning"


def test_configuring_twice_does_not_write_a_library_s_line_twice(sink: Sink) -> None:
    configure("debug", sink, clock=FixedClock(NOON))
    logging.getLogger("library").warning("once")
    assert len(sink.lines) == 1


# Where it goes


def test_lines_go_to_standard_error_and_never_to_standard_output(
    sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("info")
    get_logger("x").info("thing_happened")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "thing_happened"
    assert sink.getvalue() == ""


def test_before_anybody_configures_it_a_warning_goes_to_standard_error_through_the_same_filter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "_output", log_module._Output())
    log = get_logger("x")
    log.info("thing_happened")
    log.warning("thing_failed", name=CANARY)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["dropped_keys"] == 1
    assert CANARY not in captured.err


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("I/O operation on closed file")])
def test_a_stream_that_cannot_be_written_does_not_stop_the_program(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(sink, "write", lambda _text: fail_with(error)())
    get_logger("x").error("thing_failed")
    logging.getLogger("library").error("it failed")
    assert sink.getvalue() == ""


def test_standard_error_is_looked_up_when_a_line_is_written(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("info")
    later = Sink()
    monkeypatch.setattr(sys, "stderr", later)
    get_logger("x").info("thing_happened")
    assert len(later.lines) == 1
    assert sink.getvalue() == ""
