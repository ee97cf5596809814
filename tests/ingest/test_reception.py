"""Goal: the right answer to every frame: code, control id, error, and an event that says why."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from zoneinfo import ZoneInfo

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import AdtEvent, decode_event, encode_event
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.hl7.message import Message, parse
from services.ingest.mllp.inbound import Inbound, PeerIdentity
from services.ingest.reception import Decision, Reception, control_ids
from services.ingest.senders import Senders
from tests.support.adt import adt

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
MERCY = FeedProfile(
    name="mercy", sending_application="EPIC", sending_facility="MERCY", zone=ZoneInfo("America/New_York")
)
A01 = adt("A01", sent="20261124083000", control_id="M1")


def receive(payload: bytes, *feeds: FeedProfile, oversized: bool = False, truncated: bool = False) -> Decision:
    reception = Reception(Feeds(feeds or (MERCY,)), control_ids=(f"OURS{number}" for number in count(1)))
    inbound = Inbound(payload=payload, peer="127.0.0.1:1", connection_id=1, oversized=oversized, truncated=truncated)
    return reception.receive(inbound, NOW)


def field(answer: bytes, segment: str, number: int) -> str:
    found = parse(answer).first(segment)
    return found.field(number) if found is not None else "no such segment"


def test_a_message_is_accepted_with_its_own_control_id_and_no_error() -> None:
    decision = receive(A01)
    assert decision.code == "AA"
    assert field(decision.answer, "MSA", 1) == "AA"
    assert field(decision.answer, "MSA", 2) == "M1"
    assert field(decision.answer, "MSH", 10) == "OURS1"
    assert field(decision.answer, "ERR", 1) == "no such segment"
    assert decision.event.intake.outcome == "accepted"
    assert decision.event.feed == "mercy"


@pytest.mark.parametrize(
    ("payload", "outcome", "reason"),
    [
        (A01.replace(b"ADT^A01", b"ORU^R01"), "not_for_us", "message-type-not-used"),
        (A01.replace(b"ADT^A01", b"ADT^A09"), "not_for_us", "trigger-not-used"),
        (A01.replace(b"ADT^A01", b"ACK"), "not_for_us", "message-type-not-used"),
        (A01.replace(b"EPIC", b"OTHER"), "unknown_feed", "feed-unknown"),
        (adt("A01", sent="20261124083000", control_id="M1", mrn="", name=""), "unusable", "patient-not-identified"),
        (adt("A40", sent="20261124083000", control_id="M1"), "unusable", "merge-source-missing"),
    ],
)
def test_what_is_not_liked_is_accepted_all_the_same_and_says_why(payload: bytes, outcome: str, reason: str) -> None:
    decision = receive(payload)
    assert (decision.code, field(decision.answer, "MSA", 1), field(decision.answer, "MSA", 2)) == ("AA", "AA", "M1")
    assert (decision.event.intake.outcome, decision.event.intake.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("payload", "control_id", "code", "location", "reason"),
    [
        (b"", "", "100", "MSH^1", "message-empty"),
        (b" \r\n ", "", "100", "MSH^1", "message-empty"),
        (b"GET / HTTP/1.1\r\n\r\n", "", "100", "MSH^1", "header-missing"),
        (b"PID|1||1001\r", "", "100", "MSH^1", "header-missing"),
        (b"MSH", "", "101", "MSH^1^1", "separators-missing"),
        (b"MSHH0", "", "102", "MSH^1^1", "separators-illegal"),
        (b"MSH|||||", "", "101", "MSH^1^2", "separators-missing"),
        (b"MSH|^^^^|A\r", "", "102", "MSH^1^2", "separators-clash"),
        (b"BHS|^~\\&|A\rMSH|^~\\&|A\r", "", "200", "MSH^1", "batch-envelope"),
        (A01.replace(b"|M1|", b"||"), "", "101", "MSH^1^10", "control-id-missing"),
        (A01.replace(b"|M1|", b'|""|'), '""', "101", "MSH^1^10", "control-id-missing"),
        (A01.replace(b"|M1|", b"|  |"), "  ", "101", "MSH^1^10", "control-id-missing"),
        (A01 + A01.replace(b"M1", b"M2"), "M1", "100", "MSH^2", "several-messages"),
    ],
)
def test_what_is_no_message_is_refused_with_an_error_and_recorded(
    payload: bytes, control_id: str, code: str, location: str, reason: str
) -> None:
    decision = receive(payload)
    assert decision.code == "AR"
    assert field(decision.answer, "MSA", 1) == "AR"
    assert field(decision.answer, "MSA", 2) == control_id
    assert field(decision.answer, "ERR", 2) == location
    assert field(decision.answer, "ERR", 3).partition("^")[0] == code
    assert (decision.event.intake.outcome, decision.event.intake.reason) == ("unreadable", reason)
    assert decision.event.kind == "other"
    assert decision.event.received_at == NOW


def test_the_error_of_an_old_version_is_in_its_old_place() -> None:
    decision = receive(A01.replace(b"|P|2.5", b"|P|2.3").replace(b"|M1|", b"||"))
    assert field(decision.answer, "ERR", 1).startswith("MSH^1^10^101&")
    assert field(decision.answer, "MSA", 3) == "a message without a control id cannot be answered"


def test_the_answer_is_read_by_an_independent_client() -> None:
    for payload in (A01, A01.replace(b"|M1|", b"||"), b"junk"):
        answer = hl7.parse(receive(payload).answer.decode())
        assert str(answer.segment("MSA")[1]) in {"AA", "AR"}


def test_a_frame_that_is_too_large_is_refused_by_its_control_id_and_its_head_recorded() -> None:
    decision = receive(A01[:150], oversized=True)
    assert (decision.code, field(decision.answer, "MSA", 2)) == ("AR", "M1")
    assert field(decision.answer, "ERR", 3).startswith("207^")
    event = decision.event
    assert (event.intake.reason, event.control_id, event.feed) == ("frame-too-large", "M1", "mercy")
    assert event.patient.identifiers == ()


def test_an_endless_frame_without_a_header_is_refused_by_its_size() -> None:
    decision = receive(b"x" * 4096, oversized=True)
    assert (decision.code, field(decision.answer, "MSA", 2)) == ("AR", "")
    assert decision.event.intake.reason == "frame-too-large"


@pytest.mark.parametrize("payload", [A01[:90], b"MS", b""])
def test_a_frame_that_was_broken_off_is_recorded_and_not_answered(payload: bytes) -> None:
    decision = receive(payload, truncated=True)
    assert (decision.code, decision.answer) == (None, b"")
    assert (decision.event.intake.outcome, decision.event.intake.reason) == ("unreadable", "frame-truncated")


def test_a_broken_off_frame_is_another_event_than_the_whole_one() -> None:
    assert receive(A01[:90], truncated=True).event.event_id != receive(A01).event.event_id


def test_the_charset_of_the_feed_replaces_the_declared_one() -> None:
    raw = adt("A01", sent="20261124083000", control_id="M1").replace(b"RIVERA", "JIM\u00c9NEZ".encode("cp1250"))
    named = replace(MERCY, charset="windows-1250")
    declared = raw.replace(b"|P|2.5\r", b"|P|2.5||||||UNICODE UTF-8\r")
    assert receive(declared, named).event.patient.names[0].family == "JIM\u00c9NEZ"
    assert "charset-mismatch" in {finding.code for finding in receive(declared).event.findings}
    assert receive(A01, named).event.intake.outcome == "accepted"


def test_a_defect_of_ours_parks_the_message_and_does_not_stop_its_sender() -> None:
    def fail(message: Message, feed: FeedProfile | None, *, received_at: datetime) -> AdtEvent:
        raise RuntimeError(f"a defect, found {received_at:%Y}")

    reception = Reception(Feeds((MERCY,)), control_ids=iter(["OURS"]), normalizer=fail)
    decision = reception.receive(Inbound(payload=A01, peer="127.0.0.1:1", connection_id=1), NOW)
    assert decision.code == "AA"
    assert (decision.event.intake.outcome, decision.event.intake.reason) == ("unusable", "normalizer-failed")
    assert decision.event.control_id == "M1"


def test_control_ids_of_two_starts_never_meet_and_fit_the_field() -> None:
    first = control_ids(NOW)
    second = control_ids(NOW.replace(microsecond=1))
    ids = [next(first) for _ in range(1000)] + [next(second) for _ in range(1000)]
    assert len(set(ids)) == 2000
    assert max(map(len, ids)) <= 20


@given(st.binary(max_size=300))
def test_any_bytes_are_decided_and_recorded(payload: bytes) -> None:
    for framed in (payload, b"MSH|^~\\&|EPIC|MERCY|||2026||ADT^A03|9|P|2.5\r" + payload):
        decision = receive(framed)
        assert decision.code in {"AA", "AR"}
        assert decision.answer.startswith(b"MSH")
        assert decode_event(encode_event(decision.event)) == decision.event


@given(
    st.lists(
        st.sampled_from(["PID", "PV1", "EVN", "NK1", "MRG", "DG1", "PV2", "ZBE", "PD1", "GT1"]).flatmap(
            lambda name: st.lists(st.text(alphabet='09AZ^~\\&|"+-. \u00e9\u202e', max_size=12), max_size=50).map(
                lambda fields: "|".join([name, *fields])
            )
        ),
        max_size=8,
    ),
    st.sampled_from(["A01", "A03", "A08", "A13", "A40"]),
)
def test_any_segments_give_an_event(segments: list[str], trigger: str) -> None:
    header = f"MSH|^~\\&|EPIC|MERCY|||20261124083000||ADT^{trigger}|9|P|2.5"
    decision = receive("\r".join([header, *segments]).encode())
    assert decision.code == "AA"
    assert decision.event.intake.reason != "normalizer-failed"
    assert decode_event(encode_event(decision.event)) == decision.event


# Who sends (fault B44)


def receive_from(identity: PeerIdentity | None, payload: bytes, *, truncated: bool = False) -> tuple[Decision, Senders]:
    feeds = Feeds((replace(MERCY, certificates=frozenset({"dns:adt.mercy.test"})),))
    senders = Senders(feeds)
    reception = Reception(feeds, control_ids=(f"OURS{number}" for number in count(1)), senders=senders)
    inbound = Inbound(payload=payload, peer="127.0.0.1:1", connection_id=1, identity=identity, truncated=truncated)
    return reception.receive(inbound, NOW), senders


def identity_of(*names: str) -> PeerIdentity:
    return PeerIdentity(names=frozenset(names), fingerprint="sha256:0", expires_at=1.0)


def test_a_message_of_who_may_send_it_is_accepted() -> None:
    decision, senders = receive_from(identity_of("dns:adt.mercy.test"), A01)
    assert (decision.code, decision.event.intake.outcome, decision.event.feed) == ("AA", "accepted", "mercy")
    assert not senders.refused


@pytest.mark.parametrize("identity", [None, identity_of("dns:adt.lakeside.test")])
def test_a_message_in_anothers_name_is_refused_recorded_counted_and_logged(
    identity: PeerIdentity | None, capsys: pytest.CaptureFixture[str]
) -> None:
    decision, senders = receive_from(identity, A01)
    assert (decision.code, field(decision.answer, "MSA", 1), field(decision.answer, "MSA", 2)) == ("AR", "AR", "M1")
    assert (field(decision.answer, "ERR", 2), field(decision.answer, "ERR", 3)[:4]) == ("MSH^1^4", "103^")
    event = decision.event
    assert (event.intake.outcome, event.intake.reason) == ("unreadable", "sender-not-allowed")
    assert event.feed is None, "a feed's figures are those of its own sender"
    assert event.patient is None or event.patient == type(event.patient)()
    assert senders.refused == {"mercy": 1}
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["event"], line["kind"], line["feed"], line["peer"]) == (
        "sender_refused", "security", "mercy", "127.0.0.1:1",
    )  # fmt: skip
    assert line["certificate"] == (sorted(identity.names) if identity else None)
    assert "dropped_keys" not in line


def test_a_listed_certificate_may_not_send_as_a_sender_that_no_feed_names() -> None:
    decision, senders = receive_from(identity_of("dns:adt.mercy.test"), A01.replace(b"EPIC", b"OTHER"))
    assert (decision.code, decision.event.intake.reason) == ("AR", "sender-not-allowed")
    assert senders.refused == {"none": 1}


def test_a_message_in_anothers_name_that_was_broken_off_is_not_answered() -> None:
    decision, senders = receive_from(None, A01[:-9], truncated=True)
    assert (decision.code, decision.event.intake.reason, decision.answer) == (None, "frame-truncated", b"")
    assert decision.event.feed is None
    assert senders.refused == {"mercy": 1}


def test_what_is_read_anew_is_not_asked_who_sent_it() -> None:
    feed = replace(MERCY, certificates=frozenset({"dns:adt.mercy.test"}))
    assert receive(A01, feed).code == "AA"
