"""Goal: every real message, sent to a real listener, gets exactly one right answer and stalls nobody.

Method: the files of the corpora go over a few connections, as found and with CR line ends, each with a control id of
its own, none waiting for the answer to the one before. What the messages say is read here a second time, plainly and
without the product's parser, to know which of them must give an event.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.support.corpora import corpora_files, with_cr
from tests.support.fresh_ids import with_control_id, without_framing
from tests.system.people import Person
from tests.system.senders import Address, Answer, Sender, exchange, framed
from tests.system.service import Service

pytestmark = [pytest.mark.system, pytest.mark.corpora]

CONNECTIONS = 4
STALL_S = 60.0
"""For two thousand messages; a single one that stalls would take the listener's own time-outs."""
ACCEPTED_SHARE_MIN = 0.95
TRIGGERS = frozenset({f"A0{n}" for n in range(1, 9)} | {"A11", "A12", "A13", "A28", "A31", "A40"})
_numbers = count()


async def test_every_message_gets_one_right_answer_and_the_good_ones_an_event(shared: Service) -> None:
    complaints = len(shared.complaints())
    messages = {
        (control_id := f"CORPUS{next(_numbers):05d}"): with_control_id(variant, control_id)
        for path in corpora_files("adt") + corpora_files("other")
        for variant in _variants(path)
    }
    async with asyncio.timeout(STALL_S):
        answered = await _exchange_over_connections(shared.mllp, list(messages.items()))

    assert answered == {control_id: ("AA", control_id) for control_id in messages}
    assert len(shared.complaints()) == complaints
    outcomes = {event.control_id: event.intake.outcome for event in shared.events() if event.control_id in messages}
    assert outcomes.keys() == messages.keys()
    assert "unreadable" not in outcomes.values()
    usable = [control_id for control_id, raw in messages.items() if _is_usable(raw)]
    given = Counter(outcomes[control_id] for control_id in usable)
    assert len(usable) > len(corpora_files("adt")), "the plain reading finds too few to mean anything"
    assert given["accepted"] / len(usable) >= ACCEPTED_SHARE_MIN, given


async def test_a_message_without_a_control_id_is_refused_since_there_is_nothing_to_answer_it_by(
    shared: Service,
) -> None:
    without = [
        raw
        for path in corpora_files("adt") + corpora_files("other")
        if not _header(raw := without_framing(path.read_bytes()))[9].strip()
    ]
    assert without
    answers = await exchange(shared.mllp, without)
    assert {(answer.code, answer.control_id) for answer in answers} == {("AR", "")}


async def test_odd_input_leaves_the_listener_serving(shared: Service, person: Person) -> None:
    complaints = len(shared.complaints())
    for path in corpora_files("odd"):
        async with await Sender.connect(shared.mllp) as sender:
            await sender.say(framed(path.read_bytes()))
            sender.end()
            assert await _codes_until_closed(sender) <= {"AA", "AR"}, path.name
        control_id = f"ODD{next(_numbers):05d}"
        (answer,) = await exchange(shared.mllp, [person.says("A08", 1, control_id=control_id)])
        assert (answer.code, answer.control_id) == ("AA", control_id), path.name
    assert len(shared.complaints()) == complaints


def _variants(path: Path) -> list[bytes]:
    raw = without_framing(path.read_bytes())
    return [raw, with_cr(raw)]


async def _exchange_over_connections(
    address: Address, messages: Sequence[tuple[str, bytes]]
) -> dict[str, tuple[str, str]]:
    """Return the code and the control id of the answer to each, in the order that each connection gave them."""
    shares = [messages[start::CONNECTIONS] for start in range(CONNECTIONS)]
    answers: list[list[Answer]] = await asyncio.gather(
        *(exchange(address, [raw for _, raw in share]) for share in shares)
    )
    return {
        control_id: (answer.code, answer.control_id)
        for share, answered in zip(shares, answers, strict=True)
        for (control_id, _), answer in zip(share, answered, strict=True)
    }


async def _codes_until_closed(sender: Sender) -> set[str]:
    """Return MSA-1 of what the listener answers, in whatever charset, until it closes."""
    received = await sender.everything()
    text = received.replace(b"\x00", b"")  # as far as MSA-1 goes, UTF-16 is ASCII with zeros
    return {found.decode() for found in re.findall(rb"MSA[^A-Za-z0-9](A[A-Z])", text)}


# A plain reading: lines, fields, components. It knows no charsets, no escapes and no repetitions, and needs none.


def _is_usable(raw: bytes) -> bool:
    """Say whether a message has a trigger that is used, a time, and an identifier or a name with a birth date."""
    header = _header(raw)
    component = header[1][:1] or b"^"
    event, person, visit = (_segment(raw, header, name) for name in (b"EVN", b"PID", b"PV1"))
    message_type, trigger, *_ = [*header[8].split(component), b""]
    times = (header[6], event[2], event[6], visit[44], visit[45])
    identified = person[3].split(component)[0].strip() or (person[5].strip(component) and _is_date(person[7]))
    return bool(
        message_type == b"ADT"
        and (trigger or event[1]).decode("ascii", "replace") in TRIGGERS
        and any(map(_is_date, times))
        and identified
    )


def _header(raw: bytes) -> list[bytes]:
    begin = raw.index(b"MSH")
    line = re.split(rb"[\r\n]", raw[begin:], maxsplit=1)[0]
    return [*line.split(raw[begin + 3 : begin + 4]), *[b""] * 10]


def _segment(raw: bytes, header: list[bytes], name: bytes) -> list[bytes]:
    separator = raw[raw.index(b"MSH") + 3 :][:1]
    line = next((line for line in re.split(rb"[\r\n]+", raw) if line.startswith(name + separator)), name)
    return [*line.split(separator), *[b""] * 50]


def _is_date(text: bytes) -> bool:
    return bool(re.match(rb"(19|20)\d\d(0[1-9]|1[0-2])", text))
