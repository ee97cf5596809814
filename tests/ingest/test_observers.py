"""Goal: one line for what an operator should see, and nothing in it that a sender wrote about a patient."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.ingest.mllp.frame import Anomaly
from services.ingest.mllp.observation import CloseReason, FramingFault, RefuseReason
from services.ingest.observers import CONNECTION_LINES_PER_S, LoggingPipelineObserver, LoggingServerObserver
from services.runtime.errors import Transient
from services.runtime.log import configure, get_logger
from tests.support.hl7_text import PERSON, event_of

UNAVAILABLE = Transient("log-unavailable", "the disk is full; free some space")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure("debug", stream)
    yield stream
    configure("warning")


def lines(stream: io.StringIO) -> list[tuple[str, str, dict[str, Any]]]:
    read = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [(line["level"], line["event"], line) for line in read]


@pytest.mark.parametrize(
    ("header", "feed_known", "level", "name"),
    [
        ({}, True, "debug", "message_accepted"),
        ({9: "ORU^R01"}, True, "debug", "message_accepted"),
        ({7: ""}, True, "info", "message_parked"),
        ({}, False, "info", "message_parked"),
    ],
)
def test_a_message_has_one_line_by_what_became_of_it(
    stream: io.StringIO, header: dict[int, str], level: str, name: str, *, feed_known: bool
) -> None:
    event = event_of(header=header) if feed_known else event_of(feed=None, header=header)
    LoggingPipelineObserver(get_logger("ingest")).message_recorded(event, "AA")
    ((said_level, said_name, line),) = lines(stream)
    assert (said_level, said_name) == (level, name)
    assert (line["control_id"], line["event_id"], line["acknowledgment"]) == ("M1", event.event_id, "AA")
    assert PERSON[5].partition("^")[0] not in stream.getvalue()


def test_a_trigger_that_is_a_senders_own_text_is_not_logged(stream: io.StringIO) -> None:
    observer = LoggingPipelineObserver(get_logger("ingest"))
    observer.message_recorded(event_of(header={9: "ADT^RIVERA"}), "AA")
    observer.message_recorded(event_of(header={9: "RIVERA^A01"}), "AA")
    assert "RIVERA" not in stream.getvalue()


def test_what_needs_somebody_is_loud(stream: io.StringIO) -> None:
    observer = LoggingPipelineObserver(get_logger("ingest"))
    observer.message_given_up(event_of(), UNAVAILABLE)
    observer.message_given_up(event_of(), None)
    observer.log_blocked(UNAVAILABLE)
    observer.log_blocked(None)
    observer.log_recovered()
    assert [(level, name, line.get("code")) for level, name, line in lines(stream)] == [
        ("warning", "message_unanswered", "log-unavailable"),
        ("warning", "message_unanswered", "log-slow"),
        ("error", "intake_blocked", "log-unavailable"),
        ("error", "intake_blocked", "log-slow"),
        ("warning", "intake_recovered", None),
    ]


def test_connections_are_logged_louder_where_we_ended_them(stream: io.StringIO) -> None:
    observer = LoggingServerObserver(get_logger("ingest"))
    observer.connection_opened(1, "127.0.0.1:1")
    observer.connection_closed(1, "127.0.0.1:1", CloseReason.PEER_CLOSED)
    observer.connection_closed(2, "127.0.0.1:2", CloseReason.TALKS_TLS)
    observer.connection_refused("127.0.0.1:3", RefuseReason.PAUSED)
    observer.framing_noticed(1, Anomaly.MISSING_CR)
    observer.framing_noticed(1, FramingFault.TRUNCATED)
    observer.junk_dropped(1, 12)
    observer.handler_failed(1, ValueError("RIVERA"))
    assert [(level, name) for level, name, _ in lines(stream)] == [
        ("info", "connection_opened"),
        ("info", "connection_closed"),
        ("warning", "connection_closed"),
        ("warning", "connection_refused"),
        ("debug", "framing_noticed"),
        ("warning", "framing_noticed"),
        ("info", "junk_dropped"),
        ("error", "handler_failed"),
    ]
    assert "RIVERA" not in stream.getvalue()
    assert all("dropped_keys" not in line for _, _, line in lines(stream))


def test_a_flood_of_connections_does_not_flood_the_log(stream: io.StringIO) -> None:
    now = [100.0]
    observer = LoggingServerObserver(get_logger("ingest"), monotonic=lambda: now[0])
    for number in range(CONNECTION_LINES_PER_S + 30):
        observer.connection_refused(f"192.0.2.1:{number}", RefuseReason.CONNECTIONS_MAX)
    assert len(stream.getvalue().splitlines()) == CONNECTION_LINES_PER_S
    observer.handler_failed(1, ValueError())
    now[0] += 1.0
    observer.connection_opened(1, "192.0.2.2:1")
    *_, failed, said, opened = map(json.loads, stream.getvalue().splitlines())
    assert (failed["event"], opened["event"]) == ("handler_failed", "connection_opened")
    assert (said["event"], said["count"]) == ("connections_unlogged", 30)
    observer.connection_closed(1, "192.0.2.2:1", CloseReason.PEER_CLOSED)
    assert len(stream.getvalue().splitlines()) == CONNECTION_LINES_PER_S + 4
