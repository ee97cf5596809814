import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import Request, Response
from starlette.types import Message, Receive, Scope, Send

from services.followup.usecases.worklist import Worklist
from services.followup.web.app import create_app
from services.followup.web.guard import BODY_BYTES_MAX, CONTENT_SECURITY_POLICY, Guard
from services.runtime.clock import FixedClock
from services.runtime.errors import Ambiguous, Permanent, Transient
from services.runtime.log import configure
from tests.followup.web.conftest import NOW, ORIGIN

TASKS = "/api/v1/tasks"
Insert = Callable[..., str]


class BrokenStore:
    """A store that fails with whatever it was given."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def page(self, **_query: object) -> Any:
        raise self._error

    def story(self, task_id: str) -> Any:
        raise self._error

    def begin(self) -> Any:
        raise self._error


def broken(error: Exception) -> httpx.AsyncClient:
    clock = FixedClock(NOW)
    app = create_app(
        Worklist(BrokenStore(error), clock.now),
        clock=clock,
        executor=ThreadPoolExecutor(1),
        live=list,
        ready=list,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN)


@pytest.mark.parametrize(
    "path", ["/", "/tasks/nothing", TASKS, "/api/v1/nothing", "/livez", "/readyz", "/openapi.json", "/static/style.css"]
)
async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none';")
    assert "script-src" not in CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "127.0.0.1", "localhost", "localhost:1", "[::1]:8080"])
async def test_loopback_names_are_answered(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/livez", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.", "", "127.0.0.1:8080:1", "[::1"],
)
async def test_another_name_is_refused_whatever_it_resolves_to(client: httpx.AsyncClient, host: str) -> None:
    response = await client.get(TASKS, headers={"host": host})
    assert response.status_code == 421
    assert response.json()["code"] == "host-unknown"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),  # our own no-referrer policy hides the origin
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),  # another port of this machine
        ({"origin": ORIGIN}, True),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
    ],
)
async def test_nothing_is_changed_by_another_sites_page(
    client: httpx.AsyncClient, insert: Insert, headers: dict[str, str], allowed: bool
) -> None:
    task_id = insert()
    for path, send in ((f"{TASKS}/{task_id}/claim", {"json": {"version": 1}}), ("/name", {"data": {"as": "Ana"}})):
        response = await client.post(path, headers=headers, **send)
        assert (response.status_code != 403) == allowed
    assert (await client.get(f"{TASKS}/{task_id}")).json()["version"] == (2 if allowed else 1)


async def test_a_link_from_another_site_may_be_followed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/", headers={"sec-fetch-site": "cross-site"})).status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_beyond_the_limit_is_refused(client: httpx.AsyncClient, streamed: bool) -> None:
    async def chunks() -> Any:
        for _ in range(BODY_BYTES_MAX // 1024 + 1):
            yield b"x" * 1024

    content: Any = chunks() if streamed else b"x" * (BODY_BYTES_MAX + 1)
    response = await client.post(f"{TASKS}/T1/claim", content=content)
    assert response.status_code == 413
    assert response.json()["code"] == "body-too-large"


@pytest.mark.parametrize("length", ["9" * 5_000, str(BODY_BYTES_MAX + 1)])
async def test_a_body_announced_beyond_the_limit_is_not_read(length: str) -> None:
    async def receive() -> Message:
        raise AssertionError("the body was read")

    statuses, send = statuses_sent()
    await guarded()(_scope("POST", [*LOCAL, (b"content-length", length.encode())]), receive, send)
    assert statuses == [413]


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    never = asyncio.Event()

    async def receive() -> Message:
        await never.wait()
        raise AssertionError("nothing came")

    statuses, send = statuses_sent()
    await guarded(body_wait_s=0.01)(_scope("POST", LOCAL), receive, send)
    assert statuses == [408]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Transient("database-busy", "another process holds the database"), 503, "database-busy"),
        (Ambiguous("database-write-unknown", "the disk failed at /data/afterstay.db"), 500, "database-write-unknown"),
        (Permanent("database-damaged", "keep /data/afterstay.db"), 500, "database-damaged"),
        (RuntimeError("Ana Ruiz, born 1952-03-09"), 500, "internal-error"),
    ],
)
async def test_a_failure_is_a_problem_without_anything_from_inside(error: Exception, status: int, code: str) -> None:
    async with broken(error) as client:
        for path, kind in ((TASKS, "application/problem+json"), ("/", "text/html; charset=utf-8")):
            response = await client.get(path, headers={"accept": "text/html" if path == "/" else "*/*"})
            assert response.status_code == status
            assert response.headers["content-type"] == kind
            assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert code in response.text
            for secret in ("Ruiz", "afterstay.db", "Traceback", "RuntimeError"):
                assert secret not in response.text
        assert ("retry-after" in response.headers) == (status == 503)


async def test_a_failure_is_logged_by_its_type_and_a_request_by_its_template(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info")
    async with broken(RuntimeError("Ana Ruiz")) as client:
        await client.get("/tasks/T-secret-id?cursor=secret-cursor")
    configure("warning")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    events = {line["event"]: line for line in lines}
    assert events["request_failed"]["error_type"] == "RuntimeError"
    assert events["request_served"]["route"] == "/tasks/{task_id}"
    assert events["request_served"]["http_status"] == 500
    assert "secret" not in str(lines)
    assert "Ruiz" not in str(lines)


async def test_more_requests_than_there_is_room_for_are_told_so() -> None:
    waiting = asyncio.Event()

    async def receive() -> Message:
        await waiting.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    statuses, send = statuses_sent()
    app = guarded(requests_max=3)
    held = [asyncio.create_task(app(_scope("GET", LOCAL), receive, send)) for _ in range(3)]
    await asyncio.sleep(0)  # each has begun
    await app(_scope("GET", LOCAL), receive, send)
    assert statuses == [503]
    waiting.set()
    await asyncio.gather(*held)
    assert statuses == [503, 200, 200, 200]


LOCAL = [(b"host", b"localhost")]


def guarded(**limits: Any) -> Guard:
    """Return the guard around an application that says yes to everything."""

    async def agree(scope: Scope, receive: Receive, send: Send) -> None:
        await Response()(scope, receive, send)

    def answer(_request: Request, status: int) -> Response:
        return Response(status_code=status)

    return Guard(agree, answer=answer, clock=FixedClock(NOW), **limits)


def statuses_sent() -> tuple[list[int], Send]:
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    return statuses, send


def _scope(method: str, headers: list[tuple[bytes, bytes]]) -> Scope:
    path = f"{TASKS}/T1/claim"
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }
