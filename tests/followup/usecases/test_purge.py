"""What was kept for nobody goes after thirty days, as a whole; everything that somebody may need stays."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.followup.store import tables
from services.followup.store.unit_of_work import units_of
from services.followup.usecases.purge import KEPT, PurgeUnlinked
from services.runtime.database import read_transaction
from tests.followup.conftest import DATABASES
from tests.support.adt import adt
from tests.support.household import Household, local

NOW = local("2026-11-19 12:00")
DAY = timedelta(days=1)
STRANGER = {"mrn": "9009^^^MERCY^MR", "name": "NOBODY^NED", "birth_date": "19610102", "number": "V9", "phone": ""}
ADMIT = adt("A01", sent="20261116080500", control_id="S1", admitted="202611160800", **STRANGER)
UPDATE = adt("A08", sent="20261117080500", control_id="S2", admitted="202611160800", **STRANGER)
DISCHARGE = adt(
    "A03", sent="20261118140500", control_id="S3", admitted="202611160800", discharged="202611181400", disposition="01",
    **STRANGER,
)  # fmt: skip
PATIENT = adt("A01", sent="20261116080500", control_id="P1", admitted="202611160800")
_STATE = (tables.stay, tables.fragment, tables.review, tables.due)


@pytest.fixture(params=DATABASES)
def household(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Household]:
    url = request.getfixturevalue("empty_postgres") if request.param == "postgresql" else None
    made = Household(tmp_path, now=NOW, url=url)
    yield made
    made.close()


def purge(household: Household) -> int:
    return PurgeUnlinked(units_of(household.engine), household.clock).run()


def counts(household: Household) -> dict[str, int]:
    with read_transaction(household.engine) as connection:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in _STATE
        }


def test_a_strangers_stay_goes_as_a_whole_after_thirty_days(household: Household) -> None:
    household.tell([(raw, NOW) for raw in (ADMIT, UPDATE, DISCHARGE)])
    assert counts(household)["stay"] == 1
    household.clock.advance(KEPT)
    assert purge(household) == 0
    household.clock.advance(timedelta(seconds=1))
    books = household.books()
    assert purge(household) == 1
    assert set(counts(household).values()) == {0}
    assert household.books() == books
    assert purge(household) == 0


def test_a_resend_of_what_was_purged_is_a_duplicate(household: Household) -> None:
    household.tell([(ADMIT, NOW), (DISCHARGE, NOW)])
    household.clock.advance(KEPT + DAY)
    assert purge(household) == 1
    household.tell([(DISCHARGE, household.clock.now())])
    assert household.books()["no_effect", "duplicate"] == 1
    assert counts(household)["stay"] == 0


def test_the_thirty_days_count_from_the_last_message(household: Household) -> None:
    household.tell([(ADMIT, NOW)])
    household.clock.advance(20 * DAY)
    household.tell([(UPDATE, household.clock.now())])
    household.clock.advance(20 * DAY)
    assert purge(household) == 0
    household.clock.advance(11 * DAY)
    assert purge(household) == 1


def test_a_panel_patients_stay_and_tasks_are_never_purged(household: Household) -> None:
    discharge = adt(
        "A03", sent="20261118140500", control_id="P2", admitted="202611160800", discharged="202611181400",
        disposition="01",
    )  # fmt: skip
    household.tell([(PATIENT, NOW), (discharge, NOW)])
    standing = household.standing()
    household.clock.advance(400 * DAY)
    assert purge(household) == 0
    assert household.standing() == standing


def test_what_somebody_has_yet_to_decide_is_kept(household: Household) -> None:
    alike = adt(
        "A01", sent="20261116080500", control_id="R1", admitted="202611160800", mrn="7777^^^OTHER^MR", number="V7",
        phone="", street="",
    )  # fmt: skip
    household.tell([(alike, NOW)])
    before = counts(household)
    assert before["match_review"] == 1
    household.clock.advance(400 * DAY)
    assert purge(household) == 0
    assert counts(household) == before


def test_many_go_some_at_a_time(household: Household) -> None:
    for number in range(5):
        stranger = STRANGER | {"mrn": f"{9100 + number}^^^MERCY^MR", "number": f"V91{number}"}
        raw = adt("A01", sent="20261116080500", control_id=f"M{number}", admitted="202611160800", **stranger)
        household.tell([(raw, NOW)])
    household.clock.advance(KEPT + DAY)
    purging = PurgeUnlinked(units_of(household.engine), household.clock)
    assert [purging.run(limit=2) for _ in range(4)] == [2, 2, 1, 0]
