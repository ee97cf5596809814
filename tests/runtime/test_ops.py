"""The ops port of a process, asked over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from services.runtime import ops
from services.runtime.errors import Permanent
from services.runtime.metrics import BUILD_INFO, Metrics


async def nothing_wrong() -> Sequence[str]:
    return ()


@asynccontextmanager
async def served(ready: ops.Ready = nothing_wrong) -> AsyncIterator[httpx.AsyncClient]:
    metrics = Metrics()
    metrics.provide(BUILD_INFO, lambda: ((("1.0", "test"), 1.0),))
    bound = ops.bind_tcp("127.0.0.1", 0, "--ops-port")
    address = ops.address_of(bound)
    server = ops.ops_server(bound, metrics, ready, lambda: ["plaintext-beyond-loopback"])
    serving = asyncio.create_task(server.serve())
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            yield client
    finally:
        server.stop()
        await serving


async def test_alive_ready_and_metrics_are_answered() -> None:
    async with served() as client:
        assert (await client.get("/livez")).json() == {"alive": True}
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json() == {"ready": True, "reasons": [], "notes": ["plaintext-beyond-loopback"]}
        scraped = await client.get("/metrics")
        assert scraped.headers["content-type"].startswith("text/plain")
        assert 'afterstay_build_info{process="test",version="1.0"} 1.0' in scraped.text
        assert (await client.head("/livez")).content == b""


async def test_what_keeps_it_from_its_work_is_named_and_it_stays_alive() -> None:
    async def away() -> Sequence[str]:
        return ("database-unavailable",)

    async with served(away) as client:
        found = await client.get("/readyz")
        assert found.status_code == 503
        assert found.json()["reasons"] == ["database-unavailable"]
        assert (await client.get("/livez")).status_code == 200


async def test_a_check_that_hangs_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs() -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(ops, "READY_WAIT_S", 0.05)
    async with served(hangs) as client:
        assert (await client.get("/readyz")).json()["reasons"] == [ops.TOO_SLOW]


async def test_nothing_else_is_there_and_nothing_can_be_changed() -> None:
    async with served() as client:
        assert (await client.get("/metrics/more")).status_code == 404
        assert (await client.post("/readyz", content=json.dumps({}))).status_code == 405


def test_a_port_that_is_taken_is_named_with_its_flag() -> None:
    bound = ops.bind_tcp("127.0.0.1", 0, "--ops-port")
    with bound, pytest.raises(Permanent) as refused:
        ops.bind_tcp("127.0.0.1", bound.getsockname()[1], "--ops-port")
    assert refused.value.code == "port-taken"
    assert "--ops-port" in refused.value.message
