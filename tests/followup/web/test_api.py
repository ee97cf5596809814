import asyncio
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.followup.store import tables
from services.runtime.database import read_transaction, write_transaction
from tests.support import rows

GOLDEN = Path(__file__).parents[2] / "golden" / "worklist"
TASKS = "/api/v1/tasks"
CALL = {"mode": "phone", "reached": "patient", "outcome": "reached", "note": "Has all medicines."}

Insert = Callable[..., str]


def a_problem(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:afterstay:problem:{problem['code']}"
    assert problem["title"]
    assert problem["detail"]
    assert code is None or problem["code"] == code
    return problem


async def act(client: httpx.AsyncClient, task_id: str, action: str, version: int, **body: Any) -> httpx.Response:
    return await client.post(f"{TASKS}/{task_id}/{action}", json={"version": version, **body})


# --- shape -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def child(engine: sa.Engine) -> str:
    """A task with something in every field."""
    with write_transaction(engine) as connection:
        patient_id = rows.insert_patient(
            connection,
            id="P-2001",
            family="Ruiz",
            given="Leo",
            birth_date=date(2019, 6, 1),
            sex="M",
            guardian_name="Eva Ruiz",
            guardian_relation="mother",
            guardian_phone="646-555-0199",
        )
        view = rows.a_view(disposition_code="06", disposition_raw="6", visit_number="V-77")
        stay_id = rows.insert_stay(connection, view, id="S-77", patient_id=patient_id)
        rows.insert_event(
            connection,
            fragment_id=rows.insert_fragment(connection, stay_id=stay_id),
            event_id="11111111-2222-5333-8444-555555555555",
            control_id="MSG00077",
        )
        return rows.insert_task(
            connection,
            id="T-77",
            episode_id="E-77",
            patient_id=patient_id,
            stay_id=stay_id,
            kind="visit",
            status="on-hold",
            status_reason_code="post-acute",
            status_reason_text="on hold: post-acute",
            due_on=date(2026, 11, 27),
            last_on=date(2026, 12, 4),
            due_at=rows.DUE_AT + timedelta(days=3),
            work_by=date(2026, 11, 25),
            owner="Kim Lee",
            warnings='["verify destination"]',
            attempt_count=1,
            last_attempt_at=rows.LEARNED_AT + timedelta(hours=1),
            last_attempt_outcome="voicemail",
        )


async def test_an_item_is_exactly_as_published(client: httpx.AsyncClient, child: str) -> None:
    page = (await client.get(TASKS)).json()
    golden = json.loads((GOLDEN / "item.json").read_text(encoding="utf-8"))
    assert page == {"items": [golden], "next_cursor": None}
    assert list(page["items"][0]) == list(golden)


async def test_a_task_alone_is_its_item_with_its_past(client: httpx.AsyncClient, child: str) -> None:
    found = (await client.get(f"{TASKS}/{child}")).json()
    golden = json.loads((GOLDEN / "item.json").read_text(encoding="utf-8"))
    assert {name: found.pop(name) for name in golden} == golden
    assert found == {
        "messages": [
            {
                "event_id": "11111111-2222-5333-8444-555555555555",
                "feed": "mercy",
                "trigger": "A03",
                "kind": "discharged",
                "control_id": "MSG00077",
                "sent_at": "2026-11-20T19:30:00Z",
                "received_at": "2026-11-20T19:31:30Z",
                "outcome": "effect",
                "reason": "",
            }
        ],
        "attempt_log": [],
        "history": [],
    }


async def test_a_stay_of_which_little_is_known_gives_an_item_of_the_same_shape(
    client: httpx.AsyncClient, engine: sa.Engine
) -> None:
    nothing = dict.fromkeys(
        ("visit_authority", "visit_number", "class_code", "class_raw", "facility_code", "facility_name", "admitted_at",
         "discharged_at", "discharged_on", "discharge_basis", "disposition_code", "disposition_raw", "learned_at")
    )  # fmt: skip
    with write_transaction(engine) as connection:
        stay_id = rows.insert_stay(connection, rows.a_view(**nothing, status="in-progress"), match="{}")
        patient_id = rows.insert_patient(connection, sex=None, phone=None, language=None)
        rows.insert_task(connection, stay_id=stay_id, patient_id=patient_id, discharged_at=None)
    [item] = (await client.get(TASKS)).json()["items"]
    assert item["stay"] == {
        "facility": {"code": None, "name": None},
        "visit_number": None,
        "class": {"code": None, "raw": None},
        "admitted_at": None,
        "discharged_at": None,
        "discharged_on": None,
        "discharge_basis": None,
        "disposition": {"code": None, "raw": None, "text": None},
    }
    assert item["match"] == {"rule": None}
    assert item["patient"]["phones"] == []


async def test_what_is_sent_is_what_the_description_says(client: httpx.AsyncClient, child: str) -> None:
    described = (await client.get("/openapi.json")).json()
    schemas = {"components": described["components"]}

    def check(name: str, sent: object) -> None:
        jsonschema.validate(sent, {"$ref": f"#/components/schemas/{name}", **schemas})

    check("WorklistPage", (await client.get(TASKS)).json())
    check("WorklistDetail", (await client.get(f"{TASKS}/{child}")).json())
    check("Problem", (await act(client, child, "claim", 9, **{"as": "Ana"})).json())
    for name, schema in described["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            check(name, example)
    assert "examples" in described["components"]["schemas"]["WorklistItem"]


# --- walking the list ------------------------------------------------------------------------------------------------


async def test_a_walk_over_many_tasks_is_complete_and_repeats_none_while_rows_come_in(
    client: httpx.AsyncClient, engine: sa.Engine
) -> None:
    with write_transaction(engine) as connection:
        first = rows.insert_task(connection, id="T000000")
        template = connection.execute(sa.select(tables.task)).one()._asdict()
        values = [
            {**template, "id": f"T{n:06d}", "episode_id": f"E{n}", "due_at": rows.DUE_AT + timedelta(minutes=n // 7)}
            for n in range(1, 1_200)
        ]
        connection.execute(sa.insert(tables.task), values)
    expected = [first, *(value["id"] for value in values)]

    seen: list[str] = []
    cursor: str | None = None
    for step in range(100):
        query = {"open": "true", "limit": "97", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(TASKS, params=query)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        with write_transaction(engine) as connection:  # one before, one behind where the walk is
            for place in (-step, 300 + step):
                new = {"id": f"new{step}{place}", "episode_id": f"new{step}{place}"}
                connection.execute(
                    sa.insert(tables.task).values(
                        {**template, **new, "due_at": rows.DUE_AT + timedelta(minutes=place, seconds=1)}
                    )
                )
    assert len(seen) == len(set(seen))
    assert [task_id for task_id in seen if not task_id.startswith("new")] == expected
    assert [task_id for task_id in seen if task_id.startswith("new")]


@pytest.mark.parametrize(("query", "expected"), [("?open=true", ["a"]), ("?open=false", ["b"]), ("", ["a", "b"])])
async def test_the_open_filter(client: httpx.AsyncClient, insert: Insert, query: str, expected: list[str]) -> None:
    insert(id="a")
    insert(id="b", status="completed")
    assert [item["id"] for item in (await client.get(TASKS + query)).json()["items"]] == expected


# --- acting ----------------------------------------------------------------------------------------------------------


async def test_a_task_from_claim_to_completion(client: httpx.AsyncClient, insert: Insert) -> None:
    task_id = insert()
    claimed = (await act(client, task_id, "claim", 1, **{"as": "Ana"})).json()
    assert (claimed["status"], claimed["owner"], claimed["version"]) == ("accepted", "Ana", 2)
    voicemail = {"mode": "phone", "reached": None, "outcome": "voicemail", "at": "2026-11-23T10:10:00-05:00"}
    tried = (await act(client, task_id, "attempt", 2, **voicemail)).json()
    assert tried["attempts"] == {"count": 1, "last_at": "2026-11-23T15:10:00Z", "last_outcome": "voicemail"}
    reached = (await act(client, task_id, "attempt", 3, **CALL)).json()
    assert reached["attempts"] == {"count": 2, "last_at": "2026-11-24T15:00:00Z", "last_outcome": "reached"}
    done = (await act(client, task_id, "complete", 4, outcome="reached", **{"as": "Ana"})).json()
    assert (done["status"], done["version"], done["owner"]) == ("completed", 5, "Ana")
    assert done["due_on"] == "2026-11-24"
    past = (await client.get(f"{TASKS}/{task_id}")).json()
    assert [(entry["actor"], entry["change"]) for entry in past["history"]] == [
        ("Ana", "claimed"), ("coordinator", "attempted"), ("coordinator", "attempted"), ("Ana", "closed"),
    ]  # fmt: skip
    assert past["attempt_log"][1]["note"] == "Has all medicines."
    assert (await client.get(TASKS, params={"open": "true"})).json()["items"] == []


async def test_of_two_who_claim_at_once_one_gets_409_with_the_winners_name(
    client: httpx.AsyncClient, insert: Insert
) -> None:
    task_id = insert()
    answers = await asyncio.gather(
        *(act(client, task_id, "claim", 1, **{"as": name}) for name in ("Ana", "Ben", "Kim"))
    )
    [won] = [answer for answer in answers if answer.status_code == 200]
    winner = won.json()["owner"]
    for answer in answers:
        if answer is not won:
            problem = a_problem(answer, 409, "task-changed")
            assert problem["winner"] == winner
            assert winner in problem["detail"]
            assert problem["item"] == won.json()


@pytest.mark.parametrize(
    ("columns", "said", "refused"),
    [
        ({}, ("complete", {"outcome": "voicemail"}), (409, "attempts-missing")),
        ({"status": "on-hold"}, ("complete", {"outcome": "reached"}), (409, "task-on-hold")),
        ({"status": "cancelled"}, ("attempt", CALL), (409, "task-closed")),
        ({"status": "completed"}, ("claim", {}), (409, "task-closed")),
        ({}, ("attempt", {**CALL, "at": "2026-11-24T15:02:00Z"}), (422, "attempt-in-future")),
        ({}, ("attempt", {**CALL, "at": "2026-11-20T19:00:00Z"}), (422, "attempt-before-discharge")),
        ({}, ("attempt", {**CALL, "reached": "none"}), (422, "reached-missing")),
        ({}, ("attempt", {**CALL, "note": "bell \x07"}), (422, "note-unreadable")),
        ({}, ("claim", {"as": " "}), (422, "actor-unusable")),
        ({}, ("claim", {"as": "protocol"}), (422, "actor-reserved")),
    ],
)
async def test_a_rule_that_refuses_says_which(
    client: httpx.AsyncClient,
    insert: Insert,
    columns: dict[str, Any],
    said: tuple[str, dict[str, Any]],
    refused: tuple[int, str],
) -> None:
    action, body = said
    task_id = insert(**columns)
    problem = a_problem(await act(client, task_id, action, 1, **body), *refused)
    assert "item" not in problem or problem["item"]["version"] == 1


async def test_every_view_and_change_over_the_interface_is_audited(
    client: httpx.AsyncClient, insert: Insert, engine: sa.Engine
) -> None:
    task_id = insert()
    await client.get(TASKS)
    await client.get(f"{TASKS}/{task_id}")
    await act(client, task_id, "claim", 1, **{"as": "Ana"})
    await act(client, task_id, "claim", 1, **{"as": "Ben"})
    await act(client, task_id, "attempt", 2, **CALL)
    await act(client, task_id, "complete", 3, outcome="reached")
    with read_transaction(engine) as connection:
        kept = connection.execute(sa.select(tables.audit_event.c.actor, tables.audit_event.c.action)).all()
    assert [tuple(row) for row in kept] == [
        ("coordinator", "tasks.listed"),
        ("coordinator", "task.viewed"),
        ("Ana", "task.claimed"),
        ("Ben", "task.claimed"),
        ("coordinator", "task.attempted"),
        ("coordinator", "task.closed"),
    ]


# --- refusing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/tasks/nothing", 404, "task-unknown"),
        ("GET", "/api/v1/tasks/" + "x" * 5_000, 404, "task-unknown"),
        ("GET", "/api/v1/tasks/%00", 404, "task-unknown"),
        ("GET", "/api/v1/tasks/%ED%A0%80", 404, "task-unknown"),
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/api/v1/tasks/", 404, None),
        ("DELETE", "/api/v1/tasks/T1", 405, "method-not-allowed"),
        ("PUT", "/api/v1/tasks", 405, "method-not-allowed"),
        ("POST", "/api/v1/tasks/T1/claim", 422, "request-invalid"),
        ("GET", "/api/v1/tasks?limit=0", 422, "request-invalid"),
        ("GET", "/api/v1/tasks?limit=501", 422, "request-invalid"),
        ("GET", "/api/v1/tasks?limit=" + "9" * 400, 422, "request-invalid"),
        ("GET", "/api/v1/tasks?limit=1.5", 422, "request-invalid"),
        ("GET", "/api/v1/tasks?limit=", 422, "request-invalid"),
        ("GET", "/api/v1/tasks?open=maybe", 422, "request-invalid"),
        ("GET", "/api/v1/tasks?limit=1&limit=2", 422, "parameter-repeated"),
        ("GET", "/api/v1/tasks?cursor=nonsense", 422, "cursor-unknown"),
        ("GET", "/api/v1/tasks?cursor=", 422, "cursor-unknown"),
        ("GET", "/api/v1/tasks?cursor=%00%ff", 422, "cursor-unknown"),
        ("GET", "/api/v1/tasks?cursor=" + "A" * 5_000, 422, "request-invalid"),
    ],
)
async def test_a_request_for_what_is_not_there_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str | None
) -> None:
    a_problem(await client.request(method, path), status, code)


SECRET = "SECRET-CANARY-19"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"version": 1',
        b"[" * 20_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        json.dumps({"version": SECRET}).encode(),
        json.dumps({"version": 1, SECRET: 1}).encode(),
        json.dumps({"version": 1, "as": [SECRET]}).encode(),
        json.dumps({"version": 1, "as": SECRET * 100}).encode(),
        b'{"version": 1, "as": "\\ud800"}',
        b'{"version": NaN}',
        b'{"version": 1e400}',
        b'{"version": true}',
        b'{"version": 1.0}',
        b'{"version": "1"}',
        b'{"version": null}',
        b'{"version": 0}',
        b'{"version": -1}',
        b'{"version": 2147483648}',
        b'{"version": ' + b"9" * 5_000 + b"}",
    ],
)
async def test_a_body_that_is_not_one_is_a_problem_that_repeats_nothing(
    client: httpx.AsyncClient, insert: Insert, content: bytes
) -> None:
    task_id = insert()
    headers = {"content-type": "application/json"}
    response = await client.post(f"{TASKS}/{task_id}/claim", content=content, headers=headers)
    assert 400 <= response.status_code < 500
    a_problem(response, response.status_code)
    assert SECRET not in response.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", SECRET),
        ("mode", None),
        ("mode", ["phone"]),
        ("reached", SECRET),
        ("reached", {}),
        ("outcome", SECRET),
        ("outcome", 7),
        ("note", 7),
        ("note", SECRET * 500),
        ("at", SECRET),
        ("at", 1_700_000_000),
        ("at", "1700000000"),
        ("at", "2026-11-23"),
        ("at", "2026-11-23T10:00:00"),
        ("at", "2026-02-30T10:00:00Z"),
        ("at", "2026-11-23T25:00:00Z"),
        ("at", "9999-12-31T23:59:59-14:00"),
        ("at", "0001-01-01T00:00:00+14:00"),
        ("notes", SECRET),
    ],
)
async def test_a_field_that_is_not_what_it_must_be_is_a_problem_that_repeats_nothing(
    client: httpx.AsyncClient, insert: Insert, field: str, value: object
) -> None:
    task_id = insert()
    response = await act(client, task_id, "attempt", 1, **{**CALL, field: value})
    a_problem(response, 422)
    assert SECRET not in response.text
    assert (await client.get(f"{TASKS}/{task_id}")).json()["version"] == 1


async def test_a_body_that_does_not_say_it_is_json_is_not_taken(client: httpx.AsyncClient, insert: Insert) -> None:
    task_id = insert()
    response = await client.post(
        f"{TASKS}/{task_id}/claim", content=b'{"version": 1}', headers={"content-type": "text/plain"}
    )
    a_problem(response, 422)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=5,
)
bodies = st.dictionaries(
    st.sampled_from(["version", "as", "mode", "reached", "outcome", "note", "at", "x"]), anything, max_size=8
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(anything, bodies), action=st.sampled_from(["claim", "attempt", "complete", "other"]))
async def test_no_body_breaks_it(client: httpx.AsyncClient, body: Any, action: str) -> None:
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    response = await client.post(f"{TASKS}/T1/{action}", content=content, headers=headers)
    assert 400 <= response.status_code < 500
    a_problem(response, response.status_code)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.dictionaries(st.sampled_from(["open", "limit", "cursor", "x"]), st.text(max_size=30), max_size=4))
async def test_no_query_breaks_it(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    response = await client.get(TASKS, params={name: _encodable(value) for name, value in query.items()})
    assert response.status_code in (200, 422)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


# --- health ----------------------------------------------------------------------------------------------------------


async def test_health_is_ok_or_says_what_is_wrong(client: httpx.AsyncClient, health: dict[str, list[str]]) -> None:
    for path in ("/livez", "/readyz"):
        assert (await client.get(path)).json() == {"status": "ok"}
    health["ready"] = ["database-busy", "schema-old"]
    assert (await client.get("/livez")).status_code == 200
    assert a_problem(await client.get("/readyz"), 503, "unhealthy")["detail"] == "database-busy, schema-old"
