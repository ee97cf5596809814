"""Frames and bad inputs against the real listener (faults B01 to B24, F33, F34, F36), each with its fixed answer.

The unit tests of `ingest/mllp` and `ingest/hl7` have all the cases; this is the selection that must hold over a socket,
whole, byte by byte, and pipelined between two good messages.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import hl7.client
import psutil
import pytest

from services.ingest.mllp.frame import FRAME_BYTES_MAX
from tests.system.people import Person
from tests.system.senders import Answer, Load, Sender, control_id_of, exchange, framed, read_answer
from tests.system.service import Service, until

pytestmark = pytest.mark.system

HANG_S = 1.0  # promise P8
GROWTH_BYTES_MAX = 64 * 1024**2  # promise P8
HEADER_TIMEOUT_S = 10.0  # fault F33
Said = list[tuple[str, str]]


def message(
    control_id: str, *, header: str = "ADT^A08|{}|P|2.5", segments: bytes = b"PID|1||4711^^^MERCY^MR\r"
) -> bytes:
    """Return a message; `header` is MSH-9 to 12 with a place for the control id."""
    return f"MSH|^~\\&|EPIC|MERCY|A|B|20261120||{header.format(control_id)}\r".encode() + segments


M1, M2 = message("1"), message("2")
FRAMINGS: dict[str, tuple[bytes, Said]] = {
    "one frame": (framed(M1), [("AA", "1")]),
    "two frames in one write": (framed(M1) + framed(M2), [("AA", "1"), ("AA", "2")]),
    "line ends between frames": (framed(M1) + b"\r\n\r\n" + framed(M2), [("AA", "1"), ("AA", "2")]),
    "LF after the end byte": (b"\x0b" + M1 + b"\x1c\n" + framed(M2), [("AA", "1"), ("AA", "2")]),
    "no CR after the end byte, and the next frame": (b"\x0b" + M1 + b"\x1c" + framed(M2), [("AA", "1"), ("AA", "2")]),
    "junk before the start byte": (b"noise" + framed(M1), [("AA", "1")]),
    "a start byte inside a frame": (b"\x0b" + M1[:40] + framed(M2), [("AA", "2")]),
    "a vertical tab in a note": (framed(message("1", segments=b"NTE|1||a\x0bb\r")), [("AA", "1")]),
    "an end byte in a note": (framed(message("1", segments=b"NTE|1||a\x1cb\r")), [("AA", "1")]),
    "several start and end bytes": (b"\x0b\x0b" + M1 + b"\x1c\x1c\r" + framed(M2), [("AA", "1"), ("AA", "2")]),
    "an empty frame": (framed(b"") + framed(M2), [("AR", ""), ("AA", "2")]),
    "white space in a frame": (framed(b" \r\n\t") + framed(M2), [("AR", ""), ("AA", "2")]),
}

CONTENTS: dict[str, tuple[bytes, str, str]] = {
    # What it is (and its number in the catalog): the bytes, MSA-1, MSA-2.
    "B07 no header": (b"PID|1||4711\r", "AR", ""),
    "B08 JSON in a frame": (b'{"resourceType": "Patient"}', "AR", ""),
    "B08 XML with a DTD in a frame": (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "AR", ""),
    "B09 only three characters": (b"MSH", "AR", ""),
    "B09 a letter for a separator": (b"MSHH0", "AR", ""),
    "B09 separators and nothing else": (b"MSH||||||||||\r", "AR", ""),
    "B10 the input that hangs nHapi": (b"MSH|^|||||||^A|||2.2\r^AA", "AR", ""),
    "B11 unusual separators": (b"MSH$%*!@$EPIC$MERCY$A$B$20261120$$ADT%A08$B11$P$2.5\rPID$1$$4711\r", "AA", "B11"),
    "B11 all separators the same": (b"MSH|||||EPIC|MERCY|A|B|20261120||ADT^A08|B11|P|2.5\r", "AR", ""),
    "B11 two separators the same": (b"MSH|^^\\&|EPIC|MERCY|A|B|20261120||ADT^A08|B11|P|2.5\r", "AR", ""),
    "B12 a truncation character": (message("B12").replace(b"^~\\&|", b"^~\\&#|", 1), "AA", "B12"),
    "B13 LF": (message("B13").replace(b"\r", b"\n"), "AA", "B13"),
    "B13 CR LF": (message("B13").replace(b"\r", b"\r\n"), "AA", "B13"),
    "B14 escapes that are none": (
        message("B14", segments=b"PID|1||1\\X0||A\\E\\^\\\\^\\Zq\\^\\X4\\|\\\r"),
        "AA",
        "B14",
    ),
    "B16 bytes that are no UTF-8": (
        message("B16", header="ADT^A08|{}|P|2.5||||||UNICODE UTF-8", segments=b"PID|1||4711||\xff\xfeM\xfcller\r"),
        "AA",
        "B16",
    ),
    "B16 Latin-1 that nothing declares": (message("B16", segments=b"PID|1||4711||M\xfcller\r"), "AA", "B16"),
    "B17 NUL, bidi and combining characters": (
        message("B17", segments="PID|1||4711||A\x00B\u202e^\u0301\u0301\u0301😀\r".encode()),
        "AA",
        "B17",
    ),
    "B18 a trigger that is not used": (message("B18", header="ADT^A99|{}|P|2.5"), "AA", "B18"),
    "B18 a result": (message("B18", header="ORU^R01|{}|P|2.5"), "AA", "B18"),
    "B18 no type at all": (message("B18", header="|{}|P|2.5"), "AA", "B18"),
    "B19 an old version": (message("B19", header="ADT^A08|{}|P|2.1"), "AA", "B19"),
    "B19 no version": (message("B19", header="ADT^A08|{}|P|"), "AA", "B19"),
    "B19 a version that is none": (message("B19", header="ADT^A08|{}|P|9.9"), "AA", "B19"),
    "B20 a training message": (message("B20", header="ADT^A08|{}|T|2.5"), "AA", "B20"),
    "B20 no processing id": (message("B20", header="ADT^A08|{}||2.5"), "AA", "B20"),
    "B20 an initial load": (message("B20", header="ADT^A08|{}|P^I|2.5"), "AA", "B20"),
    "B21 no control id": (message(""), "AR", ""),
    "B30 no patient": (message("B30", segments=b""), "AA", "B30"),
    "B31 dates that are none": (message("B31", segments=b"PID|1||4711||||20260230\r"), "AA", "B31"),
    "B38 SQL and templates": (message("B38';DROP TABLE task;--{{7*7}}"), "AA", "B38';DROP TABLE task;--{{7*7}}"),
    "B38 a line feed that would forge a log line": (
        message("B38", header='ADT^A08\n{{"level": "critical"}}|{}|P|2.5'),
        "AA",
        "B38",
    ),
    "B39 a batch in a frame": (b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + M1 + b"BTS|1\rFTS|1\r", "AR", ""),
    "B39 two messages in a frame": (M1 + M2, "AR", "1"),
}  # fmt: skip


def codes(answers: list[Answer]) -> Said:
    return [(answer.code, answer.control_id) for answer in answers]


@pytest.mark.parametrize("name", FRAMINGS)
async def test_a_framing_is_answered_alike_whole_byte_by_byte_and_between_good_frames(
    shared: Service, name: str
) -> None:
    data, expected = FRAMINGS[name]
    for byte_by_byte in (False, True):
        async with await Sender.connect(shared.mllp) as sender:
            await sender.say(data, byte_by_byte=byte_by_byte)
            assert codes(await sender.answers(len(expected))) == expected
            sender.end()
            assert await sender.rest() == []
    async with await Sender.connect(shared.mllp) as sender:
        await sender.say(framed(message("before")) + data + framed(message("after")))
        sender.end()
        assert codes(await sender.rest()) == [("AA", "before"), *expected, ("AA", "after")]


@pytest.mark.parametrize("name", CONTENTS)
async def test_a_content_has_its_fixed_answer_and_disturbs_nothing_behind_it(shared: Service, name: str) -> None:
    content, *expected = CONTENTS[name]
    async with await Sender.connect(shared.mllp) as sender:
        for byte_by_byte in (False, True):
            await sender.say(framed(content) + framed(message("after")), byte_by_byte=byte_by_byte)
            first, second = await sender.answers(2)
            assert [first.code, first.control_id] == expected
            assert (second.code, second.control_id) == ("AA", "after")
            assert (b"ERR" in first.raw) == (first.code == "AR"), "a refusal says what is wrong"
        assert first.raw.count(b"\r") == len(first.raw.split(b"\r")) - 1 == (3 if first.code == "AR" else 2)


async def test_utf_16_is_answered_in_utf_16(shared: Service) -> None:
    async with await Sender.connect(shared.mllp) as sender:
        await sender.say(framed(message("B16").decode().encode("utf-16")))
        sender.end()
        (answer,) = ((await sender.everything()).removeprefix(b"\x0b").removesuffix(b"\x1c\r"),)
        text = answer.decode("utf-16")
    assert "MSA|AA|B16\r" in text


async def test_a_thousand_pipelined_messages_are_answered_in_order(shared: Service) -> None:
    messages = [message(f"PIPE-{number}") for number in range(1_000)]
    answers = await exchange(shared.mllp, messages)
    assert codes(answers) == [("AA", control_id_of(one)) for one in messages]


async def test_an_independent_client_sends_and_is_answered(shared: Service, person: Person) -> None:
    """python-hl7's own client; it blocks, so it has a thread."""

    def send() -> list[bytes]:
        with closing(hl7.client.MLLPClient(*shared.mllp)) as client:
            parsed = hl7.parse(person.admitted(control_id="HL7-1").decode())
            return [client.send_message(parsed), client.send_message(person.discharged(control_id="HL7-2"))]

    answers = [read_answer(raw.strip(b"\x0b\x1c\r") + b"\r") for raw in await asyncio.to_thread(send)]
    assert codes(answers) == [("AA", "HL7-1"), ("AA", "HL7-2")]
    assert [str(hl7.parse(answer.raw.decode())["MSA.F1"]) for answer in answers] == ["AA", "AA"]
    assert sorted(until(lambda: shared.tasks_of(person.patient_id))) == ["contact", "visit"]


