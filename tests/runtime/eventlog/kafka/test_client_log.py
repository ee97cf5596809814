"""Goal: a broker that is down does not fill the disk with aiokafka's lines."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from services.runtime.clock import FixedClock
from services.runtime.eventlog.kafka.client_log import REPEAT_S, RepeatLimit, limit_repeats


def test_a_template_is_heard_once_in_a_while_with_how_often_it_was_held_back() -> None:
    clock = FixedClock(datetime(2026, 11, 27, tzinfo=UTC))
    limit = RepeatLimit(clock)

    def heard(template: str) -> str | None:
        record = logging.LogRecord("aiokafka.conn", logging.ERROR, "file", 1, template, ("10.0.0.1",), None)
        return record.getMessage() if limit.filter(record) else None

    assert heard("no connection to %s") == "no connection to 10.0.0.1"
    assert [heard("no connection to %s") for _ in range(500)] == [None] * 500
    assert heard("another matter of %s") == "another matter of 10.0.0.1"
    clock.advance(timedelta(seconds=REPEAT_S))
    again = heard("no connection to %s")
    assert again == "no connection to 10.0.0.1 (and 500 more like it since the last such line)"
    assert heard("no connection to %s") is None


def test_the_limit_is_put_on_every_logger_of_the_library_once(caplog: pytest.LogCaptureFixture) -> None:
    limit_repeats()
    limit_repeats()
    for name in ("aiokafka", "aiokafka.conn", "aiokafka.cluster"):
        filters = [one for one in logging.getLogger(name).filters if isinstance(one, RepeatLimit)]
        assert len(filters) == 1, name
    with caplog.at_level(logging.ERROR):
        for _ in range(50):
            logging.getLogger("aiokafka.conn").error("a line of this test to %s", "nobody")
    assert len([record for record in caplog.records if "a line of this test" in record.getMessage()]) == 1
