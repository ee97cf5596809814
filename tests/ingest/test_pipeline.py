"""Goal: AA only after the event is durable, exactly one answer each, and nothing lost while nothing can be written.

Method: the real pipeline before a publisher that does what the test says; waits are on conditions.
"""

import asyncio
import gc
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.canary import TOKEN_CHARS, canary_control_id, canary_message
from schemas.cloud_events import cloud_event_headers
from schemas.events import ACK_HEADER, RAW_HEADER, SENDER_HEADER, decode_event
from schemas.topics import ADT_EVENTS, partition_of
from services.ingest import pipeline as module
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.mllp.inbound import Inbound, PeerIdentity
from services.ingest.pipeline import Pipeline
from services.ingest.reception import Reception, control_ids
from services.runtime.clock import FixedClock, to_timestamp_us
from services.runtime.errors import AfterstayError, Ambiguous, Permanent, Transient
from tests.support.adt import adt
from tests.support.publishers import PARTITIONS, ScriptedPublisher, Witness

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
PATIENCE_S = 10.0
UNAVAILABLE = Transient("log-unavailable", "the disk is full; free some space")
OVERLOADED = Transient("log-overloaded", "too much waits for the disk")
UNKNOWN = Ambiguous("log-write-unknown", "the record may be stored or not")
FEEDS = Feeds((), default=FeedProfile(name="any", zone=ZoneInfo("America/New_York")))


class Bench:
    """A pipeline with what it stands on."""

    def __init__(self, *, hold_max_s: float = PATIENCE_S) -> None:
        self.publisher = ScriptedPublisher()
        self.witness = Witness()
        self.pipeline = Pipeline(
            reception=Reception(FEEDS, control_ids=control_ids(NOW)),
            publisher=self.publisher,
            partitions=PARTITIONS,
            clock=FixedClock(NOW),
            door=self.witness,
            observer=self.witness,
            hold_max_s=hold_max_s,
        )
        self.answers: dict[int, list[bytes | None]] = {}

    def send(
        self,
        payload: bytes,
        *,
        oversized: bool = False,
        truncated: bool = False,
        identity: PeerIdentity | None = None,
        connection_id: int = 1,
    ) -> int:
        """Hand over a frame; return the number under which its answers are kept."""
        number = len(self.answers)
        answers = self.answers[number] = []
        inbound = Inbound(
            payload=payload,
            peer="127.0.0.1:1",
            connection_id=connection_id,
            oversized=oversized,
            truncated=truncated,
            identity=identity,
        )
        self.pipeline(inbound, answers.append)
        return number

    def answer_codes(self) -> list[str]:
        """Return MSA-1 of each frame's one answer: ``none`` where it was closed without one, ``-`` where none came."""
        codes = []
        for answers in self.answers.values():
            assert len(answers) <= 1, "a message is answered once"
            answer = answers[0] if answers else b"MSA|-|"
            codes.append("none" if answer is None else answer.partition(b"MSA|")[2][:2].decode().rstrip("|"))
        return codes


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the conditions are states of others, which set no event
            await asyncio.sleep(0.001)


def message(control_id: str, **fields: str) -> bytes:
    return adt("A01", sent="20261124083000", control_id=control_id, **fields)


async def test_nothing_is_answered_before_it_is_durable() -> None:
    bench = Bench()
    bench.publisher.patient = True
    bench.send(message("M1"))
    bench.send(message("M2"))
    assert bench.publisher.waiting == 2
    assert bench.answer_codes() == ["-", "-"]
    bench.publisher.release(1)
    assert bench.answer_codes() == ["AA", "-"]
    bench.publisher.release()
    assert bench.answer_codes() == ["AA", "AA"]
    bench.pipeline.close()


async def test_the_record_holds_who_sent_it_where_that_is_known() -> None:
    bench = Bench()
    names = frozenset({"dns:adt.mercy.test", "sha256:00"})
    bench.send(message("M1"), identity=PeerIdentity(names=names, fingerprint="sha256:00", expires_at=1.0))
    await until(lambda: bench.publisher.records)
    (record,) = bench.publisher.records
    assert dict(record.headers)[SENDER_HEADER] == b"dns:adt.mercy.test\nsha256:00"
    bench.pipeline.close()


