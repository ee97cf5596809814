from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from services.followup.usecases.worklist_items import ContactPerson
from services.followup.usecases.worklist_rows import years_between
from tests.support.items import an_item
from tests.support.rows import DISCHARGED_AT

MOTHER = {"guardian_name": "Eva Ruiz", "guardian_relation": "mother", "guardian_phone": "646-555-0199"}


@pytest.mark.parametrize(
    ("person", "contact"),
    [
        ({}, ContactPerson(name="Ana Ruiz", relation="self", phone="212-555-0147")),
        ({"phone": None}, ContactPerson(name="Ana Ruiz", relation="self", phone=None)),
        (MOTHER, ContactPerson(name="Ana Ruiz", relation="self", phone="212-555-0147")),
        (
            {**MOTHER, "birth_date": date(2020, 1, 1)},
            ContactPerson(name="Eva Ruiz", relation="mother", phone="646-555-0199"),
        ),
        (
            {**MOTHER, "birth_date": date(2020, 1, 1), "guardian_phone": None},
            ContactPerson(name="Eva Ruiz", relation="mother", phone="212-555-0147"),
        ),
        (
            {**MOTHER, "birth_date": date(2020, 1, 1), "guardian_relation": None},
            ContactPerson(name="Eva Ruiz", relation="guardian", phone="646-555-0199"),
        ),
        ({"birth_date": date(2020, 1, 1)}, ContactPerson(name="Ana Ruiz", relation="self", phone="212-555-0147")),
        # The discharge is on 2026-11-20: eighteen on that very day is of age, a day later is not.
        (
            {**MOTHER, "birth_date": date(2008, 11, 20)},
            ContactPerson(name="Ana Ruiz", relation="self", phone="212-555-0147"),
        ),
        (
            {**MOTHER, "birth_date": date(2008, 11, 21)},
            ContactPerson(name="Eva Ruiz", relation="mother", phone="646-555-0199"),
        ),
    ],
)
def test_the_guardian_of_a_patient_under_eighteen_at_discharge_is_called_else_the_patient(
    person: dict[str, Any], contact: ContactPerson
) -> None:
    assert an_item(**person).patient.contact == contact


@pytest.mark.parametrize(
    ("born", "on", "years"),
    [
        (date(2000, 2, 29), date(2018, 2, 28), 17),
        (date(2000, 2, 29), date(2018, 3, 1), 18),
        (date(2000, 2, 29), date(2020, 2, 29), 20),
        (date(2026, 11, 20), date(2026, 11, 20), 0),
    ],
)
def test_an_age_in_whole_years(born: date, on: date, years: int) -> None:
    assert years_between(born, on) == years


@pytest.mark.parametrize(
    ("stay", "text"),
    [
        ({}, "home"),
        ({"disposition_code": None, "disposition_raw": None}, None),
        ({"disposition_code": None, "disposition_raw": "XYZ", "disposition_text": "Group home"}, "Group home"),
        ({"disposition_code": "03", "disposition_text": "SNF as the feed says"}, "skilled nursing facility"),
    ],
)
def test_a_disposition_is_in_our_words_else_in_the_feeds(stay: dict[str, Any], text: str | None) -> None:
    assert an_item(stay=stay).stay.disposition.text == text


def test_a_patient_without_a_phone_has_none_listed() -> None:
    assert an_item(phone=None).patient.phones == ()


def test_instants_of_a_stay_kept_with_an_offset_are_given_in_utc() -> None:
    eastern = timezone(timedelta(hours=-5))
    discharged_at = an_item(stay={"discharged_at": DISCHARGED_AT.astimezone(eastern)}).stay.discharged_at
    assert discharged_at is not None
    assert (discharged_at, discharged_at.tzinfo) == (DISCHARGED_AT, UTC)


def test_a_status_reason_has_a_code_and_words_or_is_null() -> None:
    assert an_item().status_reason is None
    reason = an_item(task={"status": "on-hold", "status_reason_code": "post-acute"}).status_reason
    assert reason is not None
    assert (reason.code, reason.text) == ("post-acute", "post-acute")


def test_what_is_known_of_a_death_is_said() -> None:
    assert an_item(stay={"deceased": True}).patient.deceased


def test_the_last_attempt_is_summed_up() -> None:
    at = datetime(2026, 11, 23, 15, tzinfo=UTC)
    attempts = an_item(task={"attempt_count": 2, "last_attempt_at": at, "last_attempt_outcome": "voicemail"}).attempts
    assert (attempts.count, attempts.last_at, attempts.last_outcome) == (2, at, "voicemail")
