"""The load of the MLLP benchmark: so many connections, one message in flight on each, as fast as they are answered.

A process of its own, and a light one: frames are joined from two ready parts around a fresh control id, and of an
answer only its end, its code and its control id are looked at. It reads the processor time of the processes it loads
at the beginning and at the end of its window, and prints what it saw as one line of JSON.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import psutil
import uvloop

from tests.benchmarks.crowd import Told, message, now, people
from tests.benchmarks.processes import cpu_s

PEOPLE: Final = 5_000
_TRIGGERS: Final = ("A01", "A08", "A03")
_PLACE: Final = "@@CONTROLID@@"
_PATIENCE_S: Final = 30.0


def split_frames(count: int) -> list[tuple[bytes, bytes]]:
    """Return the frames of one message each of so many people, in two parts around the control id."""
    today = now()
    return [
        _split(
            message(person, Told(trigger=_TRIGGERS[place % 3], sent_at=today, control_id=_PLACE, bed=place % 40), today)
        )
        for place, person in enumerate(people(count))
    ]


def _split(payload: bytes) -> tuple[bytes, bytes]:
    before, _, after = payload.partition(_PLACE.encode())
    return b"\x0b" + before, after + b"\x1c\r"


@dataclass(slots=True)
class Load:
    """Everything that the connections share."""

    frames: Sequence[tuple[bytes, bytes]]
    prefix: str
    sent: int = 0
    latencies_s: list[float] = field(default_factory=list)
    going_on: bool = True
    open: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    broken: str | None = None

    def next_frame(self) -> tuple[bytes, bytes]:
        """Return the next frame and its control id."""
        before, after = self.frames[self.sent % len(self.frames)]
        control_id = b"%s%09d" % (self.prefix.encode(), self.sent)
        self.sent += 1
        return b"".join((before, control_id, after)), control_id

    def leave(self) -> None:
        """Hear that a connection has nothing in flight any more."""
        self.open -= 1
        if not self.open:
            self.drained.set()


class Connection(asyncio.Protocol):
    """Sends, waits for the answer, sends the next."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._control_id = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the next message."""
        frame, self._control_id = self._load.next_frame()
        self._sent_at = time.perf_counter()
        self._transport.write(frame)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not data.endswith(b"\x1c\r"):
            return
        load = self._load
        load.latencies_s.append(time.perf_counter() - self._sent_at)
        if b"\rMSA|AA|" + self._control_id not in self._received:
            load.broken = f"no AA for what was sent: {self._received!r}"
            load.going_on = False
        self._received = b""
        if load.going_on:
            self.send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._load.going_on:
            self._load.broken = f"the server closed: {exc}"
        self._load.leave()


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Warm up, measure for the set time, let what is in flight be answered; return the figures."""
    load = Load(frames=split_frames(PEOPLE), prefix=options.prefix)
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    for _ in range(options.connections):
        _, connection = await loop.create_connection(lambda: Connection(load), "127.0.0.1", options.port)
        connections.append(connection)
    load.open = len(connections)
    for connection in connections:
        connection.send()
    await asyncio.sleep(options.warm_up_s)
    targets = [psutil.Process(pid) for pid in options.pid]
    load.latencies_s.clear()
    before, own_before, began = [cpu_s(one) for one in targets], time.process_time(), time.perf_counter()
    await asyncio.sleep(options.seconds)
    window_s, own_s = time.perf_counter() - began, time.process_time() - own_before
    spent_s = [cpu_s(one) - first for one, first in zip(targets, before, strict=True)]
    answered = sorted(load.latencies_s)
    load.going_on = False
    async with asyncio.timeout(_PATIENCE_S):
        await load.drained.wait()
    return {
        "broken": load.broken,
        "sent": load.sent,
        "answered": len(answered),
        "window_s": window_s,
        "p50_s": answered[len(answered) // 2] if answered else None,
        "p99_s": answered[len(answered) * 99 // 100] if answered else None,
        "cpu_s": spent_s,
        "load_cpu_s": own_s,
    }


def main() -> None:
    """Run the load that the words ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up-s", type=float, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--pid", type=int, action="append", default=[])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(parser.parse_args()))))  # noqa: T201 - what the benchmark reads


if __name__ == "__main__":
    main()