async def test_the_record_holds_the_event_and_the_bytes_as_received() -> None:
    bench = Bench()
    raw = message("M1", name="RIVERA^JOS\u00c9")
    bench.send(raw)
    await until(lambda: bench.publisher.records)
    (record,) = bench.publisher.records
    event = decode_event(record.value)
    assert record.topic == ADT_EVENTS
    assert record.key == event.event_id.encode()
    assert record.partition == partition_of(event, len(PARTITIONS))
    assert record.headers == ((RAW_HEADER, raw), (ACK_HEADER, b"AA"), *cloud_event_headers(record.key, NOW))
    assert record.timestamp_us == to_timestamp_us(NOW)
    assert event.received_at == NOW
    assert bench.witness.recorded == [(event, "AA")]
    bench.pipeline.close()


async def test_patients_of_one_number_share_a_partition_whatever_the_message() -> None:
    bench = Bench()
    for index in range(8):
        bench.send(message(f"M{index}", mrn="77^^^MERCY^MR", name=f"RIVERA^ANA{index}"))
    await until(lambda: len(bench.publisher.records) == 8)
    assert len({record.partition for record in bench.publisher.records}) == 1
    assert len({record.key for record in bench.publisher.records}) == 8
    bench.pipeline.close()


@pytest.mark.parametrize("error", [UNAVAILABLE, OVERLOADED, UNKNOWN], ids=lambda error: error.code)
async def test_answers_are_held_while_nothing_can_be_written_and_given_when_it_can(error: AfterstayError) -> None:
    bench = Bench()
    bench.publisher.failure = error
    for index in range(5):
        bench.send(message(f"M{index}"))
    await until(lambda: len(bench.publisher.tried) > 6)
    assert bench.answer_codes() == ["-"] * 5
    assert bench.witness.door == []
    bench.publisher.failure = None
    await until(lambda: bench.answer_codes() == ["AA"] * 5)
    assert sorted({record.key for record in bench.publisher.records}) == sorted(
        record.key for record in bench.publisher.records
    )
    assert bench.witness.given_up == []
    bench.pipeline.close()


async def test_one_record_at_a_time_is_tried_while_writing_fails() -> None:
    bench = Bench()
    bench.publisher.failure = UNAVAILABLE
    bench.send(message("M0"))
    await until(lambda: len(bench.publisher.tried) == 2)
    for index in range(1, 50):
        bench.send(message(f"M{index}"))
    assert len(bench.publisher.tried) == 2, "the others wait behind the one that is tried"
    bench.publisher.failure = None
    await until(lambda: bench.answer_codes() == ["AA"] * 50)
    assert len(bench.publisher.records) == 50
    bench.pipeline.close()


async def test_what_was_tried_in_vain_keeps_its_place_before_what_came_after_it() -> None:
    bench = Bench()
    bench.publisher.failure = UNAVAILABLE
    for number in range(5):
        bench.send(message(f"M{number}"))
    await until(lambda: len(bench.publisher.tried) >= 5 + 3)  # three tries, each of one record
    bench.publisher.failure = None
    await until(lambda: bench.answer_codes() == ["AA"] * 5)
    assert stored(bench) == ["M0", "M1", "M2", "M3", "M4"]
    bench.pipeline.close()


async def test_a_failure_that_is_told_late_puts_no_message_behind_a_younger_one() -> None:
    bench = Bench()
    bench.publisher.failure = UNAVAILABLE
    bench.publisher.patient = True
    bench.send(message("M0"))
    bench.send(message("M1"))
    bench.publisher.release(1)
    bench.send(message("M2"))
    bench.publisher.release(1)
    bench.publisher.failure = None
    bench.publisher.patient = False
    await until(lambda: bench.answer_codes() == ["AA"] * 3)
    assert stored(bench) == ["M0", "M1", "M2"]
    bench.pipeline.close()


async def test_who_is_hung_up_on_has_nothing_stored_that_would_come_before_what_he_sends_again() -> None:
    bench = Bench(hold_max_s=0.1)
    bench.publisher.failure = UNAVAILABLE
    bench.send(message("M0"), connection_id=7)
    await asyncio.sleep(0.05)  # so that the first is given up before the others are
    bench.send(message("M1"), connection_id=7)
    bench.send(message("N1"), connection_id=8)
    await until(lambda: bench.answer_codes()[0] == "none")
    assert bench.answer_codes()[:2] == ["none", "none"]
    bench.publisher.failure = None
    await until(lambda: "open" in bench.witness.door)
    assert "M1" not in stored(bench)
    bench.pipeline.close()


