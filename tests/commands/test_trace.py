from pathlib import Path

import sqlalchemy as sa

from services.followup.store.tables import audit_event
from tests.commands.conftest import Afterstay
from tests.support.adt import adt
from tests.support.data_folders import DataFolder

ADMIT = adt("A01", sent="20261117090000", control_id="M1", admitted="20261117090000")
DISCHARGE = adt("A03", sent="20261120143000", control_id="M2", admitted="20261117090000", discharged="20261120143000")
STRANGER = adt("A01", sent="20261117090000", control_id="M3", name="DOE^JO", mrn="9^^^MERCY^MR", number="V9")
UNNAMED = adt("A01", sent="20261117090000", control_id="M4", facility="ELSEWHERE")
STEPS = ["received", "published", "acknowledged", "consumed", "matched", "task"]
NAMES = ("RIVERA", "Rivera", "ANA", "Ana", "1952", "OAK", "5550142", "DOE")


def test_a_message_is_followed_from_the_socket_to_the_task(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.load_panel()
    folder.receive(ADMIT, DISCHARGE)
    folder.consume()

    said = afterstay("trace", "M2", "--data", folder.path, "--json")

    assert said.code == 0
    (message,) = said.json["messages"]
    assert [step["name"] for step in message["steps"]] == STEPS
    assert all(step["reached"] for step in message["steps"])
    assert (message["feed"], message["trigger"], message["acknowledged"]) == ("mercy", "A03", "AA")
    assert (message["topic"], message["outcome"]) == ("adt.events.v1", "effect")
    assert message["stay"]["patient_id"] == "P1"
    assert message["stay"]["match_state"] == "linked"
    assert message["stay"]["match_rule"] == "identifier"
    assert {"discharged_at", "identifiers", "names"} <= set(message["stay"]["sets"])
    assert all(name.isprintable() for name in message["stay"]["sets"])
    assert {task["kind"] for task in message["stay"]["tasks"]} == {"contact", "visit"}


def test_people_read_the_way_step_by_step_and_no_name(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.load_panel()
    folder.receive(ADMIT, DISCHARGE, UNNAMED)
    folder.consume()

    for control_id in ("M2", "M4"):
        said = afterstay("trace", control_id, "--data", folder.path)
        assert said.code == 0
        assert [line.split()[0] for line in said.out.splitlines()[1:7]] == STEPS
        assert not any(name in said.out for name in NAMES)


def test_a_message_that_waits_in_the_log_is_found_there(afterstay: Afterstay, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.receive(ADMIT)

    (message,) = afterstay("trace", "M1", "--data", tmp_path, "--json").json["messages"]

    reached = {step["name"]: step["reached"] for step in message["steps"]}
    assert reached == dict.fromkeys(STEPS[:3], True) | dict.fromkeys(STEPS[3:], False)
    assert message["consumed_at"] is None
    assert message["acknowledged"] == "AA"


def test_the_same_control_id_again_with_another_body_is_another_message(
    afterstay: Afterstay, folder: DataFolder
) -> None:
    folder.receive(ADMIT)
    folder.consume()
    folder.receive(adt("A08", sent="20261118090000", control_id="M1"))

    messages = afterstay("trace", "M1", "--data", folder.path, "--json").json["messages"]

    assert [one["consumed_at"] is None for one in messages] == [True, False]


def test_why_there_is_no_task_is_said(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.load_panel()
    folder.receive(ADMIT, STRANGER, UNNAMED)
    folder.consume()

    def last_step(control_id: str) -> str:
        said = afterstay("trace", control_id, "--data", folder.path, "--json")
        return str(said.json["messages"][0]["steps"][-1]["text"])

    assert last_step("M1") == "none: not-discharged"
    assert last_step("M3") == "none: not-on-panel"
    assert last_step("M4") == "none: feed-unknown"


def test_a_feed_narrows_the_search(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.receive(ADMIT)
    folder.consume()

    assert afterstay("trace", "M1", "--feed", "mercy", "--data", folder.path, "--json").code == 0
    assert afterstay("trace", "M1", "--feed", "general", "--data", folder.path, "--json").code == 1


def test_an_unknown_control_id_is_said_clearly(afterstay: Afterstay, folder: DataFolder) -> None:
    said = afterstay("trace", "NOBODY", "--data", folder.path, "--json")

    assert said.code == 1
    assert said.json["messages"] == []
    assert said.err.startswith("afterstay: no message with control id NOBODY")


def test_each_look_leaves_an_audit_row(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.receive(ADMIT)
    folder.consume()
    afterstay("trace", "M1", "--data", folder.path, "--as", "Olga")

    (row,) = folder.rows(sa.select(audit_event.c.actor, audit_event.c.action, audit_event.c.detail))
    assert row[:2] == ("Olga", "message.traced")
    assert '"control_id":"M1"' in str(row[2])
