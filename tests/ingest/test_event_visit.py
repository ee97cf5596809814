"""Goal: the visit as the sender sees it, in the right facility and zone, a word of ours only where one is known."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from schemas.events import Coded, Diagnosis, Facility, Identifier, Merge
from services.ingest.event_visit import DIAGNOSES_MAX
from services.ingest.feeds import FacilityProfile
from tests.support.hl7_text import FEED, PERSON, Fields, codes_of, event_of

CHICAGO = ZoneInfo("America/Chicago")
TWO_SITES = replace(
    FEED,
    facilities={
        "MAIN": FacilityProfile(code="MAIN", name="Main Hospital", zone=FEED.zone),
        "WEST": FacilityProfile(code="West", name="West Campus", zone=CHICAGO, authority="WST"),
        "1.2.3": FacilityProfile(code="1.2.3", name="By its OID", zone=CHICAGO),
    },
)
NEW_YORK_NAME = FEED.zone.key


@pytest.mark.parametrize(
    ("located", "event_facility", "sending", "expected"),
    [
        ("4W^1^A^MAIN", "WEST", "WEST", Facility(code="MAIN", name="Main Hospital", zone=NEW_YORK_NAME)),
        ("4W^1^A^ west ", "MAIN", "MAIN", Facility(code="West", name="West Campus", zone=CHICAGO.key)),
        ("4W^1^A^X&1.2.3&ISO", "MAIN", "MAIN", Facility(code="1.2.3", name="By its OID", zone=CHICAGO.key)),
        ("4W^1^A^X", "WEST", "MAIN", Facility(code="West", name="West Campus", zone=CHICAGO.key)),
        ("4W^1^A", "X^1.2.3^ISO", "MAIN", Facility(code="1.2.3", name="By its OID", zone=CHICAGO.key)),
        ("4W^1^A^X", "Y", "WEST", Facility(code="West", name="West Campus", zone=CHICAGO.key)),
        ("4W^1^A^X", "Y", "Z^WEST^L", Facility(code="West", name="West Campus", zone=CHICAGO.key)),
        ("4W^1^A^X", "Y", "Z", Facility(code="X", zone=NEW_YORK_NAME)),
        ("4W^1^A^&9.9&ISO", "Y", "Z", Facility(code="9.9", zone=NEW_YORK_NAME)),
        ("4W^1^A", "Y", "Z", Facility(code="Z", zone=NEW_YORK_NAME)),
        ("", "", "", None),
    ],
)
def test_the_facility_is_the_first_that_the_feed_lists(
    located: str, event_facility: str, sending: str, expected: Facility | None
) -> None:
    event = event_of(feed=TWO_SITES, header={4: sending}, EVN={7: event_facility}, PV1={3: located})
    assert event.visit.facility == expected


def test_content_times_are_read_in_the_zone_of_the_facility_and_the_header_in_the_feeds() -> None:
    event = event_of(
        feed=TWO_SITES,
        header={7: "20261124083000"},
        EVN={2: "20261124083000", 6: "20261124083000"},
        PID=PERSON | {29: "20261124083000"},
        PV1={3: "^^^WEST", 44: "20261124083000", 45: "20261124083000"},
        PV2={9: "20261124083000"},
    )
    times = [
        event.sent_at,
        event.recorded_at,
        event.occurred_at,
        event.patient.died_at,
        event.visit.admitted_at,
        event.visit.discharged_at,
        event.visit.expected_discharge_at,
    ]
    assert [time.at.hour for time in times if time] == [13, 14, 14, 14, 14, 14, 14]


def test_a_facilitys_own_authority_goes_to_record_numbers_without_one() -> None:
    event = event_of(feed=TWO_SITES, PID={3: "7~8^^^^SS"}, PV1={3: "^^^WEST"})
    assert event.patient.identifiers == (
        Identifier(value="7", authority="WST"),
        Identifier(value="8", type="SS"),
    )


@pytest.mark.parametrize(
    ("raw", "expected", "finding"),
    [
        ("I", Coded(raw="I", code="IMP"), None),
        ("i", Coded(raw="i", code="IMP"), None),
        ("I^Inpatient", Coded(raw="I", code="IMP", text="Inpatient"), None),
        ("V", Coded(raw="V"), "PV1-2"),
        ("QX", Coded(raw="QX"), "PV1-2"),
        ("", None, None),
        ('""', None, None),
    ],
)
def test_a_class_keeps_what_was_sent(raw: str, expected: Coded | None, finding: str | None) -> None:
    event = event_of(PV1={2: raw})
    assert event.visit.class_ == expected
    assert codes_of(event).get("class-unmapped") == finding


@pytest.mark.parametrize(
    ("raw", "expected", "finding"),
    [
        ("1", Coded(raw="1", code="01"), None),
        ("01^Home^NUBC", Coded(raw="01", code="01", text="Home"), None),
        ("ama", Coded(raw="ama", code="07"), None),
        ("ZZ", Coded(raw="ZZ"), "PV1-36"),
        ("^Somewhere & else", Coded(raw="Somewhere & else", text="Somewhere & else"), None),
        ("", None, None),
    ],
)
def test_a_disposition_keeps_what_was_sent(raw: str, expected: Coded | None, finding: str | None) -> None:
    event = event_of(PV1={36: raw})
    assert event.visit.disposition == expected
    assert codes_of(event).get("disposition-unmapped") == finding


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("4W^401^1^MERCY", "4W 401 1 MERCY"),
        ("4W^^1^MERCY&1.2&ISO~ICU", "4W 1 MERCY 1.2 ISO"),
        (r"North \T\ East", "North & East"),
        ('4W^""', "4W"),
        ('""', None),
        ("^^", None),
        ("", None),
    ],
)
def test_a_location_is_its_parts_with_spaces_between(raw: str, expected: str | None) -> None:
    assert event_of(PV1={3: raw}).visit.location == expected


def test_single_fields() -> None:
    visit = event_of(
        PV1={7: "AT1^OYELARAN^FOLA", 14: "7", 18: "IP", 19: "V1^^^MERCY^VN"},
        PV2={3: "J44.1^COPD & more", 9: "20261130"},
        ZBE={1: "MOV-1^MERCY", 4: "update"},
    ).visit
    assert (visit.attending, visit.admit_source, visit.patient_type) == ("FOLA OYELARAN", "7", "IP")
    assert visit.number == Identifier(value="V1", authority="MERCY", type="VN")
    assert visit.reason == "COPD & more"
    assert visit.expected_discharge_at is not None
    assert (visit.movement_id, visit.movement_action) == ("MOV-1", "UPDATE")
    assert event_of(PV2={3: "Chest pain"}).visit.reason == "Chest pain"


def test_a_visit_without_pv1_still_has_its_facility_and_movement() -> None:
    visit = event_of(PV2={3: "^Fall"}, ZBE={1: "MOV-1", 4: "CANCEL"}).visit
    assert (visit.reason, visit.movement_id, visit.movement_action) == ("Fall", "MOV-1", "CANCEL")
    assert visit.facility == Facility(code="MERCY", zone=NEW_YORK_NAME)


def test_the_first_discharge_time_counts() -> None:
    discharged = event_of(PV1={45: "20261124~20261125"}).visit.discharged_at
    assert discharged is not None
    assert discharged.text == "20261124"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({3: "J44.1^COPD^I10", 6: "A"}, Diagnosis(code="J44.1", text="COPD", system="I10", type="A")),
        ({2: "I9", 3: "496", 4: "COPD & asthma"}, Diagnosis(code="496", text="COPD & asthma", system="I9")),
        ({3: "^Chest pain"}, Diagnosis(text="Chest pain")),
        ({4: "Chest pain"}, Diagnosis(text="Chest pain")),
        ({6: "F"}, None),
    ],
)
def test_a_diagnosis_has_a_code_or_a_text(fields: Fields, expected: Diagnosis | None) -> None:
    assert event_of(DG1=fields).diagnoses == ((expected,) if expected else ())


def test_more_diagnoses_than_anybody_has_are_left_out_with_a_finding() -> None:
    event = event_of(DG1=[{3: f"X{number}"} for number in range(DIAGNOSES_MAX + 5)])
    assert len(event.diagnoses) == DIAGNOSES_MAX
    assert codes_of(event)["diagnoses-left-out"] == f"DG1[{DIAGNOSES_MAX + 1}]-3"


def test_a_merge_names_what_is_retired() -> None:
    merge = event_of(
        header={9: "ADT^A40"}, MRG={1: "9^^^^MR~10^^^OLD^PI", 3: "A9^^^MERCY^AN", 5: "V9^^^MERCY^VN"}
    ).merge
    assert merge == Merge(
        identifiers=(
            Identifier(value="9", authority="MERCY", type="MR"),
            Identifier(value="10", authority="OLD", type="PI"),
        ),
        account=Identifier(value="A9", authority="MERCY", type="AN"),
        visit_number=Identifier(value="V9", authority="MERCY", type="VN"),
    )


def test_a_merge_of_an_old_version_names_it_in_mrg_4() -> None:
    merge = event_of(header={9: "ADT^A40"}, MRG={4: "9"}).merge
    assert merge == Merge(identifiers=(Identifier(value="9", authority="MERCY"),))


def test_what_asks_for_care_is_named_with_its_field() -> None:
    event = event_of(PV1={16: "VIP"}, PD1={12: "Y"}, PV2={22: "N"})
    assert event.sensitivity == ("PV1-16:VIP", "PD1-12:Y", "PV2-22:N")
    assert event_of(PV1={16: '""'}).sensitivity == ()