def stored(bench: Bench) -> list[str | None]:
    return [decode_event(record.value).control_id for record in bench.publisher.records]


async def test_what_cannot_be_written_in_time_is_closed_unanswered_and_the_door_is_shut() -> None:
    bench = Bench(hold_max_s=0.05)
    bench.publisher.failure = UNAVAILABLE
    bench.send(message("M1"))
    bench.send(message("M2"))
    await until(lambda: bench.answer_codes() == ["none", "none"])
    assert bench.witness.door == ["shut"]
    assert bench.witness.log == ["blocked:log-unavailable"]
    assert [error for _, error in bench.witness.given_up] == [UNAVAILABLE, UNAVAILABLE]
    assert bench.pipeline.stats.given_up == 2
    bench.pipeline.close()


async def test_the_door_opens_again_once_a_message_that_was_given_up_can_be_written() -> None:
    bench = Bench(hold_max_s=0.05)
    bench.publisher.failure = UNAVAILABLE
    bench.send(message("M1"))
    await until(lambda: bench.witness.door == ["shut"])
    bench.publisher.failure = None
    await until(lambda: bench.witness.door == ["shut", "open"])
    assert bench.witness.log == ["blocked:log-unavailable", "recovered"]
    assert bench.answer_codes() == ["none"], "its sender was hung up on and is not answered any more"
    assert [decode_event(record.value).control_id for record in bench.publisher.records] == ["M1"]
    bench.send(message("M2"))
    await until(lambda: bench.answer_codes() == ["none", "AA"])
    bench.pipeline.close()


async def test_messages_that_still_come_while_the_door_is_shut_are_held_too() -> None:
    bench = Bench(hold_max_s=0.05)
    bench.publisher.failure = UNAVAILABLE
    bench.send(message("M1"))
    await until(lambda: bench.witness.door == ["shut"])
    bench.send(message("M2"))
    assert bench.answer_codes() == ["none", "-"]
    await until(lambda: bench.answer_codes() == ["none", "none"])
    assert bench.witness.door == ["shut"], "it is shut once"
    bench.pipeline.close()


async def test_a_log_that_does_not_answer_is_one_that_cannot_be_written() -> None:
    bench = Bench(hold_max_s=0.05)
    bench.publisher.patient = True
    bench.send(message("M1"))
    await until(lambda: bench.answer_codes() == ["none"])
    assert bench.witness.door == ["shut"]
    assert bench.witness.log == ["blocked:slow"]
    bench.publisher.release()
    assert bench.witness.door == ["shut", "open"], "the write that came late shows that writing is possible"
    assert bench.answer_codes() == ["none"]
    assert bench.pipeline.stats.recorded == 0
    bench.pipeline.close()


async def test_a_late_failure_of_a_message_given_up_keeps_the_door_shut_until_a_write_succeeds() -> None:
    bench = Bench(hold_max_s=0.05)
    bench.publisher.patient = True
    bench.send(message("M1"))
    await until(lambda: bench.witness.door == ["shut"])
    bench.publisher.failure = UNAVAILABLE
    bench.publisher.release()
    bench.publisher.patient = False
    await until(lambda: len(bench.publisher.tried) > 2)
    assert bench.witness.door == ["shut"]
    bench.publisher.failure = None
    await until(lambda: bench.witness.door == ["shut", "open"])
    bench.pipeline.close()


async def test_the_hold_of_one_message_does_not_shorten_that_of_the_next() -> None:
    bench = Bench(hold_max_s=0.1)
    bench.publisher.patient = True
    bench.send(message("M1"))
    loop = asyncio.get_running_loop()
    halfway = loop.time() + 0.05
    await until(lambda: loop.time() >= halfway)
    bench.send(message("M2"))
    await until(lambda: bench.answer_codes()[0] == "none")
    assert bench.answer_codes() == ["none", "-"]
    await until(lambda: bench.answer_codes() == ["none", "none"])
    bench.pipeline.close()


