"""Canaries that arrive, and each way in which one is lost; the real way through everything is in tests/system.

Method: a real MLLP listener that answers as the test says, and a book that is a real database or fails as it says.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas.canary import CANARY_TYPE
from services.canary import Canary, CanaryTarget
from services.followup.store.canary import SqlCanaryBook
from services.followup.store.tables import canary, event
from services.followup.usecases.sorting import CANARY
from services.ingest.hl7.ack import AckCode, build_ack
from services.ingest.hl7.message import parse
from services.ingest.mllp.inbound import Answer, Inbound
from services.ingest.mllp.server import MllpServer
from services.runtime.clock import SystemClock
from services.runtime.database import database_url, open_database, write_transaction
from services.runtime.errors import Transient
from services.runtime.metrics import Metrics
from tests.support.certificates import ServerFiles, client_context, issue
from tests.support.databases import copy_empty_database
from tests.support.waiting import until_true

CLOCK = SystemClock()
HOST = "127.0.0.1"
LONG_S = 30.0
SHORT_S = 0.3


class Hospitality:
    """A listener's handler: keeps what came, answers with a code, and may let it arrive in the database."""

    def __init__(self, *, code: AckCode = "AA", arrive: Callable[[str], None] | None = None) -> None:
        self.code: AckCode = code
        self.got: list[str] = []
        self._arrive = arrive

    def __call__(self, inbound: Inbound, answer: Answer) -> None:
        message = parse(inbound.payload)
        control_id = message.header.field(10)
        assert message.header.component(9) == CANARY_TYPE
        self.got.append(control_id)
        if self._arrive is not None:
            self._arrive(control_id)
        answer(build_ack(message, code=self.code, control_id="1", sent_at=CLOCK.now()))