@pytest.mark.parametrize(
    "talk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b'{"resourceType": "Patient"}',
        b'<?xml version="1.0"?><!DOCTYPE a>',
        b"x" * 5_000,
    ],
    ids=["TLS", "HTTP", "JSON", "XML", "noise"],
)
async def test_what_is_not_mllp_is_ended_without_an_answer_and_the_next_connection_is_served(
    shared: Service, talk: bytes
) -> None:
    async with await Sender.connect(shared.mllp) as sender:
        await sender.say(talk)
        assert await sender.everything() == b""
    assert codes(await exchange(shared.mllp, [M1])) == [("AA", "1")]


async def test_a_message_over_the_limit_is_refused_by_its_control_id_and_the_connection_ends(shared: Service) -> None:
    async with await Sender.connect(shared.mllp) as sender:
        await sender.say(framed(message("BIG", segments=b"NTE|1||" + b"x" * FRAME_BYTES_MAX)))
        assert codes(await sender.rest()) == [("AR", "BIG")]


LARGE = {
    "segments": b"ZZZ|1|some text\r" * 50_000,
    "fields": b"OBX" + b"|" * 200_000 + b"\r",
    "repetitions": b"PID|1||" + b"~".join(b"%d^^^MERCY^MR" % n for n in range(10_000)) + b"\r",
    "identifiers that are none": b"PID|1||" + b"~".join([b"0^^^MERCY^MR"] * 10_000) + b"\r",
    "one field": b"NTE|1||" + b"x" * 100_000 + b"\r",
    "escapes": b"NTE|1||" + b"\\" * 500_000 + b"\r",
    "names": b"PID|1||4711||" + b"~".join([b"A^B^C"] * 50_000) + b"\r",
}


async def test_the_largest_messages_are_answered_within_a_second_and_memory_stays_bounded(shared: Service) -> None:
    listener = psutil.Process(shared.pid)
    before = listener.memory_info().rss
    async with await Sender.connect(shared.mllp) as sender:
        for name, segments in LARGE.items():
            began = time.perf_counter()
            await sender.say(framed(message("LARGE", segments=segments)))
            assert codes(await sender.answers(1)) == [("AA", "LARGE")], name
            assert time.perf_counter() - began < HANG_S, name
    assert listener.memory_info().rss - before < GROWTH_BYTES_MAX


async def test_a_line_that_breaks_within_a_message_leaves_no_half_of_it(shared: Service, person: Person) -> None:
    admission, discharge = person.admitted(control_id="CUT-1"), person.discharged(control_id="CUT-2")
    for cut in (1, 30, len(discharge) // 2, len(discharge)):
        async with await Sender.connect(shared.mllp) as sender:
            await sender.say(framed(discharge)[:cut])
            sender.cut()
    assert codes(await exchange(shared.mllp, [admission, discharge])) == [("AA", "CUT-1"), ("AA", "CUT-2")]

    assert sorted(until(lambda: shared.tasks_of(person.patient_id))) == ["contact", "visit"]
    assert [raw for raw in shared.kept() if b"|CUT-2|" in raw] == [discharge]


async def test_over_lines_that_break_all_the_time_every_message_arrives_and_counts_once(shared: Service) -> None:
    load = Load(waiting=deque(message(f"LINE-{n}") for n in range(300)), breaks=random.Random(17))
    runs = 0
    while load.waiting:
        await load.run(shared.mllp)
        runs += 1
    assert runs > 3, "no line broke"
    shared.settle()

    arrived = [event.event_id for event in shared.events() if (event.control_id or "").startswith("LINE-")]
    assert len(set(arrived)) == len(load.acknowledged) == 300
    assert len(arrived) > 300, "no message arrived twice, so nothing was shown"


async def test_a_message_whose_answer_was_lost_is_answered_again_and_takes_effect_once(
    shared: Service, person: Person
) -> None:
    discharge = person.discharged(control_id="RESENT")
    async with await Sender.connect(shared.mllp) as sender:
        await sender.say(framed(discharge))
        until(lambda: discharge in shared.kept())
        sender.cut()
    (again,) = await exchange(shared.mllp, [discharge])
    assert (again.code, again.control_id) == ("AA", "RESENT")
    shared.settle()

    assert sorted(shared.tasks_of(person.patient_id)) == ["contact", "visit"]
    traced = shared.run("trace", "RESENT", "--json").json["messages"]
    assert [one["outcome"] for one in traced] == ["effect"]


async def test_another_message_under_the_same_control_id_is_another_message(
    shared: Service, person: Person, other_person: Person
) -> None:
    messages = [person.discharged(control_id="REUSED"), other_person.discharged(control_id="REUSED")]
    assert codes(await exchange(shared.mllp, messages)) == [("AA", "REUSED")] * 2
    for one in (person, other_person):
        assert sorted(until(lambda one=one: shared.tasks_of(one.patient_id))) == ["contact", "visit"]  # type: ignore[misc]  # a loop variable, bound


async def test_test_messages_and_initial_loads_make_no_task(
    shared: Service, person: Person, other_person: Person
) -> None:
    messages = [
        person.discharged(control_id="T-1", processing="T"),
        person.discharged(control_id="T-2", processing="D"),
        other_person.discharged(control_id="T-3", processing="P^I"),
        other_person.discharged(control_id="T-4", processing=""),
    ]
    assert codes(await exchange(shared.mllp, messages)) == [("AA", f"T-{n}") for n in range(1, 5)]
    shared.settle()
    assert [shared.tasks_of(one.patient_id) for one in (person, other_person)] == [{}, {}]


async def test_markup_in_a_message_is_text_on_the_page(shared: Service, person: Person) -> None:
    markup = "<script>alert(1)</script>"
    discharge = person.discharged(control_id="MARKUP", facility=f"MERCY{markup}", disposition=markup, number=markup)
    assert codes(await exchange(shared.mllp, [discharge])) == [("AA", "MARKUP")]
    task = until(lambda: shared.tasks_of(person.patient_id))["contact"]

    assert task["stay"]["visit_number"] == markup
    for path in ("/", f"/tasks/{task['id']}"):
        page = shared.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text


@pytest.mark.slow
async def test_a_sender_of_a_byte_a_second_is_ended_at_the_deadline_and_disturbs_nobody(shared: Service) -> None:
    began = time.perf_counter()
    async with await Sender.connect(shared.mllp) as slow, await Sender.connect(shared.mllp) as quick:
        ended = asyncio.create_task(slow.everything())
        for byte in _endlessly(framed(M1)):
            await slow.say(byte)
            await quick.say(framed(M2))
            assert codes(await quick.answers(1)) == [("AA", "2")]
            if (await asyncio.wait({ended}, timeout=1.0))[0]:
                break
        assert await ended == b""
    assert HEADER_TIMEOUT_S <= time.perf_counter() - began < HEADER_TIMEOUT_S + 5


def _endlessly(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        yield data[place : place + 1]