@pytest.mark.parametrize(
    "error",
    [
        Transient("log-failed", "the log has failed for good"),
        Permanent("topic-unknown", "there is no such topic"),
        Permanent("partition-unknown", "there is no such partition"),
    ],
    ids=lambda error: error.code,
)
async def test_a_log_that_has_failed_for_good_is_not_waited_for(error: AfterstayError) -> None:
    bench = Bench()
    bench.publisher.failure = error
    bench.send(message("M1"))
    await until(lambda: bench.answer_codes() == ["none"])
    assert bench.witness.door == ["shut"]
    assert bench.witness.log == [f"blocked:{error.code}"]
    bench.pipeline.close()


async def test_a_record_that_is_too_large_is_refused_and_its_head_recorded() -> None:
    bench = Bench()
    bench.publisher.patient = True
    raw = message("M1") + b"OBX|1|TX|||" + b"x" * 100_000 + b"\r"
    bench.send(raw)
    bench.publisher.failure = Permanent("record-too-large", "above the limit")
    bench.publisher.release()
    assert bench.answer_codes() == ["-"]
    bench.publisher.failure = None
    bench.publisher.release()
    assert bench.answer_codes() == ["AR"]
    (record,) = bench.publisher.records
    event = decode_event(record.value)
    assert (event.control_id, event.intake.reason) == ("M1", "frame-too-large")
    assert dict(record.headers)[ACK_HEADER] == b"AR"
    assert len(dict(record.headers)[RAW_HEADER]) < 5_000
    bench.pipeline.close()


async def test_a_head_that_is_still_too_large_is_given_up_and_not_tried_forever() -> None:
    bench = Bench()
    bench.publisher.failure = Permanent("record-too-large", "above the limit")
    bench.send(message("M1"))
    await until(lambda: bench.answer_codes() == ["none"])
    assert len(bench.publisher.tried) == 2
    bench.pipeline.close()


async def test_a_broken_off_frame_is_recorded_and_says_that_it_was_not_answered() -> None:
    bench = Bench()
    bench.send(message("M1")[:90], truncated=True)
    await until(lambda: bench.publisher.records)
    (record,) = bench.publisher.records
    assert dict(record.headers)[ACK_HEADER] == b"none"
    assert decode_event(record.value).intake.reason == "frame-truncated"
    assert bench.answers[0] == [b""], "its place in the line is settled, with nothing to send"
    assert bench.pipeline.stats.codes == {"none": 1}
    bench.pipeline.close()


async def test_every_frame_is_counted_once() -> None:
    bench = Bench()
    bench.send(message("M1"))
    bench.send(message("M2").replace(b"ADT^A01", b"ORU^R01"))
    bench.send(message("M3", mrn="0000^^^MERCY^MR", birth_date=""))
    bench.send(message(""))
    bench.send(b"GET / HTTP/1.1")
    bench.send(message("M6")[:120], oversized=True)
    await until(lambda: bench.pipeline.stats.recorded == 6)
    stats = bench.pipeline.stats
    assert stats.received == 6
    assert stats.codes == {"AA": 3, "AR": 3}
    assert stats.outcomes == {"accepted": 1, "not_for_us": 1, "unusable": 1, "unreadable": 3}
    assert bench.answer_codes() == ["AA", "AA", "AA", "AR", "AR", "AR"]
    bench.pipeline.close()


async def test_a_success_in_between_sends_what_waited_without_a_pause() -> None:
    bench = Bench()
    bench.publisher.patient = True
    bench.send(message("M1"))
    bench.send(message("M2"))
    bench.publisher.failure = UNAVAILABLE
    bench.publisher.release(1)
    bench.send(message("M3"))
    assert bench.publisher.waiting == 1, "M1 and M3 are held, M2 is on its way"
    bench.publisher.failure = None
    bench.publisher.release(1)
    assert bench.answer_codes() == ["-", "AA", "-"]
    bench.publisher.release()
    assert bench.answer_codes() == ["AA", "AA", "AA"]
    bench.pipeline.close()


