import io
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from services.followup.store.tables import audit_event, task_attempt
from tests.commands.conftest import Afterstay
from tests.support.adt import adt
from tests.support.data_folders import DataFolder

DISCHARGE = adt("A03", sent="20261120143000", control_id="M2", admitted="20261117090000", discharged="20261120143000")
WHO = ("Rivera", "Ana", "1952", "217", "0142", "Spanish", "V1001")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A folder with the two tasks of one discharge, to copy."""
    folder = DataFolder(tmp_path_factory.mktemp("told"))
    folder.make_database()
    folder.load_panel()
    folder.receive(DISCHARGE)
    folder.consume()
    return folder


@pytest.fixture
def worked(told: DataFolder, tmp_path: Path) -> DataFolder:
    """A folder with the two tasks of one discharge."""
    return told.copy_to(tmp_path / "worked")


def contact_of(afterstay: Afterstay, folder: DataFolder) -> dict[str, Any]:
    items = afterstay("tasks", "ls", "--data", folder.path, "--json").json["items"]
    return next(item for item in items if item["kind"] == "contact")


def test_the_list_has_the_shape_of_the_api(afterstay: Afterstay, worked: DataFolder) -> None:
    said = afterstay("tasks", "ls", "--data", worked.path, "--json")

    assert said.code == 0
    assert said.json["next_cursor"] is None
    assert [item["kind"] for item in said.json["items"]] == ["contact", "visit"]
    item = said.json["items"][0]
    assert item["status"] == "requested"
    assert (item["due_on"], item["last_on"], item["work_by"]) == ("2026-11-24",) * 3
    assert item["due_at"] == "2026-11-25T05:00:00Z"
    assert item["patient"]["id"] == "P1"
    assert item["stay"]["facility"] == {"code": "MERCY", "name": "Mercy Hospital"}


def test_who_the_patient_is_shows_only_if_asked_for(afterstay: Afterstay, worked: DataFolder) -> None:
    task_id = contact_of(afterstay, worked)["id"]

    for words in (("ls",), ("ls", "--json"), ("show", task_id), ("show", task_id, "--json")):
        hidden = afterstay("tasks", *words, "--data", worked.path)
        assert not any(word in hidden.out + hidden.err for word in WHO), words
    shown = afterstay("tasks", "ls", "--data", worked.path, "--json", "--show-phi").json["items"][0]["patient"]
    assert (shown["family"], shown["given"], shown["birth_date"]) == ("Rivera", "Ana", "1952-03-14")
    assert shown["contact"]["name"]


def test_a_masked_item_has_the_same_keys_as_a_shown_one(afterstay: Afterstay, worked: DataFolder) -> None:
    def keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: keys(one) for name, one in value.items()}
        return [keys(one) for one in value] if isinstance(value, list) else None

    task_id = contact_of(afterstay, worked)["id"]
    words = ("tasks", "show", task_id, "--data", worked.path, "--json")
    assert keys(afterstay(*words).json) | {"history": 0} == keys(afterstay(*words, "--show-phi").json) | {"history": 0}


def test_a_task_is_claimed_tried_and_completed(afterstay: Afterstay, worked: DataFolder) -> None:
    task_id = contact_of(afterstay, worked)["id"]
    common = ("--data", worked.path, "--as", "Nia", "--json")

    claimed = afterstay("tasks", "claim", task_id, *common)
    assert (claimed.code, claimed.json["status"], claimed.json["owner"]) == (0, "accepted", "Nia")
    tried = afterstay("tasks", "attempt", task_id, "--mode", "phone", "--outcome", "voicemail", *common)
    assert (tried.code, tried.json["status"], tried.json["attempts"]["count"]) == (0, "in-progress", 1)
    reached = afterstay(
        "tasks", "attempt", task_id, "--mode", "phone", "--outcome", "reached", "--reached", "patient", *common
    )
    assert reached.json["attempts"]["last_outcome"] == "reached"
    done = afterstay("tasks", "complete", task_id, "--outcome", "reached", *common)
    assert (done.code, done.json["status"]) == (0, "completed")

    detail = afterstay("tasks", "show", task_id, "--data", worked.path, "--json").json
    assert [entry["change"] for entry in detail["history"]][-4:] == ["claimed", "attempted", "attempted", "closed"]
    assert [item["kind"] for item in afterstay("tasks", "ls", "--data", worked.path, "--json").json["items"]] == [
        "visit"
    ]
    closed = afterstay("tasks", "ls", "--closed", "--data", worked.path, "--json").json["items"]
    assert [item["id"] for item in closed] == [task_id]
    assert len(afterstay("tasks", "ls", "--all", "--data", worked.path, "--json").json["items"]) == 2


def test_an_attempt_says_when_it_was_made(afterstay: Afterstay, worked: DataFolder) -> None:
    task_id = contact_of(afterstay, worked)["id"]
    words = ("tasks", "attempt", task_id, "--mode", "phone", "--outcome", "no-answer", "--data", worked.path, "--json")

    said = afterstay(*words, "--at", worked.now.isoformat())

    assert said.code == 0
    assert said.json["attempts"]["last_at"] == worked.now.isoformat().replace("+00:00", "Z")
    naive = afterstay(*words, "--at", "2026-11-24T14:30")
    assert naive.code == 2
    assert "with its offset" in naive.err


def test_a_note_may_come_from_standard_input_where_ps_does_not_show_it(
    afterstay: Afterstay, worked: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = contact_of(afterstay, worked)["id"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("asked for her daughter\n"))

    said = afterstay(
        "tasks", "attempt", task_id, "--mode", "phone", "--outcome", "voicemail", "--note", "-", "--data", worked.path
    )

    assert said.code == 0
    assert worked.rows(sa.select(task_attempt.c.note)) == [("asked for her daughter",)]
    shown = afterstay("tasks", "show", task_id, "--data", worked.path)
    assert "daughter" not in shown.out


def test_who_comes_second_is_told_who_was_first(afterstay: Afterstay, worked: DataFolder) -> None:
    task_id = contact_of(afterstay, worked)["id"]
    afterstay("tasks", "claim", task_id, "--data", worked.path, "--as", "Nia")

    late = afterstay("tasks", "claim", task_id, "--data", worked.path, "--as", "Ola")
    stale = afterstay("tasks", "claim", task_id, "--data", worked.path, "--as", "Ola", "--version", "1")

    assert (late.code, stale.code) == (1, 1)
    assert late.err.startswith("afterstay: Nia changed the task first")
    assert "[task-changed]" in stale.err


def test_a_rule_that_says_no_says_why(afterstay: Afterstay, worked: DataFolder) -> None:
    task_id = contact_of(afterstay, worked)["id"]

    said = afterstay("tasks", "complete", task_id, "--outcome", "no-answer", "--data", worked.path, "--json")

    assert (said.code, said.out) == (1, "")
    assert "[attempts-missing]" in said.err


def test_an_unknown_task_is_refused(afterstay: Afterstay, worked: DataFolder) -> None:
    for words in (("show", "X"), ("claim", "X"), ("claim", "X", "--version", "1")):
        said = afterstay("tasks", *words, "--data", worked.path)
        assert said.code == 1
        assert "[task-unknown]" in said.err


def test_the_list_goes_page_by_page(afterstay: Afterstay, worked: DataFolder) -> None:
    first = afterstay("tasks", "ls", "--limit", "1", "--data", worked.path, "--json").json
    second = afterstay("tasks", "ls", "--limit", "1", "--cursor", first["next_cursor"], "--data", worked.path, "--json")

    assert [first["items"][0]["kind"], second.json["items"][0]["kind"]] == ["contact", "visit"]
    assert second.json["next_cursor"] is None
    wrong = afterstay("tasks", "ls", "--cursor", "nonsense", "--data", worked.path)
    assert wrong.code == 1
    assert "[cursor-unknown]" in wrong.err


def test_people_read_a_table_and_the_story_of_a_task(afterstay: Afterstay, worked: DataFolder) -> None:
    task_id = contact_of(afterstay, worked)["id"]

    listed = afterstay("tasks", "ls", "--data", worked.path)
    shown = afterstay("tasks", "show", task_id, "--data", worked.path, "--show-phi")

    assert listed.out.splitlines()[0].split()[:3] == ["id", "kind", "status"]
    assert listed.err == "afterstay: 2 tasks\n"
    assert "Rivera, Ana" in shown.out
    assert "M2" in shown.out


def test_every_look_is_audited_under_the_name_given(afterstay: Afterstay, worked: DataFolder) -> None:
    afterstay("tasks", "ls", "--data", worked.path, "--as", "Olga")

    rows = worked.rows(sa.select(audit_event.c.actor, audit_event.c.action))
    assert ("Olga", "tasks.listed") in rows


def test_without_a_database_there_is_no_worklist(afterstay: Afterstay, tmp_path: Path) -> None:
    DataFolder(tmp_path).receive(DISCHARGE)

    said = afterstay("tasks", "ls", "--data", tmp_path)

    assert said.code == 1
    assert "[database-missing]" in said.err
