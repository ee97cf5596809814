"""The whole way on the embedded default: bytes in over MLLP, a task out on a worklist, worked to its end."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.tcm_oracle import expected_tasks
from tests.system.people import Person, panel_of, people
from tests.system.service import Service, afterstay, until

pytestmark = pytest.mark.system

NEWCOMER, SECOND_NEWCOMER = people(900, 2)


def test_a_discharge_becomes_two_tasks_that_are_worked_by_command_to_their_end(shared: Service, tmp_path: Path) -> None:
    person = NEWCOMER
    panel = tmp_path / "newcomer.csv"
    panel.write_text(panel_of(person), encoding="utf-8")
    loaded = shared.run("panel", "import", panel, "--json")
    assert (loaded.code, loaded.json["counts"]["added"]) == (0, 1), loaded

    answers = shared.send(person.admitted(control_id="WAY-1"), person.discharged(control_id="WAY-2"))
    assert [(answer.code, answer.control_id) for answer in answers] == [("AA", "WAY-1"), ("AA", "WAY-2")]
    tasks = until(lambda: shared.tasks_of(person.patient_id))

    assert sorted(tasks) == ["contact", "visit"]
    for expected in expected_tasks(date.fromisoformat(tasks["contact"]["stay"]["discharged_on"]), "America/New_York"):
        task = tasks[expected["kind"]]
        assert {name: task[name] for name in ("kind", "due_on", "last_on", "work_by")} == {
            name: expected[name] for name in ("kind", "due_on", "last_on", "work_by")
        }
        assert (task["status"], task["patient"]["family"], task["stay"]["visit_number"]) == (
            "requested", person.family, f"V{person.number}"
        )  # fmt: skip
        assert task["stay"]["facility"] == {"code": "MERCY", "name": "Mercy General Hospital"}
    page = shared.get("/")
    assert page.status_code == 200
    assert all(text in page.text for text in (person.family, "Mercy General Hospital", person.phone[-4:]))

    contact = tasks["contact"]["id"]
    assert shared.run("tasks", "claim", contact, "--as", "Kim Lee").code == 0
    tried = shared.run(
        "tasks", "attempt", contact, "--mode", "phone", "--reached", "patient", "--outcome", "reached",
        "--as", "Kim Lee", "--json",
    )  # fmt: skip
    assert (tried.json["owner"], tried.json["attempts"]["count"]) == ("Kim Lee", 1), tried
    done = shared.run("tasks", "complete", contact, "--outcome", "reached", "--as", "Kim Lee", "--json")
    assert done.json["status"] == "completed", done
    assert sorted(shared.tasks_of(person.patient_id)) == ["visit"]

    trace = shared.run("trace", "WAY-2", "--json").json["messages"]
    assert [step["reached"] for step in trace[0]["steps"]] == [True] * 6
    shown = shared.get(f"/api/v1/tasks/{contact}").json()
    assert {message["control_id"] for message in shown["messages"]} == {"WAY-1", "WAY-2"}


def test_the_status_says_where_every_message_ended(shared: Service, person: Person) -> None:
    shared.settle()
    before = shared.status()
    discharge = person.discharged(control_id="STATUS-1")
    shared.send(discharge, discharge, person.says("A99", control_id="STATUS-2"))
    until(lambda: shared.tasks_of(person.patient_id))
    shared.settle()
    after = shared.status()

    assert after["pending"] == 0
    assert after["received"] - before["received"] == 3
    assert after["acknowledged"]["AA"] - before["acknowledged"]["AA"] == 3
    assert after["events"] - before["events"] == 2
    gained = {
        reason: count - before["outcomes"]["no_effect"].get(reason, 0)
        for reason, count in after["outcomes"]["no_effect"].items()
    }
    assert {reason: count for reason, count in gained.items() if count} == {"duplicate": 1, "trigger-not-used": 1}
    assert after["outcomes"]["effect"] - before["outcomes"]["effect"] == 1
    assert sum(after["tasks"]["contact"].values()) - sum(before["tasks"].get("contact", {}).values()) == 1


def test_of_two_who_act_on_the_same_sight_of_a_task_the_second_is_told_who_was_first(
    shared: Service, person: Person
) -> None:
    shared.send(person.discharged(control_id="WINNER-1"))
    task = until(lambda: shared.tasks_of(person.patient_id))["contact"]
    path = f"/api/v1/tasks/{task['id']}/claim"

    first = shared.post(path, version=task["version"], **{"as": "Ana Ortiz"})
    second = shared.post(path, version=task["version"], **{"as": "Bo Chen"})

    assert (first.status_code, first.json()["owner"]) == (200, "Ana Ortiz")
    assert (second.status_code, second.json()["winner"]) == (409, "Ana Ortiz")
    assert second.headers["content-type"] == "application/problem+json"
    by_command = shared.run("tasks", "claim", task["id"], "--version", task["version"], "--as", "Bo Chen")
    assert by_command.code == 1
    assert "Ana Ortiz" in by_command.err


def test_a_canceled_discharge_takes_the_tasks_back_and_a_new_one_brings_them_again(
    shared: Service, person: Person
) -> None:
    shared.send(person.admitted(control_id="BACK-1"), person.discharged(control_id="BACK-2"))
    before = until(lambda: shared.tasks_of(person.patient_id))
    shared.send(person.says("A13", -0.01, control_id="BACK-3"))
    until(lambda: not shared.tasks_of(person.patient_id))
    shared.send(person.discharged(control_id="BACK-4", sent=_in_a_minute()))
    after = until(lambda: shared.tasks_of(person.patient_id))

    assert {kind: task["id"] for kind, task in after.items()} == {kind: task["id"] for kind, task in before.items()}


def test_a_panel_that_is_loaded_after_the_discharge_makes_the_tasks_too(shared: Service, tmp_path: Path) -> None:
    person = SECOND_NEWCOMER
    shared.send(person.discharged(control_id="LATE-PANEL-1"))
    shared.settle()
    panel = tmp_path / "late.csv"
    panel.write_text(panel_of(person), encoding="utf-8")
    assert shared.tasks_of(person.patient_id) == {}

    assert shared.run("panel", "import", panel).code == 0
    assert sorted(until(lambda: shared.tasks_of(person.patient_id))) == ["contact", "visit"]


def test_send_prints_each_answer_and_fails_unless_all_are_accepted(
    shared: Service, person: Person, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.hl7", tmp_path / "bad.hl7"
    good.write_bytes(person.admitted(control_id="SEND-1"))
    bad.write_bytes(person.admitted(control_id=""))
    to = f"{shared.mllp[0]}:{shared.mllp[1]}"

    accepted = afterstay("send", good, "--to", to, "--json")
    refused = afterstay("send", good, bad, "--to", to, "--json")

    assert (accepted.code, refused.code) == (0, 1)
    assert [(one["code"], one["answers"]) for one in refused.json] == [("AA", "SEND-1"), ("AR", "")]


def test_the_service_says_that_it_lives_and_is_ready(shared: Service) -> None:
    assert [shared.get(path).status_code for path in ("/livez", "/readyz", "/openapi.json")] == [200, 200, 200]


def _in_a_minute() -> str:
    return (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y%m%d%H%M%S%z")
