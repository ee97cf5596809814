import sqlalchemy as sa

from services.followup.store.tables import audit_event
from tests.commands.conftest import Afterstay
from tests.support.adt import adt
from tests.support.data_folders import DataFolder

# The number and nothing else says Ana: name and birth date are somebody else's.
DOUBTFUL = adt(
    "A03",
    sent="20261120143000",
    control_id="M1",
    admitted="20261117090000",
    discharged="20261120143000",
    name="STONE^KIM",
    birth_date="19700101",
)


def test_open_reviews_show_the_stay_and_who_it_may_be_without_names(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.load_panel()
    folder.receive(DOUBTFUL)
    folder.consume()

    said = afterstay("review", "ls", "--data", folder.path, "--json")

    assert said.code == 0
    assert said.json["total"] == 1
    (item,) = said.json["items"]
    assert item["kind"] == "match"
    assert [one["patient_id"] for one in item["candidates"]] == ["P1"]
    assert item["candidates"][0]["agreements"][0] == "identifier"
    assert item["stay"]["facility_name"] == "Mercy Hospital"
    assert item["stay"]["discharged_on"] == "2026-11-20"
    assert not any(name in said.out for name in ("STONE", "Rivera", "1952", "1970"))


def test_people_get_a_table_and_a_count(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.load_panel()
    folder.receive(DOUBTFUL)
    folder.consume()

    said = afterstay("review", "ls", "--data", folder.path, "--as", "Olga")

    assert "P1 (for: identifier" in said.out
    assert said.err == "afterstay: 1 open\n"
    assert folder.rows(sa.select(audit_event.c.actor).where(audit_event.c.action == "reviews.listed")) == [("Olga",)]


def test_nothing_to_review_is_an_empty_list(afterstay: Afterstay, folder: DataFolder) -> None:
    assert afterstay("review", "ls", "--data", folder.path, "--json").json == {"items": [], "total": 0}
