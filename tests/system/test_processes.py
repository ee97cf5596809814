"""How `run` starts, ends, refuses and recovers: its processes, ports and one line (faults F03, F12, F14, F31, F42)."""

import asyncio
import os
import signal
import socket
import sqlite3
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from schemas.topics import ADT_EVENTS
from services.runtime.eventlog.embedded import layout
from services.runtime.eventlog.embedded.layout import LOG_FILE
from tests.system.people import FEED, Person, panel_of, people
from tests.system.senders import Answer, Load, Sender, framed
from tests.system.service import DRAIN_WITHIN_S, Service, afterstay, until
from tests.system.simulated import assert_all_are_kept

pytestmark = pytest.mark.system

PEOPLE = people(300)
GONE_WITHIN_S = 5.0
HELD_AT_LEAST_S = 0.5
"""A hundred times what an answer takes, and well under the 10 s after which the listener hangs up."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service of its own, with a feed and nobody on the panel."""
    with Service(tmp_path, feeds=FEED) as started:
        yield started


def updates(count: int) -> deque[bytes]:
    """Return many different messages."""
    return deque(PEOPLE[place % len(PEOPLE)].says("A08", 1, control_id=f"LOAD-{place}") for place in range(count))


def test_standard_output_is_one_line_of_json_and_the_log_is_on_standard_error(service: Service) -> None:
    service.send(PEOPLE[0].admitted(control_id="ONE-LINE"))
    service.settle()
    service.terminate()

    assert service.wait() == 0
    line, rest = service.stdout().split("\n")
    ready = msgspec.json.decode(line)
    assert rest == ""
    assert list(ready) == ["ready", "mllp", "http"]
    assert ready["ready"] is True
    assert ready["http"].startswith("http://127.0.0.1:")
    assert ready["mllp"].startswith("127.0.0.1:")
    assert {"service_started", "service_stopped"} <= {entry["event"] for entry in service.log()}


def test_sigterm_under_load_answers_what_it_took_keeps_what_it_answered_and_ends_with_0(service: Service) -> None:
    load = Load(waiting=updates(4_000), connections=8, window=64)
    load.on_answer = lambda answers: service.terminate() if answers == 300 else None
    idle, halfway = (socket.create_connection(service.mllp) for _ in range(2))
    with idle, halfway:
        halfway.sendall(framed(PEOPLE[0].admitted(control_id="HALF"))[:100])
        asyncio.run(load.run(service.mllp))

        assert service.wait(DRAIN_WITHIN_S) == 0
    assert load.waiting, "SIGTERM came too late to matter"
    assert_all_are_kept(service, load.acknowledged)
    assert len(service.kept()) == len(load.acknowledged), "what was taken was answered before the end"
    assert service.books().balanced
    assert service.complaints() == []


def test_a_second_run_on_the_same_folder_refuses_and_names_the_first(shared: Service) -> None:
    second = afterstay("run", "--data", shared.data, "--mllp-port", 0, "--http-port", 0)

    assert second.code == 1
    assert second.out == ""
    (said,) = (line for line in second.err.splitlines() if line.startswith("afterstay:"))
    assert f"process {shared.pid}" in said
    assert "[data-folder-in-use]" in said
    assert shared.get("/readyz").status_code == 200


def test_a_port_that_is_taken_is_refused_with_the_flag_to_choose_another(shared: Service, tmp_path: Path) -> None:
    for flag, address in (("--mllp-port", f":{shared.mllp[1]}"), ("--http-port", shared.http)):
        port = address.rpartition(":")[2]
        ports = {"--mllp-port": "0", "--http-port": "0", flag: port}
        refused = afterstay("run", "--data", tmp_path / flag, *(word for pair in ports.items() for word in pair))
        assert refused.code == 1
        assert flag in refused.err
        assert "[port-taken]" in refused.err


def test_a_killed_worker_is_started_again_while_the_listener_goes_on_acknowledging(
    service: Service, tmp_path: Path
) -> None:
    person = PEOPLE[1]
    load_panel(service, tmp_path, person)
    http, first = service.http, service.worker()
    first.kill()
    load = Load(waiting=updates(200))
    asyncio.run(load.run(service.mllp))
    assert len(load.acknowledged) == 200
    (answer,) = service.send(person.discharged(control_id="WORKER-1"))
    assert answer.code == "AA"

    second = until(lambda: another_worker(service, first))
    assert second.pid != first.pid
    tasks = until(lambda: service.tasks_of(person.patient_id))
    assert sorted(tasks) == ["contact", "visit"]
    assert service.get("/readyz").status_code == 200
    assert service.http == http
    assert service.settle().received == 201
    assert [entry["event"] for entry in service.complaints()] == ["worker_ended"]