async def test_what_was_given_up_while_it_was_held_is_not_sent_later() -> None:
    bench = Bench(hold_max_s=0.2)
    bench.publisher.failure = UNAVAILABLE
    for index in range(3):
        bench.send(message(f"M{index}"))
    await until(lambda: bench.answer_codes() == ["none"] * 3)
    bench.publisher.failure = None
    await until(lambda: bench.witness.door == ["shut", "open"])
    bench.send(message("M9"))
    await until(lambda: bench.answer_codes()[-1] == "AA")
    assert len(bench.publisher.records) == 2, "the one that tried the log, and the new one"
    bench.pipeline.close()


async def test_a_late_success_opens_the_door_and_sends_nothing_that_was_given_up() -> None:
    bench = Bench(hold_max_s=0.05)
    bench.publisher.patient = True
    bench.send(message("M1"))
    bench.send(message("M2"))
    bench.publisher.failure = UNAVAILABLE
    bench.publisher.release(1)
    await until(lambda: bench.answer_codes() == ["none", "none"])
    bench.publisher.failure = None
    bench.publisher.release(1)
    assert bench.witness.door == ["shut", "open"]
    assert [decode_event(record.value).control_id for record in bench.publisher.records] == ["M2"]
    bench.pipeline.close()


async def test_a_late_failure_that_nobody_waits_for_holds_up_nobody() -> None:
    bench = Bench(hold_max_s=0.05)
    bench.publisher.patient = True
    bench.send(message("M1"))
    bench.send(message("M2"))
    await until(lambda: bench.answer_codes() == ["none", "none"])
    bench.publisher.release(1)
    assert bench.witness.door == ["shut", "open"]
    bench.publisher.failure = UNAVAILABLE
    bench.publisher.release(1)
    loop = asyncio.get_running_loop()
    later = loop.time() + 2 * module.RETRY_FIRST_S
    await until(lambda: loop.time() >= later)
    assert len(bench.publisher.tried) == 2, "there is nothing to try"
    bench.publisher.failure, bench.publisher.patient = None, False
    bench.send(message("M3"))
    await until(lambda: bench.answer_codes() == ["none", "none", "AA"])
    bench.pipeline.close()


async def test_closing_leaves_the_rest_unanswered_and_no_timer_behind() -> None:
    bench = Bench()
    bench.publisher.failure = UNAVAILABLE
    bench.send(message("M1"))
    bench.send(message("M2"))
    await until(lambda: len(bench.publisher.tried) > 2)
    bench.pipeline.close()
    assert bench.answer_codes() == ["none", "none"]
    tried = len(bench.publisher.tried)
    loop = asyncio.get_running_loop()
    later = loop.time() + 3 * module.RETRY_FIRST_S
    await until(lambda: loop.time() >= later)
    assert len(bench.publisher.tried) == tried


async def test_an_outcome_after_closing_changes_nothing() -> None:
    bench = Bench()
    bench.publisher.patient = True
    bench.send(message("M1"))
    bench.pipeline.close()
    bench.publisher.release()
    assert bench.answer_codes() == ["none"]


async def test_what_is_answered_is_forgotten() -> None:
    bench = Bench()
    for index in range(200):
        bench.send(message(f"M{index}"))
    await until(lambda: len(bench.publisher.records) == 200)
    bench.publisher.records.clear()
    bench.publisher.tried.clear()
    bench.answers.clear()
    bench.witness.recorded.clear()
    gc.collect()
    alive = [one for one in gc.get_objects() if type(one).__name__ == "_Passage"]
    assert len(alive) <= 1, "messages must not pile up in the pipeline"
    bench.pipeline.close()


async def test_no_task_is_made_for_a_message() -> None:
    bench = Bench()
    before = asyncio.all_tasks()
    bench.publisher.patient = True
    for index in range(20):
        bench.send(message(f"M{index}"))
    assert asyncio.all_tasks() == before
    bench.publisher.release()
    bench.pipeline.close()


async def test_a_canary_is_no_sign_of_life_of_the_feed_that_a_default_would_give_it_to() -> None:
    bench = Bench()
    bench.send(canary_message(canary_control_id("0" * TOKEN_CHARS), NOW))
    await until(lambda: bench.pipeline.stats.recorded == 1)
    assert bench.pipeline.stats.last_of_feed == {}
    bench.send(adt("A01", sent="20261124080000", control_id="M1"))
    await until(lambda: bench.pipeline.stats.recorded == 2)
    assert bench.pipeline.stats.last_of_feed == {"any": NOW}