@asynccontextmanager
async def listening(handler: Hospitality, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = MllpServer(handler, tls=tls)
    port = await server.start(HOST, 0)
    try:
        yield port
    finally:
        await server.drain(1.0)


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    copy_empty_database(tmp_path)
    return open_database(database_url(tmp_path))


class Aviary:
    """A canary's whole surroundings."""

    def __init__(self, engine: sa.Engine, port: int, *, tls: ssl.SSLContext | None = None, host: str = HOST) -> None:
        self.metrics = Metrics()
        self.book = SqlCanaryBook(engine)
        self.target = CanaryTarget(host=host, port=port, tls=tls)
        self.executor = ThreadPoolExecutor(1)

    def canary(self, *, lost_after_s: float = LONG_S, every_s: float = 60.0, book: object | None = None) -> Canary:
        return Canary(
            book or self.book,  # type: ignore[arg-type]  # a book that fails, in one test
            self.target.send,
            clock=CLOCK,
            executor=self.executor,
            metrics=self.metrics,
            every_s=every_s,
            lost_after_s=lost_after_s,
        )

    def figures(self) -> dict[str, float]:
        lines = (line.rpartition(" ") for line in self.metrics.render().decode().splitlines() if line[0] != "#")
        return {name.removeprefix("afterstay_canary_"): float(value) for name, _, value in lines}


def arrive_in(engine: sa.Engine) -> Callable[[str], None]:
    """Return what writes a canary's event as the consumer does."""

    def arrive(control_id: str) -> None:
        with write_transaction(engine) as connection:
            connection.execute(
                sa.insert(event).values(
                    event_id=control_id, topic="t", partition=0, offset=0, normalizer=1, kind="other",
                    control_id=control_id, ack="AA", received_at=CLOCK.now(), applied_at=CLOCK.now(),
                    outcome="no_effect", reason=CANARY,
                )
            )  # fmt: skip

    return arrive


async def test_one_that_arrives_is_timed(engine: sa.Engine) -> None:
    handler = Hospitality(arrive=arrive_in(engine))
    async with listening(handler) as port:
        aviary = Aviary(engine, port)
        await aviary.canary().fly()
    figures = aviary.figures()
    assert (figures["sent_total"], figures["roundtrip_seconds_count"]) == (1, 1)
    assert 0 < figures["roundtrip_seconds_sum"] < LONG_S
    assert not any(name.startswith("lost_total") for name in figures)


async def test_one_that_is_acknowledged_and_does_not_arrive_is_lost(engine: sa.Engine) -> None:
    async with listening(Hospitality()) as port:
        aviary = Aviary(engine, port)
        await aviary.canary(lost_after_s=SHORT_S).fly()
    figures = aviary.figures()
    assert figures['lost_total{reason="not-arrived"}'] == 1
    assert figures["roundtrip_seconds_count"] == 0


async def test_one_that_is_refused_is_lost(engine: sa.Engine) -> None:
    async with listening(Hospitality(code="AR", arrive=arrive_in(engine))) as port:
        aviary = Aviary(engine, port)
        await aviary.canary().fly()
    assert aviary.figures()['lost_total{reason="not-accepted"}'] == 1


async def test_one_that_nobody_takes_is_lost(engine: sa.Engine) -> None:
    async with listening(Hospitality()) as port:
        pass
    aviary = Aviary(engine, port)
    await aviary.canary().fly()
    assert aviary.figures()['lost_total{reason="not-sent"}'] == 1


class AwayBook:
    """A book whose database is away, for claims or for looks."""

    def __init__(self, *, claims: bool) -> None:
        self._claims = claims

    def claim(self, turn: int, control_id: str, now: datetime) -> bool:
        if self._claims:
            return True
        raise Transient("database-away", "the database is away")

    def has_arrived(self, control_id: str) -> bool:
        raise Transient("database-away", "the database is away")

    def purge(self, sent_before: datetime, forgotten_before: datetime) -> int:
        raise Transient("database-away", "the database is away")


@pytest.mark.parametrize(("claims", "reason", "sent"), [(False, "not-claimed", 0), (True, "not-arrived", 1)])
async def test_while_the_database_is_away_canaries_are_lost(
    engine: sa.Engine, claims: bool, reason: str, sent: int
) -> None:
    async with listening(Hospitality()) as port:
        aviary = Aviary(engine, port)
        await aviary.canary(lost_after_s=SHORT_S, book=AwayBook(claims=claims)).fly()
    figures = aviary.figures()
    assert (figures[f'lost_total{{reason="{reason}"}}'], figures["sent_total"]) == (1, sent)


async def test_of_several_schedulers_one_sends_each_turn(engine: sa.Engine) -> None:
    """Method: three that share a database, turns of 0.2 s; as many canaries as turns, no two alike."""
    handler = Hospitality(arrive=arrive_in(engine))
    async with listening(handler) as port:
        aviaries = [Aviary(engine, port) for _ in range(3)]
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for aviary in aviaries:
                group.create_task(aviary.canary(every_s=0.2).run(stop))
            await until_true(lambda: len(handler.got) >= 8)
            stop.set()
    with engine.connect() as connection:
        turns = connection.execute(sa.select(canary.c.turn)).scalars().all()
    assert len(set(handler.got)) == len(handler.got)
    assert len(turns) - 1 <= len(handler.got) <= len(turns)  # the last turn may have been taken and not flown
    assert len(turns) == len(set(turns))


async def test_a_canary_that_is_lost_keeps_no_other_from_flying(engine: sa.Engine) -> None:
    """Method: none arrives, each is awaited for longer than a turn lasts; a new one starts with every turn."""
    handler = Hospitality()
    async with listening(handler) as port:
        aviary = Aviary(engine, port)
        stop = asyncio.Event()
        running = asyncio.create_task(aviary.canary(every_s=0.2, lost_after_s=1.0).run(stop))
        await until_true(lambda: len(handler.got) >= 8)
        stop.set()
        await running
    assert 'lost_total{reason="not-arrived"}' in aviary.figures()


async def test_one_flies_over_tls_with_a_certificate_of_its_own(engine: sa.Engine, tmp_path: Path) -> None:
    files = ServerFiles(tmp_path / "tls")
    files.folder.mkdir()
    files.write(issue("localhost", by="ours"))
    handler = Hospitality(arrive=arrive_in(engine))
    async with listening(handler, files.context()) as port:
        aviary = Aviary(engine, port, tls=client_context(issue("canary.test")), host="localhost")
        await aviary.canary().fly()
        assert aviary.figures()["roundtrip_seconds_count"] == 1
        stranger = Aviary(engine, port, tls=ssl.create_default_context(), host="localhost")
        await stranger.canary(every_s=0.001).fly()
    assert stranger.figures()['lost_total{reason="not-sent"}'] == 1
