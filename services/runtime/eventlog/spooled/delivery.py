"""Hands a batch of the spool to the log and says how far it came.

All records are submitted in order, all answers awaited, and only the first ones without a gap count as done, so that
one number says how far the spool is forwarded. What the log has confirmed behind a failure (other partitions: with one
broker of three dead a third of them fail) is not sent again while the process lives. Twice is possible, where the log
did not say what became of a record, never not at all. Source: `streaming.md` §8.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from services.runtime.errors import AfterstayError, Transient
from services.runtime.eventlog.port import Position, Publisher, PublishOutcome
from services.runtime.eventlog.spooled.spool import Batch
from services.runtime.log import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far a batch came.

    Attributes:
        done: So many of its first records are through.
        refused: So many of these the log will never take.
        stored: Indexes that the log has confirmed, now or before.
    """

    done: int
    refused: int
    stored: frozenset[int]
    error: AfterstayError | None


async def deliver(publisher: Publisher, batch: Batch, *, timeout_s: float) -> Delivery:
    """Forward a batch; when there is no answer for so long, what is unanswered counts as failed."""
    outcomes: list[PublishOutcome | None] = [None] * len(batch.records)
    to_send = [
        (index, record)
        for index, record in enumerate(batch.records)
        if record is not None and index not in batch.stored
    ]
    unanswered = len(to_send)
    answered = asyncio.Event()

    def taker(index: int) -> Callable[[PublishOutcome], None]:
        def take(outcome: PublishOutcome) -> None:
            nonlocal unanswered
            outcomes[index] = outcome
            unanswered -= 1
            if not unanswered:
                answered.set()

        return take

    for index, record in to_send:
        publisher.submit(record, taker(index))
    error: AfterstayError | None = None
    try:
        if unanswered:
            async with asyncio.timeout(timeout_s):
                await answered.wait()
    except TimeoutError:
        error = no_answer(timeout_s)
    return _assess(batch, outcomes, error)


def is_refusal_of_the_record(error: AfterstayError) -> bool:
    """Tell whether the log is well and the record is what it cannot take.

    An unknown topic or partition is not of these: topics are declared, so it is the log that is not set up, and what
    is acknowledged waits in the spool until it is.
    """
    return error.code == "record-too-large"


def is_loss_of_the_log(error: AfterstayError) -> bool:
    """Tell whether an answer means that the log is to be given up; one that is well may say "slow down"."""
    return not is_refusal_of_the_record(error) and error.code != "log-overloaded"


def no_answer(timeout_s: float) -> Transient:
    """Return what is said of a log that does not answer."""
    return Transient("log-unavailable", f"the log has not answered within {timeout_s:g} s")


def _assess(batch: Batch, outcomes: list[PublishOutcome | None], error: AfterstayError | None) -> Delivery:
    stored = batch.stored | {index for index, outcome in enumerate(outcomes) if isinstance(outcome, Position)}
    done = refused = 0
    for index, outcome in enumerate(outcomes):
        if index in stored:
            pass
        elif batch.records[index] is None:
            _set_aside(batch, index, "record-damaged")
            refused += 1
        elif isinstance(outcome, AfterstayError) and is_refusal_of_the_record(outcome):
            _set_aside(batch, index, outcome.code)
            refused += 1
        else:
            error = error or (outcome if isinstance(outcome, AfterstayError) else None)
            break
        done += 1
    return Delivery(done=done, refused=refused, stored=stored, error=error)


def _set_aside(batch: Batch, index: int, code: str) -> None:
    """Say that a record of the segment is not forwarded; the segment is kept for it."""
    _log.critical("spool_record_quarantined", code=code, folder=str(batch.segment.folder), offset=batch.begin + index)
