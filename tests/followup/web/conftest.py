"""The web interface over a real database, spoken to in process."""

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.worklist import Worklist
from services.followup.web.app import create_app
from services.runtime.clock import FixedClock
from services.runtime.database import write_transaction
from tests.support import rows

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
ORIGIN = "http://127.0.0.1:8080"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(max_workers=4) as executor:
        yield executor


@pytest.fixture
def worklist(engine: sa.Engine, clock: FixedClock) -> Worklist:
    return Worklist(SqlWorklist(engine), clock.now)


@pytest.fixture
def health() -> dict[str, list[str]]:
    """What the two checks find wrong; a test may fill it."""
    return {"live": [], "ready": []}


@pytest.fixture
def app(worklist: Worklist, clock: FixedClock, executor: Executor, health: dict[str, list[str]]) -> FastAPI:
    return create_app(
        worklist, clock=clock, executor=executor, live=lambda: health["live"], ready=lambda: health["ready"]
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)  # nothing may escape the guard
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


@pytest.fixture
def insert(engine: sa.Engine) -> Callable[..., str]:
    """Insert a task and what it needs."""

    def insert_task(**columns: Any) -> str:
        with write_transaction(engine) as connection:
            return rows.insert_task(connection, **columns)

    return insert_task
