"""The messages are HL7: python-hl7 reads every one, hl7apy finds one of each structure conformant."""

import re
from collections import Counter

import hl7
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from services.simulator.hospitals import ALL, LAKESIDE, MERCY, PRAIRIE, SONORA
from services.simulator.streams import SimulatedMessage
from tests.simulator.simulations import SEEDS, field, once_each, read, simulation, text_of

HOSPITALS = {hospital.feed: hospital for hospital in ALL}
UNKNOWN_TO_HL7APY = {("2.4", "ADT_A12")}


def from_feed(feed: str) -> list[SimulatedMessage]:
    return [message for seed in SEEDS for message in once_each(simulation(seed)) if message.feed == feed]


@pytest.mark.parametrize("seed", [1])
def test_python_hl7_reads_every_message_as_what_its_sender_meant(seed: int) -> None:
    for message in simulation(seed).messages:
        parsed, hospital = hl7.parse(text_of(message)), HOSPITALS[message.feed]
        header = parsed.segment("MSH")
        assert message.payload.endswith(b"\r")
        assert b"\n" not in message.payload
        assert (str(header[3]), str(header[4])) == (hospital.application, hospital.facility)
        assert (str(header[10]), str(header[12])) == (message.control_id, hospital.version)
        assert field(read(message), "MSH", 18) == hospital.charset
        assert str(parsed.segment("PID")[3])
        assert str(parsed.segment("PID")[5])


def test_one_of_each_structure_of_each_hospital_is_conformant() -> None:
    seen: set[tuple[str, str]] = set()
    for message in from_feed("mercy") + from_feed("sonora") + from_feed("prairie-hie"):
        parsed = read(message)
        structure = field(parsed, "MSH", 9).rpartition("^")[2]
        if (message.feed, structure) in seen or (field(parsed, "MSH", 12), structure) in UNKNOWN_TO_HL7APY:
            continue
        seen.add((message.feed, structure))
        parse_message(text_of(message), validation_level=VALIDATION_LEVEL.TOLERANT).validate()
    assert len(seen) > 25


@pytest.mark.parametrize("seed", SEEDS)
def test_messages_are_as_long_as_real_ones(seed: int) -> None:
    sizes = sorted(len(message.payload) for message in simulation(seed).messages)
    assert 900 < sizes[len(sizes) // 2] < 2000
    assert sizes[-1] < 2000


@pytest.mark.parametrize(
    ("feed", "segment", "number", "pattern"),
    [
        (MERCY.feed, "MSH", 7, r"\d{14}"),
        (MERCY.feed, "PV1", 44, r"(\d{14})?"),
        (MERCY.feed, "PV1", 45, r'(\d{14}|\d{8}|"")?'),
        (MERCY.feed, "PV1", 19, r"(V\d{8}\^\^\^MERCY\^VN)?"),
        (MERCY.feed, "PID", 13, r"\(\d{3}\)\d{3}-\d{4}\^PRN\^PH"),
        (MERCY.feed, "PID", 5, r"[-A-Z '^]+"),
        (LAKESIDE.feed, "MSH", 7, r"\d{14}-0[56]00"),
        (LAKESIDE.feed, "PV1", 44, r"(\d{14}-0[56]00)?"),
        (LAKESIDE.feed, "EVN", 6, r""),
        (LAKESIDE.feed, "PID", 13, r"\^PRN\^PH\^\^1\^\d{3}\^\d{7}"),
        (SONORA.feed, "MSH", 7, r"\d{14}"),
        (SONORA.feed, "PV1", 44, r"(\d{12})?"),
        (SONORA.feed, "PV1", 19, r""),
        (SONORA.feed, "PID", 3, r"\d{7}\^\^\^\^MR(~\w{11}\^\^\^CMS\^MC)?"),
        (SONORA.feed, "PV1", 36, r"([1-9]\d?|ZZ)?"),
        (PRAIRIE.feed, "MSH", 7, r"\d{14}\+0000"),
        (PRAIRIE.feed, "PV1", 45, r'(\d{14}\+0000|\d{8}|"")?'),
        (PRAIRIE.feed, "EVN", 7, r"FARGO|BILLINGS"),
        (PRAIRIE.feed, "PID", 5, r"[A-Z ^]+"),
        (PRAIRIE.feed, "PID", 11, r"[A-Z0-9 ^]+\^USA\^H"),
        (PRAIRIE.feed, "PID", 13, r"\d{10}\^PRN\^PH"),
    ],
)
def test_each_hospital_writes_in_its_own_way(feed: str, segment: str, number: int, pattern: str) -> None:
    messages = [read(message) for message in from_feed(feed)]
    for parsed in messages:
        if segment in parsed:
            assert re.fullmatch(pattern, field(parsed, segment, number)), field(parsed, segment, number)


def test_local_words_stand_for_classes_and_dispositions() -> None:
    words = Counter(field(read(message), "PV1", 36) for message in from_feed(LAKESIDE.feed))
    assert {"HOME", "SNF", "EXP", "AMA", "ACUTE"} <= set(words)
    assert not any(word.isdigit() for word in words)
    classes = {field(read(message), "PV1", 2) for message in from_feed(LAKESIDE.feed)}
    assert {"INP", "OBSV", "ER", "CLIN"} <= classes


def test_accents_travel_in_the_declared_charset_and_are_dropped_where_none_is_declared() -> None:
    latin = b"".join(message.payload for message in from_feed(SONORA.feed))
    utf = b"".join(message.payload for message in from_feed(LAKESIDE.feed))
    plain = b"".join(message.payload for message in from_feed(MERCY.feed))
    assert "Núñez".encode("latin-1") in latin
    assert "Núñez".encode() in utf
    assert b"NUNEZ" in plain
    assert plain.isascii()


def test_delimiters_inside_text_are_escaped() -> None:
    reasons = {field(read(message), "PV2", 3) for message in from_feed(MERCY.feed)}
    assert "^chest pain \\T\\ dyspnea" in reasons
