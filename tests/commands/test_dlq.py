from pathlib import Path

import pytest
import sqlalchemy as sa

from services.followup.store.tables import audit_event
from services.ingest.feeds import Feeds
from services.runtime.eventlog.embedded.layout import LOG_FILE
from tests.commands.conftest import Afterstay
from tests.support.adt import adt
from tests.support.data_folders import DataFolder

FEEDS_FILE = """\
feeds:
  - name: mercy
    sending_facility: MERCY
    authority: MERCY
    zone: America/New_York
"""
DISCHARGE = adt("A03", sent="20261120143000", control_id="M2", admitted="20261117090000", discharged="20261120143000")
NOBODY = adt("A01", sent="20261117090000", control_id="M5", mrn="", name="", birth_date="")
NOT_HL7 = b"hello\r"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A folder that heard of a discharge from a sender that no feed named, and of something that is no message."""
    folder = DataFolder(tmp_path_factory.mktemp("told"))
    folder.make_database()
    folder.load_panel()
    folder.receive(DISCHARGE, NOT_HL7, feeds=Feeds())
    folder.consume()
    return folder


@pytest.fixture
def parked(told: DataFolder, tmp_path: Path) -> DataFolder:
    """A copy of it."""
    return told.copy_to(tmp_path / "parked")


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    file = tmp_path / "feeds.yaml"
    file.write_text(FEEDS_FILE)
    return file


def letter_of(afterstay: Afterstay, folder: DataFolder, reason: str) -> str:
    items = afterstay("dlq", "ls", "--data", folder.path, "--json").json["items"]
    return next(str(item["letter"]) for item in items if item["reason"] == reason)


def test_dead_letters_are_listed_with_their_reason_and_no_content(afterstay: Afterstay, parked: DataFolder) -> None:
    said = afterstay("dlq", "ls", "--data", parked.path, "--json")

    assert said.code == 0
    assert said.json["open"] == 2
    found = {item["reason"]: item for item in said.json["items"]}
    assert found["feed-unknown"]["control_id"] == "M2"
    assert found["feed-unknown"]["acknowledged"] == "AA"
    assert "feeds file" in found["feed-unknown"]["text"]
    assert found["header-missing"]["acknowledged"] == "AR"
    assert "RIVERA" not in said.out


def test_people_read_a_table_and_what_to_do(afterstay: Afterstay, parked: DataFolder) -> None:
    said = afterstay("dlq", "ls", "--data", parked.path)

    assert said.code == 0
    assert "feed-unknown" in said.out
    assert "afterstay: 2 open" in said.err
    assert "add an entry" in said.err


def test_the_message_itself_is_shown_only_if_asked_for_and_audited(afterstay: Afterstay, parked: DataFolder) -> None:
    letter = letter_of(afterstay, parked, "feed-unknown")

    hidden = afterstay("dlq", "show", letter, "--data", parked.path)
    assert hidden.code == 0
    assert "RIVERA" not in hidden.out
    assert parked.rows(sa.select(audit_event.c.action).where(audit_event.c.action.like("dead%"))) == []

    shown = afterstay("dlq", "show", letter, "--data", parked.path, "--show-phi", "--as", "Olga", "--json")
    assert shown.json["message"].encode() == DISCHARGE
    looked = sa.select(audit_event.c.actor).where(audit_event.c.action == "dead_letter.shown")
    assert parked.rows(looked) == [("Olga",)]


def test_a_letter_is_named_by_its_place_or_its_event(afterstay: Afterstay, parked: DataFolder) -> None:
    letter = letter_of(afterstay, parked, "feed-unknown")
    by_place = afterstay("dlq", "show", letter, "--data", parked.path, "--json").json
    by_event = afterstay("dlq", "show", by_place["event_id"], "--data", parked.path, "--json").json

    assert by_place == by_event
    assert by_place["findings"] == [] or {"code", "where"} == by_place["findings"][0].keys()
    unknown = afterstay("dlq", "show", "0:999999", "--data", parked.path)
    assert unknown.code == 1
    assert "[letter-unknown]" in unknown.err


def test_a_mended_feeds_file_brings_the_message_back_to_life(
    afterstay: Afterstay, parked: DataFolder, feeds: Path
) -> None:
    assert afterstay("tasks", "ls", "--data", parked.path, "--json").json["items"] == []

    said = afterstay("dlq", "replay", "--feeds", feeds, "--data", parked.path, "--as", "Olga", "--json")

    assert said.code == 0
    assert (said.json["letters"], said.json["revived"]) == (2, 1)
    assert [one["reason"] for one in said.json["still_dead"]] == ["header-missing"]
    status = afterstay("status", "--data", parked.path, "--json")
    assert status.code == 0
    assert status.json["outcomes"] == {
        "effect": 1, "no_effect": {"duplicate": 0}, "review": 0, "dead_letter": 1,
    }  # fmt: skip
    replayed = sa.select(audit_event.c.actor).where(audit_event.c.action == "dead_letter.replayed")
    assert parked.rows(replayed) == [("Olga",)]
    assert len(afterstay("dlq", "ls", "--all", "--data", parked.path, "--json").json["items"]) == 2


def test_replaying_again_changes_nothing(afterstay: Afterstay, parked: DataFolder, feeds: Path) -> None:
    letter = letter_of(afterstay, parked, "feed-unknown")
    afterstay("dlq", "replay", "--feeds", feeds, "--data", parked.path)
    before = afterstay("status", "--data", parked.path, "--json").json

    again = afterstay("dlq", "replay", letter, "--feeds", feeds, "--data", parked.path, "--json")

    assert again.json["revived"] == 0
    assert afterstay("status", "--data", parked.path, "--json").json == before


def test_a_dry_run_says_and_does_nothing(afterstay: Afterstay, parked: DataFolder, feeds: Path) -> None:
    before = afterstay("status", "--data", parked.path, "--json").json

    said = afterstay("dlq", "replay", "--feeds", feeds, "--dry-run", "--data", parked.path, "--json")

    assert (said.code, said.json["revived"], said.json["dry_run"]) == (0, 1, True)
    assert afterstay("status", "--data", parked.path, "--json").json == before


def test_a_named_letter_that_stays_dead_fails(afterstay: Afterstay, parked: DataFolder, feeds: Path) -> None:
    dead, living = letter_of(afterstay, parked, "header-missing"), letter_of(afterstay, parked, "feed-unknown")

    assert afterstay("dlq", "replay", living, "--feeds", feeds, "--data", parked.path).code == 0
    said = afterstay("dlq", "replay", dead, "--feeds", feeds, "--data", parked.path)
    assert said.code == 1
    assert "header-missing" in said.out


def test_half_a_message_stays_dead_however_well_it_reads(afterstay: Afterstay, folder: DataFolder, feeds: Path) -> None:
    folder.load_panel()
    folder.receive(DISCHARGE, truncated=True)
    folder.consume()

    said = afterstay("dlq", "replay", "--feeds", feeds, "--data", folder.path, "--json")

    assert said.json["revived"] == 0
    assert [one["reason"] for one in said.json["still_dead"]] == ["frame-truncated"]


def test_what_still_names_nobody_stays_dead_with_its_reason(
    afterstay: Afterstay, folder: DataFolder, feeds: Path
) -> None:
    folder.receive(NOBODY, feeds=Feeds())
    folder.consume()

    said = afterstay("dlq", "replay", "--feeds", feeds, "--data", folder.path, "--json")

    assert [one["reason"] for one in said.json["still_dead"]] == ["patient-not-identified"]


def test_a_record_that_the_log_has_no_more_stays_dead(afterstay: Afterstay, parked: DataFolder, feeds: Path) -> None:
    for file in parked.path.glob(f"{LOG_FILE}*"):
        file.unlink()

    said = afterstay("dlq", "replay", "--feeds", feeds, "--data", parked.path, "--json")

    assert said.json["revived"] == 0
    assert {one["reason"] for one in said.json["still_dead"]} == {"record-unreadable"}


def test_a_wrong_feeds_file_is_refused_line_by_line(afterstay: Afterstay, parked: DataFolder, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(FEEDS_FILE.replace("America/New_York", "Mars/Olympus") + "  - name: other\n")

    said = afterstay("dlq", "replay", "--feeds", wrong, "--data", parked.path)

    assert said.code == 1
    assert said.err.startswith(f"afterstay: {wrong}:5: ")
    assert all(line.endswith("[feeds-file-invalid]") for line in said.err.splitlines())
