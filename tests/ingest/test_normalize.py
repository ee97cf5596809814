"""Goal: the right event for a message: kind, outcome, times, nulls and findings; golden events hold the whole."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Processing, decode_event, encode_event
from services.ingest.feeds import FeedProfile
from services.ingest.hl7.message import parse
from services.ingest.normalize import KINDS, NORMALIZER, PIDS_MAX, normalize, parked_event, refused_event
from tests.support.adt import adt
from tests.support.hl7_text import FEED, PERSON, RECEIVED_AT, Fields, codes_of, event_of, message_of


@pytest.mark.parametrize(
    ("stated", "recorded", "trigger", "kind", "reason", "finding"),
    [
        *((f"ADT^{trigger}", trigger, trigger, kind, None, None) for trigger, kind in KINDS.items()),
        ("ADT^A01^ADT_A01", "A01", "A01", "admitted", None, None),
        ("adt^a03", "", "A03", "discharged", None, None),
        (" ADT ^ A03 ", "", "A03", "discharged", None, None),
        ("ADT^A08", "A03", "A08", "updated", None, "trigger-differs"),
        ("ADT", "A03", "A03", "discharged", None, "trigger-guessed"),
        ("ADT^", "A03", "A03", "discharged", None, "trigger-guessed"),
        ("ADT^^ADT_A03", "", "A03", "discharged", None, "trigger-guessed"),
        ("ADT_A03", "", "A03", "discharged", None, "trigger-guessed"),
        ("ADT^^ADT_A01", "", None, "other", "trigger-missing", "trigger-missing"),
        ("ADT", "", None, "other", "trigger-missing", "trigger-missing"),
        ("", "A03", "A03", "discharged", None, "trigger-guessed"),
        ("^A03", "", "A03", "discharged", None, "message-type-missing"),
        ("", "", None, "other", "trigger-missing", "trigger-missing"),
        ("ADT^A09", "", "A09", "other", "trigger-not-used", None),
        ("ADT^A99", "A03", "A99", "other", "trigger-not-used", "trigger-differs"),
        ("ORU^R01", "", "R01", "other", "message-type-not-used", None),
        ("ORU^A03", "A03", "A03", "other", "message-type-not-used", None),
        ("SIU", "", None, "other", "message-type-not-used", None),
        ("ADT^A03~ORU^R01", "", "A03", "discharged", None, None),
    ],
)
def test_what_a_message_is_about(
    stated: str, recorded: str, *, trigger: str | None, kind: str, reason: str | None, finding: str | None
) -> None:
    event = event_of(header={9: stated}, EVN={1: recorded}, MRG={1: "9"})
    assert (event.trigger, event.kind, event.intake.reason) == (trigger, kind, reason)
    assert (finding is None) or finding in codes_of(event)
    assert finding is not None or codes_of(event) == {}


def test_a_message_that_is_not_for_us_copies_nothing_of_a_person() -> None:
    event = event_of(header={9: "ORU^R01"}, PV1={19: "V1"}, NK1={2: "RIVERA^LUZ"}, DG1={3: "J44.1"})
    text = encode_event(event).decode()
    assert event.intake.outcome == "not_for_us"
    assert "RIVERA" not in text
    assert "1001" not in text
    assert event.sent_at is not None


@pytest.mark.parametrize(
    ("header", "segments", "reason"),
    [
        ({}, {"PID": {3: "", 5: "RIVERA^ANA"}}, "patient-not-identified"),
        ({}, {"PID": {3: "", 7: "19520314"}}, "patient-not-identified"),
        ({}, {"PID": {3: "00000", 5: "RIVERA^ANA", 7: "1952"}}, "patient-not-identified"),
        ({}, {"PID": {5: "RIVERA^ANA", 7: "19520314"}}, None),
        ({}, {"PID": {3: "1001"}}, None),
        ({}, {"PID": [PERSON, PERSON]}, None),
        ({}, {"PID": [PERSON, PERSON | {3: "1002"}]}, "several-patients"),
        ({}, {"PID": [PERSON, PERSON | {5: "OTHER^PERSON"}]}, "several-patients"),
        ({}, {"PID": [PERSON] * (PIDS_MAX + 5)}, "several-patients"),
        ({9: "ADT^A40"}, {"PID": [PERSON, PERSON | {3: "1002"}], "MRG": {1: "9"}}, None),
        ({7: ""}, {}, "time-missing"),
        ({7: "SOON"}, {"EVN": {2: "NOW"}}, "time-missing"),
        ({7: ""}, {"EVN": {2: "2026"}}, None),
        ({7: ""}, {"EVN": {6: "20261124"}}, None),
        ({7: ""}, {"PV1": {44: "20261124"}}, None),
        ({7: ""}, {"PV1": {45: "20261124"}}, None),
        ({9: "ADT^A40"}, {}, "merge-source-missing"),
        ({9: "ADT^A40"}, {"MRG": {1: "000"}}, "merge-source-missing"),
        ({9: "ADT^A03"}, {"PV1": {45: "20260230"}}, "discharge-time-impossible"),
        ({9: "ADT^A03"}, {"PV1": {45: "WHENEVER"}}, "discharge-time-impossible"),
        ({9: "ADT^A03"}, {"PV1": {45: "20260230"}, "EVN": {6: "20261124"}}, None),
        ({9: "ADT^A03"}, {"PV1": {45: ""}}, None),
        ({9: "ADT^A03"}, {"PV1": {45: "00000000"}}, None),
        ({9: "ADT^A03"}, {}, None),
        ({9: "ADT^A08"}, {"PV1": {45: "20260230"}}, None),
    ],
)
def test_what_can_be_used(header: Fields, segments: dict[str, Fields], reason: str | None) -> None:
    event = event_of(header=header, **segments)  # type: ignore[arg-type]  # segments by name, as the builder takes them
    assert event.intake.reason == reason
    assert event.intake.outcome == ("unusable" if reason else "accepted")


def test_an_unusable_message_keeps_what_was_read_so_that_a_person_can_mend_it() -> None:
    event = event_of(header={7: ""}, PV1={19: "V1"})
    assert event.intake.reason == "time-missing"
    assert event.kind == "admitted"
    assert event.patient.names[0].family == "RIVERA"
    assert event.visit.number is not None


def test_a_sender_that_no_feed_names_is_read_without_a_guess_at_its_zone() -> None:
    event = event_of(feed=None, PID={3: "1001", 5: "RIVERA^ANA"}, PV1={44: "20261124083000"})
    assert (event.intake.outcome, event.intake.reason, event.feed) == ("unknown_feed", "feed-unknown", None)
    assert codes_of(event) == {"zone-unknown": "MSH-4"}
    assert event.patient.identifiers[0].authority is None
    assert event.visit.admitted_at is not None
    assert event.visit.admitted_at.zone == "UTC"
    assert event.processing.admitted is False
    assert event_of(feed=None, header={9: "ORU^R01"}).intake.outcome == "not_for_us"


@pytest.mark.parametrize(
    ("stated", "expected", "finding"),
    [
        ("P", Processing(id="P", admitted=True), None),
        ("p", Processing(id="P", admitted=True), None),
        ("P^T", Processing(id="P", mode="T", admitted=True), None),
        ("P^I", Processing(id="P", mode="I"), None),
        ("P^A", Processing(id="P", mode="A"), None),
        ("T", Processing(id="T"), None),
        ("D", Processing(id="D"), None),
        ("X", Processing(id="X"), None),
        ("", Processing(), "processing-missing"),
        ("^T", Processing(mode="T"), "processing-missing"),
    ],
)
def test_only_what_the_feed_admits_may_make_tasks(stated: str, expected: Processing, finding: str | None) -> None:
    event = event_of(header={11: stated})
    assert event.processing == expected
    assert event.intake.outcome == "accepted"
    assert ("processing-missing" in codes_of(event)) == (finding is not None)


def test_a_feed_may_admit_an_initial_load() -> None:
    feed = FeedProfile(name="load", zone=FEED.zone, processing=frozenset({("P", "I")}))
    assert event_of(feed=feed, header={11: "P^I"}).processing.admitted
    assert not event_of(feed=feed, header={11: "P"}).processing.admitted


@pytest.mark.parametrize(
    ("segments", "nulls"),
    [
        ({"PV1": {45: '""'}}, ("visit.discharged_at",)),
        ({"PV1": {2: '""', 36: '""^""'}}, ("visit.class", "visit.disposition")),
        (
            {"PV1": {19: '""', 44: '""'}, "PV2": {9: '""'}},
            ("visit.number", "visit.admitted_at", "visit.expected_discharge_at"),
        ),
        ({"PID": PERSON | {29: '""', 30: '""'}}, ("patient.died_at", "patient.deceased")),
        ({"PID": PERSON | {13: '""'}}, ("patient.phones",)),
        ({"PID": PERSON | {13: '""', 14: "217-555-0101"}}, ()),
        ({"PID": PERSON | {13: '""', 14: '""'}}, ("patient.phones",)),
        ({"PID": PERSON | {11: '""^""'}}, ("patient.addresses",)),
        ({"PID": PERSON | {5: 'RIVERA^""'}}, ()),
        ({"PID": PERSON | {29: "20261101", 30: '""'}}, ()),
        ({"PV1": {45: ""}}, ()),
        ({"PV1": {45: '"'}}, ()),
        ({"PD1": {4: '""'}}, ("patient.pcp",)),
    ],
)
def test_a_deleted_field_is_named_and_an_empty_one_is_not(segments: dict[str, Fields], nulls: tuple[str, ...]) -> None:
    assert event_of(**segments).nulls == nulls  # type: ignore[arg-type]  # segments by name, as the builder takes them


def test_the_null_of_a_message_in_utf_16_is_seen_too() -> None:
    raw = "MSH|^~\\&|A|B|||2026||ADT^A08|1|P|2.5||||||UNICODE UTF-16\rPID|||1\rPV1" + "|" * 45 + '""\r'
    event = normalize(parse(raw.encode("utf-16")), FEED, received_at=RECEIVED_AT)
    assert event.nulls == ("visit.discharged_at",)


def test_the_header_is_copied_as_sent() -> None:
    event = event_of(header={3: " EPIC ^1.2^ISO", 4: "MERCY&1.2", 10: " M-1 ", 12: "2.5.1^USA", 15: "AL", 16: "NE"})
    assert (event.sending_application, event.sending_facility) == ("EPIC", "MERCY")
    assert (event.control_id, event.hl7_version, event.acknowledgement_mode) == ("M-1", "2.5.1", ("AL", "NE"))
    assert event_of(header={16: "NE"}).acknowledgement_mode == (None, "NE")
    assert event_of().acknowledgement_mode is None
    assert event_of().feed == "mercy"
    assert event_of().normalizer == NORMALIZER


def test_the_same_bytes_are_the_same_event_whatever_the_feed() -> None:
    other = FeedProfile(name="other", zone=FEED.zone)
    assert event_of().event_id == event_of(feed=other).event_id == event_of(feed=None).event_id
    assert event_of().event_id != event_of(header={10: "M2"}).event_id
    message = message_of(PID=PERSON)
    later = normalize(message, FEED, received_at=RECEIVED_AT + timedelta(days=1))
    assert later.event_id == normalize(message, FEED, received_at=RECEIVED_AT).event_id


@pytest.mark.parametrize("segment_id", ["PV1", "EVN", "MRG"])
def test_of_a_repeated_segment_the_first_is_read_and_the_rest_noted(segment_id: str) -> None:
    segments: dict[str, list[Fields]] = {segment_id: [{1: "9"}, {1: "8"}]}
    event = event_of(header={9: "ADT^A31"}, **segments)  # type: ignore[arg-type]  # segments by name
    assert codes_of(event)["segment-repeated"] == f"{segment_id}[2]-1"


def test_a_frame_without_a_header_is_an_event_all_the_same() -> None:
    event = refused_event(b"junk", "header-missing", received_at=RECEIVED_AT)
    assert (event.kind, event.intake.outcome, event.intake.reason) == ("other", "unreadable", "header-missing")
    assert decode_event(encode_event(event)) == event


def test_a_parked_message_says_whose_it_is_and_no_more() -> None:
    event = parked_event(message_of(PID=PERSON), FEED, "normalizer-failed", received_at=RECEIVED_AT)
    assert (event.control_id, event.feed, event.trigger) == ("M1", "mercy", "A01")
    assert (event.intake.outcome, event.patient.identifiers) == ("unusable", ())


def test_the_four_times_are_kept_apart() -> None:
    raw = adt(
        "A03",
        sent="20261124083003",
        recorded="20261124083002",
        occurred="202611240830",
        admitted="20261120",
        discharged="2026112408",
        control_id="M1",
    )
    event = normalize(parse(raw), FEED, received_at=RECEIVED_AT)
    times = [event.sent_at, event.recorded_at, event.occurred_at, event.visit.admitted_at, event.visit.discharged_at]
    assert [(time.text, time.precision) for time in times if time] == [
        ("20261124083003", "second"),
        ("20261124083002", "second"),
        ("202611240830", "minute"),
        ("20261120", "day"),
        ("2026112408", "hour"),
    ]
    assert event.received_at == RECEIVED_AT


PLANTED = "ZQXJKWV"


@given(
    st.sampled_from(["PID", "PV1", "EVN", "NK1", "MRG", "DG1", "PV2", "ZBE", "PD1", "GT1", "MSH"]),
    st.integers(min_value=1, max_value=50),
    st.sampled_from([PLANTED, f"{PLANTED}^{PLANTED}", f"\\{PLANTED}", f"{PLANTED}&{PLANTED}~{PLANTED}"]),
)
def test_no_finding_and_no_reason_holds_what_a_sender_wrote(segment_id: str, field: int, text: str) -> None:
    fields = {max(field, 3): text}
    event = event_of(header=fields) if segment_id == "MSH" else event_of(**{segment_id: fields})  # type: ignore[arg-type]  # segments by name
    told = json.dumps([event.intake.reason, event.intake.outcome, *codes_of(event).items()])
    assert PLANTED not in told
