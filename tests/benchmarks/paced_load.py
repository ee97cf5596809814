"""The load of the worklist benchmark: messages at a set rate, whatever the answers do, and a watch over the tasks.

Each message has its moment in a schedule, and its delay counts from that moment, so that a stall of the listener shows
in every message it held up. Of each person an admission, an update and a discharge go out, some seconds of schedule
apart. Beside them, on a thread of its own, a reader notes when a discharge's contact task is there to be seen: in
SQLite it looks as the worklist's page does, two hundred times a second if something was committed; PostgreSQL tells it
at the commit, by a trigger that the benchmark has made.

Prints what it saw as one line of JSON.
"""

import argparse
import asyncio
import json
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol, cast

import psutil
import psycopg
import uvloop

from services.runtime.database import DATABASE_FILE
from tests.benchmarks.crowd import Person, Told, message, now, people
from tests.benchmarks.processes import cpu_s

CONNECTIONS: Final = 8
APART: Final = 150
"""How many people's messages lie between two of the same person."""
LOOK_S: Final = 0.005
LISTEN_S: Final = 0.1
TASK_CHANNEL: Final = "bench_task"
TAIL_S: Final = 20.0
"""How long after the last message its task may come."""
_TASKS_SINCE: Final = "SELECT rowid, patient_id FROM task WHERE rowid > ? AND kind = 'contact' ORDER BY rowid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A message: its frame, and whose task it makes, if one."""

    frame: bytes
    discharged: str | None


def plan(persons: tuple[Person, ...]) -> list[Planned]:
    """Return the messages in the order of sending; a person's three follow each other, `APART` people apart."""
    today = now()
    planned = []
    for place in range(len(persons) + 2 * APART):
        for step, trigger in enumerate(("A01", "A08", "A03")):
            if 0 <= (number := place - step * APART) < len(persons):
                sent_at = today - timedelta(minutes=30) + timedelta(seconds=step)
                told = Told(trigger=trigger, sent_at=sent_at, control_id=f"R{trigger}{number}", bed=number % 40)
                frame = b"\x0b" + message(persons[number], told, today) + b"\x1c\r"
                discharged = persons[number].patient_id if trigger == "A03" else None
                planned.append(Planned(frame=frame, discharged=discharged))
    return planned


class Connection(asyncio.Protocol):
    """Sends when told to and matches answers to what was sent, in order."""

    def __init__(self, answered_s: list[float]) -> None:
        self._answered_s = answered_s
        self._received = b""
        self.waiting: list[float] = []
        self.broken: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        moment = time.perf_counter()
        *answers, self._received = (self._received + data).split(b"\x1c\r")
        for answer in answers:
            if b"\rMSA|AA|" not in answer:
                self.broken = f"no AA: {answer!r}"
            self._answered_s.append(moment - self.waiting.pop(0))


class Watch(Protocol):
    """Sees tasks appear; runs on a thread until `stop` is set."""

    seen_at: dict[str, float]
    stop: threading.Event

    def run(self) -> None:
        """Look until told to stop."""


@dataclass(slots=True)
class PostgresWatch:
    """Is told of tasks by PostgreSQL."""

    database: str
    seen_at: dict[str, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(f"LISTEN {TASK_CHANNEL}")
            while not self.stop.is_set():
                for told in connection.notifies(timeout=LISTEN_S):
                    self.seen_at.setdefault(told.payload, time.perf_counter())


@dataclass(slots=True)
class SqliteWatch:
    """Looks for tasks in SQLite."""

    database: Path
    seen_at: dict[str, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)
        last, version = 0, -1
        try:
            while not self.stop.wait(LOOK_S):
                (changed,) = connection.execute("PRAGMA data_version").fetchone()
                if changed != version:
                    version = changed
                    rows = connection.execute(_TASKS_SINCE, (last,)).fetchall()
                    moment = time.perf_counter()
                    for last, patient_id in rows:  # noqa: B007 - the last one is where to go on
                        self.seen_at[patient_id] = moment
        finally:
            connection.close()


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Send everything on schedule, wait for the last task, return the figures."""
    messages = plan(people(options.people, 1 + options.first))
    answered_s: list[float] = []
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(answered_s), "127.0.0.1", options.port))[1]
        for _ in range(CONNECTIONS)
    ]
    targets = [psutil.Process(pid) for pid in options.pid]
    watch: Watch = (
        PostgresWatch(database=options.database)
        if options.database
        else SqliteWatch(database=options.data / DATABASE_FILE)
    )
    thread = threading.Thread(target=watch.run)
    thread.start()
    before, began = [cpu_s(one) for one in targets], time.perf_counter()
    try:
        due_at = await _send(messages, connections, began, options.rate)
        ended = time.perf_counter()
        while (missing := due_at.keys() - watch.seen_at.keys()) and time.perf_counter() < ended + TAIL_S:
            await asyncio.sleep(LOOK_S)
    finally:
        watch.stop.set()
        await asyncio.to_thread(thread.join)
    for connection in connections:
        connection.transport.close()
    return {
        "broken": next((one.broken for one in connections if one.broken), None),
        "sent": len(messages),
        "window_s": ended - began,
        "answered_s": sorted(answered_s),
        "missing": len(missing),
        "task_s": sorted(watch.seen_at[person] - at for person, at in due_at.items() if person in watch.seen_at),
        "cpu_s": [cpu_s(one) - first for one, first in zip(targets, before, strict=True)],
    }


async def _send(messages: list[Planned], connections: list[Connection], began: float, rate: float) -> dict[str, float]:
    """Send each message at its moment; return the moments of the discharges, by patient."""
    due_at: dict[str, float] = {}
    for number, one in enumerate(messages):
        moment = began + number / rate
        while (ahead_s := moment - time.perf_counter()) > 0:
            await asyncio.sleep(ahead_s)
        connection = connections[number % len(connections)]
        connection.waiting.append(moment)
        connection.transport.write(one.frame)
        if one.discharged is not None:
            due_at[one.discharged] = moment
        if ahead_s < -1 / rate:  # behind the schedule: let answers in all the same
            await asyncio.sleep(0)
    return due_at


def main() -> None:
    """Run the load that the words ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--database")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--pid", type=int, action="append", default=[])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(parser.parse_args()))))  # noqa: T201 - what the benchmark reads


if __name__ == "__main__":
    main()
