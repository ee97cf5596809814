"""Whose turn it is, what has arrived, and what is purged."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from schemas.canary import canary_control_id
from services.followup.store.canary import SqlCanaryBook
from services.followup.store.tables import canary, event
from services.followup.usecases.sorting import CANARY
from services.runtime.database import write_transaction

NOW = datetime(2026, 11, 27, 23, 0, tzinfo=UTC)
DAY, MONTH = timedelta(days=1), timedelta(days=30)


def control_id(number: int) -> str:
    return canary_control_id(f"{number:016x}")


def arrive(engine: sa.Engine, *control_ids: str, reason: str = CANARY) -> None:
    """Write events as the consumer keeps them."""
    with write_transaction(engine) as connection:
        for one in control_ids:
            connection.execute(
                sa.insert(event).values(
                    event_id=f"{one} {reason}", topic="adt.events.v1", partition=0, offset=0, normalizer=1,
                    kind="other", control_id=one, ack="AA", received_at=NOW, applied_at=NOW, outcome="no_effect",
                    reason=reason,
                )
            )  # fmt: skip


def kept(engine: sa.Engine, column: sa.Column[str]) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(column)).scalars())


def test_of_many_that_want_a_turn_one_gets_it(engine: sa.Engine) -> None:
    book = SqlCanaryBook(engine)
    together = threading.Barrier(4)

    def want(number: int) -> list[bool]:
        together.wait()
        return [book.claim(turn, control_id(100 * number + turn), NOW) for turn in range(20)]

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(want, range(4)))

    assert [sum(turns) for turns in zip(*got, strict=True)] == [1] * 20
    assert len(kept(engine, canary.c.control_id)) == 20


def test_a_canary_has_arrived_when_its_event_was_consumed_as_one(engine: sa.Engine) -> None:
    book = SqlCanaryBook(engine)
    assert not book.has_arrived(control_id(1))
    arrive(engine, control_id(2))
    arrive(engine, control_id(1), reason="message-type-not-used")
    assert not book.has_arrived(control_id(1))
    assert book.has_arrived(control_id(2))


def test_what_arrived_goes_after_a_day_with_its_event_and_what_did_not_is_awaited_for_a_month(
    engine: sa.Engine,
) -> None:
    book = SqlCanaryBook(engine)
    ages = {1: timedelta(hours=23), 2: timedelta(hours=25), 3: timedelta(hours=25), 4: timedelta(days=31)}
    for number, age in ages.items():
        assert book.claim(number, control_id(number), NOW - age)
    arrive(engine, control_id(1), control_id(2), control_id(9))
    arrive(engine, control_id(2), reason="message-type-not-used")

    assert book.purge(NOW - DAY, NOW - MONTH) == 2

    assert kept(engine, canary.c.control_id) == {control_id(1), control_id(3)}
    assert kept(engine, event.c.event_id) == {
        f"{control_id(1)} canary",
        f"{control_id(9)} canary",  # of another installation, or forged: no canary of ours
        f"{control_id(2)} message-type-not-used",
    }
    arrive(engine, control_id(3))
    assert book.purge(NOW - DAY, NOW - MONTH) == 1
    assert kept(engine, canary.c.control_id) == {control_id(1)}


def test_purging_nothing_is_harmless(engine: sa.Engine) -> None:
    assert SqlCanaryBook(engine).purge(NOW - DAY, NOW - MONTH) == 0