async def test_without_descriptors_for_another_worker_the_listener_goes_on_and_tries_again(service: Service) -> None:
    """Fault F14."""
    listener = psutil.Process(service.pid)
    async with await Sender.connect(service.mllp) as sender:
        await sender.say(framed(PEOPLE[6].admitted(control_id="NO-FILES-1")))
        assert [answer.code for answer in await sender.answers(1)] == ["AA"]
        allowed = listener.rlimit(psutil.RLIMIT_NOFILE)
        first = service.worker()
        listener.rlimit(psutil.RLIMIT_NOFILE, (listener.num_fds(), allowed[1]))
        first.kill()
        until(lambda: "worker_not_restarted" in {entry["event"] for entry in service.complaints()})
        await sender.say(framed(PEOPLE[6].discharged(control_id="NO-FILES-2")))
        assert [answer.code for answer in await sender.answers(1)] == ["AA"]
        listener.rlimit(psutil.RLIMIT_NOFILE, allowed)

    until(lambda: another_worker(service, first))
    assert service.settle().received == 2
    assert service.get("/readyz").status_code == 200


def test_when_the_listener_is_killed_its_worker_leaves_and_run_starts_again_at_once(service: Service) -> None:
    service.send(PEOPLE[2].admitted(control_id="AGAIN-1"))
    worker = service.worker()
    service.kill()
    service.start()

    assert worker not in psutil.Process(service.pid).children()
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, GONE_WITHIN_S)
    (answer,) = service.send(PEOPLE[2].says("A08", control_id="AGAIN-2"))
    assert answer.code == "AA"
    assert service.settle().received == 2


def test_an_interrupt_ends_it_as_sigterm_does(service: Service) -> None:
    os.kill(service.pid, signal.SIGINT)
    assert service.wait() == 0


async def test_a_locked_log_holds_the_answer_and_a_locked_database_only_the_tasks(
    service: Service, tmp_path: Path
) -> None:
    person = PEOPLE[3]
    load_panel(service, tmp_path, person)
    async with await Sender.connect(service.mllp) as sender:
        with writing(service.data / "afterstay.db"):
            await sender.say(framed(person.admitted(control_id="LOCKED-1")))
            assert [answer.code for answer in await sender.answers(1)] == ["AA"]
            assert service.books().pending == 1
        with writing(service.data / LOG_FILE):
            await sender.say(framed(person.discharged(control_id="LOCKED-2")))
            answers = asyncio.create_task(sender.answers(1))
            await assert_held(answers)
        assert [answer.control_id for answer in await answers] == ["LOCKED-2"]

    assert sorted(until(lambda: service.tasks_of(person.patient_id))) == ["contact", "visit"]
    assert service.settle().received == 2


async def test_while_the_disk_is_full_answers_are_held_and_go_out_once_there_is_room(service: Service) -> None:
    listener = psutil.Process(service.pid)
    room = listener.rlimit(psutil.RLIMIT_FSIZE)
    async with await Sender.connect(service.mllp) as sender:
        listener.rlimit(psutil.RLIMIT_FSIZE, (0, room[1]))
        await sender.say(framed(PEOPLE[4].admitted(control_id="FULL-1")))
        answers = asyncio.create_task(sender.answers(1))
        await assert_held(answers)
        listener.rlimit(psutil.RLIMIT_FSIZE, room)
        assert [(answer.code, answer.control_id) for answer in await answers] == [("AA", "FULL-1")]

    assert service.settle().received == 1


async def test_a_log_that_fails_for_good_ends_the_process_with_no_answer_that_is_not_kept(service: Service) -> None:
    """Another writer, which the lock of the folder keeps out of it, has taken the place of the next record."""
    service.send(PEOPLE[5].admitted(control_id="FAIL-1"))
    (first,) = service.records()
    with writing(service.data / LOG_FILE) as log:
        for stream in layout.read_streams(log)[ADT_EVENTS]:
            place = layout.record_id(stream.id, stream.end)
            log.execute("INSERT INTO record VALUES (?, 0, 0, x'', x'', x'')", (place,))
        log.execute("COMMIT")
    async with await Sender.connect(service.mllp) as sender:
        await sender.say(framed(PEOPLE[5].discharged(control_id="FAIL-2")))
        assert await sender.rest() == []

    assert service.wait() == 1
    assert first.key in {record.key for record in service.records()}
    assert {"log_writer_failed", "event_log_failed"} <= {entry["event"] for entry in service.complaints()}


async def assert_held(answers: asyncio.Task[list[Answer]]) -> None:
    """Look for an answer for a while, in vain."""
    done, _ = await asyncio.wait({answers}, timeout=HELD_AT_LEAST_S)
    assert not done


def load_panel(service: Service, folder: Path, *someone: Person) -> None:
    panel = folder / "panel.csv"
    panel.write_text(panel_of(*someone), encoding="utf-8")
    assert service.run("panel", "import", panel).code == 0


def another_worker(service: Service, before: psutil.Process) -> psutil.Process | None:
    children = psutil.Process(service.pid).children()
    return next((child for child in children if child != before and child.status() != psutil.STATUS_ZOMBIE), None)


class writing:  # noqa: N801 - reads as `with writing(file):`
    """Holds the write lock of a SQLite file for the block, as a backup or a forgotten shell does."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, *_error: object) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.close()
