"""From messages to a listener: one connection a hospital, as real senders have it.

Owns the sending and the reading of answers. Promise: every answer is held against the message it must be for (MSA-2),
so that answers out of step never count as acknowledgements. Source: HL7 v2.5.1 ch. 2.9.2 (original mode), MLLP R1.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.ingest.mllp.client import WINDOW_MAX, MllpClient
from services.simulator.streams import SimulatedMessage

OUT_OF_STEP: Final = "out-of-step"
"""Counted in place of a code where an answer is for another message."""

OnAnswer = Callable[[SimulatedMessage, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast one connection sends: the first ``at_once`` as fast as answers come, then so many a second."""

    at_once: int
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was sent and how it was answered."""

    messages: int
    codes: Mapping[str, int]


async def send_streams(
    address: tuple[str, int],
    messages: Sequence[SimulatedMessage],
    *,
    pace: Pace | None = None,
    on_answer: OnAnswer = lambda _message, _code: None,
) -> Sent:
    """Send the messages of all hospitals at the same time; without a pace as fast as the listener answers.

    Raises:
        MllpClientError: the listener cannot be reached, or a message got no answer (in an ExceptionGroup).
    """
    codes: Counter[str] = Counter()

    def answered(message: SimulatedMessage, answer: bytes) -> None:
        code = _code(answer, message.control_id)
        codes[code] += 1
        on_answer(message, code)

    streams: dict[str, list[SimulatedMessage]] = {}
    for message in messages:
        streams.setdefault(message.feed, []).append(message)
    async with asyncio.TaskGroup() as group:
        for stream in streams.values():
            group.create_task(_send_stream(address, stream, pace, answered))
    return Sent(messages=codes.total(), codes=dict(sorted(codes.items())))


async def _send_stream(
    address: tuple[str, int],
    messages: Sequence[SimulatedMessage],
    pace: Pace | None,
    answered: Callable[[SimulatedMessage, bytes], None],
) -> None:
    at_once = len(messages) if pace is None else pace.at_once
    async with await MllpClient.connect(*address) as client:
        first = messages[:at_once]
        answers = client.send_many((message.payload for message in first), window=WINDOW_MAX if pace is None else 1)
        for message in first:
            answered(message, await anext(answers))
        await answers.aclose()
        for message in messages[at_once:]:
            assert pace is not None
            await asyncio.sleep(1 / pace.per_second)
            answered(message, await client.send(message.payload))


def _code(answer: bytes, control_id: str) -> str:
    """Return MSA-1 of an answer, if MSA-2 names the message."""
    for line in answer.split(b"\r"):
        if line.startswith(b"MSA"):
            fields = [*line.decode("ascii", "replace").split(line[3:4].decode("ascii", "replace")), "", ""]
            return fields[1] if fields[2] == control_id else OUT_OF_STEP
    return OUT_OF_STEP
