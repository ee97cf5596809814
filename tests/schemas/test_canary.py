"""A canary can never make a task, whatever is in it; and nothing that could make one can pass for a canary."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canary import CANARY_TYPE, canary_control_id, canary_message, is_canary
from schemas.events import AdtEvent, Patient, Visit
from services.followup.usecases.sorting import is_joined
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.mllp.inbound import Inbound
from services.ingest.reception import Decision, Reception, control_ids
from tests.support.adt import adt

NOW = datetime(2026, 11, 27, 23, 0, tzinfo=UTC)
CONTROL_ID = canary_control_id("0123456789abcdef")
MESSAGE = canary_message(CONTROL_ID, NOW)
ANYBODY = Feeds((), default=FeedProfile(name="anybody", zone=ZoneInfo("America/New_York")))


def receive(payload: bytes, feeds: Feeds = ANYBODY) -> Decision:
    reception = Reception(feeds, control_ids=control_ids(NOW))
    return reception.receive(Inbound(payload=payload, peer="", connection_id=1), NOW)


@pytest.mark.parametrize("feeds", [Feeds(), ANYBODY], ids=["no feed names it", "a default feed takes it"])
def test_a_canary_is_accepted_and_is_about_nobody(feeds: Feeds) -> None:
    decision = receive(MESSAGE, feeds)
    event = decision.event
    assert decision.code == "AA"
    assert is_canary(event)
    assert (event.control_id, event.kind, event.intake.outcome) == (CONTROL_ID, "other", "not_for_us")
    assert (event.patient, event.visit, event.merge, event.diagnoses) == (Patient(), Visit(), None, ())
    assert not is_joined(event)


def test_its_control_id_fits_where_control_ids_go() -> None:
    assert len(CONTROL_ID) <= 20


ADT_SEGMENTS = adt("A03", sent="20261120143000", control_id="M1", admitted="20261117", discharged="20261120")
PIECES = st.sampled_from(
    [
        b"\rEVN|A03|20261120", b"\rPID|1||1001^^^MERCY^MR||RIVERA^ANA||19520314", b"\rPV1|1|I", b"\r", b"|", b"^", b"~",
        b"ADT", b"ADT^A03", b"A03^ADT_A03", b"ADT_A03", CANARY_TYPE.encode(), CONTROL_ID.encode(), b"P", b"\n", b'""',
        ADT_SEGMENTS,
    ]
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), PIECES | st.binary(max_size=8)), max_size=8))
def test_whatever_is_done_to_a_canary_it_is_joined_into_nothing_while_it_is_one(
    edits: list[tuple[int, int, bytes]],
) -> None:
    """Method: pieces of a real discharge are put anywhere into the bytes of a canary, in the place of others."""
    raw = MESSAGE
    for begin, length, piece in edits:
        raw = raw[:begin] + piece + raw[begin + length % 20 :]
    event = receive(raw).event
    assert not (is_canary(event) and is_joined(event))
    if is_canary(event):
        assert (event.kind, event.patient, event.visit) == ("other", Patient(), Visit())


@pytest.mark.parametrize(
    "borrowed",
    [
        {"control_id": CONTROL_ID},
        {"control_id": CONTROL_ID, "facility": "CANARY"},
    ],
)
def test_a_discharge_that_borrows_the_words_of_a_canary_is_a_discharge(borrowed: dict[str, str]) -> None:
    words = {"sent": "20261120143000", "control_id": "M1", "admitted": "20261117090000", "discharged": "20261120143000"}
    event = receive(adt("A03", **(words | borrowed)).replace(b"|EPIC|", b"|AFTERSTAY|")).event
    assert not is_canary(event)
    assert is_joined(event)


def test_what_is_not_for_us_for_another_reason_is_no_canary() -> None:
    def event_of(message_type: bytes, control_id: bytes) -> AdtEvent:
        raw = MESSAGE.replace(b"ZCN^Z01", message_type).replace(CONTROL_ID.encode(), control_id)
        return receive(raw).event

    assert not is_canary(event_of(b"ORU^R01", CONTROL_ID.encode()))
    assert not is_canary(event_of(b"ZCN^Z01", b"M1"))
