"""Goal: real messages are answered and become events, whatever their oddities (issue 3, "Shown by").

Method: every third-party message through the pipeline and a publisher that stores at once, as found and with CR line
ends, each with a control id of its own; the third-party messages are only read from beside the repository.
"""

import re
from datetime import UTC, datetime
from itertools import count
from zoneinfo import ZoneInfo

import pytest

from schemas.events import AdtEvent, decode_event
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.hl7.delimiters import Hl7SyntaxError
from services.ingest.hl7.message import Message, parse
from services.ingest.mllp.inbound import Inbound
from services.ingest.normalize import KINDS
from services.ingest.pipeline import Pipeline
from services.ingest.reception import Reception, control_ids
from services.runtime.clock import FixedClock
from tests.support.corpora import Kind, corpora_files, with_cr
from tests.support.publishers import PARTITIONS, ScriptedPublisher, Witness

pytestmark = pytest.mark.corpora

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
EVENTS_SHARE_MIN = 0.95  # issue 3
FEEDS = Feeds((), default=FeedProfile(name="default", zone=ZoneInfo("America/New_York")))
FIRST_LINE = re.compile(rb"[^\r\n]*")


class Hospital:
    """Sends frames through a pipeline and keeps what came of each."""

    def __init__(self) -> None:
        self.publisher = ScriptedPublisher()
        witness = Witness()
        self.pipeline = Pipeline(
            reception=Reception(FEEDS, control_ids=control_ids(NOW)),
            publisher=self.publisher,
            partitions=PARTITIONS,
            clock=FixedClock(NOW),
            door=witness,
            observer=witness,
        )

    def send(self, payload: bytes) -> tuple[bytes, AdtEvent]:
        """Send one frame and return its answer and its event."""
        answers: list[bytes | None] = []
        self.publisher.patient = True
        self.pipeline(Inbound(payload=payload, peer="127.0.0.1:1", connection_id=1), answers.append)
        self.publisher.release()
        (answer,) = answers
        assert answer is not None
        return answer, decode_event(self.publisher.records.pop().value)


def with_control_id(raw: bytes, control_id: str) -> bytes:
    """Put a control id of its own into the header, whatever the header's separator and charset are."""
    message = parse(raw)
    fields = [message.header.field(number) for number in range(1, len(message.header) + 1)]
    fields += [""] * (10 - len(fields))
    separator = fields[0]
    fields[9] = control_id
    header = f"MSH{separator}{separator.join(fields[1:])}"
    begin = (
        raw.index("MSH".encode(message.charset)) if message.charset.startswith("utf-16") else raw.upper().index(b"MSH")
    )
    end = FIRST_LINE.match(raw, begin)
    assert end is not None
    return header.encode(message.charset) + raw[end.end() :]


def states_a_time(message: Message) -> bool:
    """Say by a way of its own whether a message has a time: eight digits of a day where times stand."""
    fields = {"MSH": (7,), "EVN": (2, 6), "PV1": (44, 45)}
    texts = [
        segment.field(field) for name, places in fields.items() for segment in message.all(name) for field in places
    ]
    return any(re.match(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d)", text) for text in texts)


def names_a_patient(message: Message) -> bool:
    """Say by a way of its own whether a message has a patient identifier, or a name and a birth date."""
    pid = message.first("PID")
    if pid is None:
        return False
    known = any(re.search(r"[1-9A-Za-z]", pid.component(field)) for field in (2, 3, 4))
    return known or bool(re.search(r"\w", pid.field(5)) and re.match(r"[12]\d{7}", pid.field(7)))


@pytest.mark.parametrize("kind", ["adt", "other"])
async def test_every_message_gets_one_answer_with_its_own_control_id(kind: Kind) -> None:
    hospital, numbers = Hospital(), count(1)
    for path in corpora_files(kind):
        for found in (path.read_bytes(), with_cr(path.read_bytes())):
            control_id = f"FRESH{next(numbers)}"
            answer, event = hospital.send(with_control_id(found, control_id))
            acknowledgment = parse(answer).first("MSA")
            assert acknowledgment is not None
            assert (acknowledgment.field(1), acknowledgment.field(2)) == ("AA", control_id), path.name
            assert event.control_id == control_id, path.name
            assert event.intake.reason != "normalizer-failed", path.name
    hospital.pipeline.close()


async def test_nineteen_in_twenty_usable_messages_become_events() -> None:
    hospital, numbers = Hospital(), count(1)
    usable, accepted = 0, 0
    for path in corpora_files("adt"):
        raw = with_control_id(path.read_bytes(), f"FRESH{next(numbers)}")
        message = parse(raw)
        _, event = hospital.send(raw)
        if event.trigger in KINDS and states_a_time(message) and names_a_patient(message):
            usable += 1
            accepted += event.intake.outcome == "accepted"
    hospital.pipeline.close()
    assert usable > 300, "the measure must measure something"
    assert accepted >= EVENTS_SHARE_MIN * usable, f"{accepted} of {usable}"


async def test_odd_inputs_are_answered_and_recorded_too() -> None:
    hospital = Hospital()
    for path in corpora_files("odd"):
        for raw in (path.read_bytes(), with_cr(path.read_bytes())):
            answer, event = hospital.send(raw)
            assert answer.startswith(b"MSH") or b"M\0S\0H" in answer, path.name
            assert event.intake.reason != "normalizer-failed", path.name
            assert (event.intake.outcome == "unreadable") == (b"MSA|AR" in answer.replace(b"\0", b"")), path.name
    hospital.pipeline.close()


async def test_a_batch_and_glued_messages_are_refused_with_a_clear_reason() -> None:
    hospital = Hospital()
    reasons = {hospital.send(path.read_bytes())[1].intake.reason for path in corpora_files("odd")}
    hospital.pipeline.close()
    assert {"batch-envelope", "several-messages", "header-missing"} <= reasons


def test_a_control_id_is_put_where_it_belongs() -> None:
    raw = b"MSH!@%*#A#B##########\nPID#1\n"
    with pytest.raises(Hl7SyntaxError):
        with_control_id(b"PID|1\r", "X")
    raw = b"\r\nMSH#!@%*#A#B#C#D#2026##ADT!A01##P\nPID#1\n"
    assert parse(with_control_id(raw, "X1")).header.field(10) == "X1"
    assert parse(with_control_id(raw, "X1")).first("PID") is not None
