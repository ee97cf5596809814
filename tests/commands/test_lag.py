"""`afterstay lag` on a data folder: what it prints and how it ends. Kafka's side is in test_lag_kafka."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from schemas.topics import ADT_EVENTS
from services.commands.lag_report import EXIT_CODES
from services.runtime.clock import SystemClock
from services.runtime.eventlog.embedded.groups import GROUPS_FILE, EmbeddedGroupPositions
from services.runtime.lifecycle import LOCK_FILE, FolderLock
from tests.commands.conftest import Afterstay
from tests.support.adt import adt
from tests.support.data_folders import PARTITIONS, DataFolder

WITHIN_S = 2.0
CLEARED = b"\x1b[H\x1b[J"
SHORT = ("--window", "0.3")
ADMIT = adt("A01", sent="20261117090000", control_id="M1", admitted="20261117090000")


@pytest.fixture
def young(tmp_path: Path) -> DataFolder:
    """A folder whose messages were received ten seconds ago."""
    return DataFolder(tmp_path, now=SystemClock().now() - timedelta(seconds=10))


@pytest.fixture
def owned(young: DataFolder) -> Iterator[DataFolder]:
    """The same while somebody runs on it."""
    with FolderLock(young.path):
        yield young


def commit(folder: DataFolder, offsets: dict[int, int]) -> None:
    async def write() -> None:
        groups = await EmbeddedGroupPositions.open(folder.path)
        await groups.commit("followup", ADT_EVENTS, offsets)
        await groups.close()

    asyncio.run(write())


def consume_all(folder: DataFolder) -> None:
    commit(folder, {record.partition: record.offset + 1 for record in folder.records()})


def test_a_folder_whose_messages_were_all_consumed_is_well(afterstay: Afterstay, young: DataFolder) -> None:
    young.receive(ADMIT)
    consume_all(young)

    said = afterstay("lag", "--data", young.path, "--json")

    assert (said.code, said.err) == (0, "")
    assert said.json["state"] == "OK"
    rows = said.json["partitions"]
    assert [row["partition"] for row in rows] == list(range(PARTITIONS))
    assert {(row["lag"], row["oldest_age_seconds"], row["status"]) for row in rows} == {(0, 0.0, "OK")}


def test_every_name_of_the_answer_is_there_in_kafkas_words(afterstay: Afterstay, young: DataFolder) -> None:
    young.receive(ADMIT)
    row = afterstay("lag", "--data", young.path, "--json").json["partitions"][0]
    assert " ".join(list(row)[:12]) == (
        "group topic partition current_offset log_end_offset lag oldest_age_seconds status catch_up_seconds "
        "retention_used client_id host"
    )


def test_what_nobody_consumes_is_stopped_at_once_and_as_old_as_it_is(afterstay: Afterstay, young: DataFolder) -> None:
    young.receive(ADMIT)

    said = afterstay("lag", "--data", young.path, "--window", "600", "--json")

    assert said.code == EXIT_CODES["CRITICAL"]
    (waiting,) = [row for row in said.json["partitions"] if row["lag"]]
    assert (waiting["status"], waiting["lag"], waiting["client_id"]) == ("STOPPED", 1, None)
    truth_s = (datetime.fromisoformat(said.json["observed_at"]) - young.now).total_seconds()
    assert waiting["oldest_age_seconds"] == pytest.approx(truth_s, abs=WITHIN_S)
    assert not (young.path / GROUPS_FILE).exists()
    assert not (young.path / LOCK_FILE).exists()


def test_a_consumer_that_is_there_and_does_not_get_on_is_stalled_after_the_window(
    afterstay: Afterstay, owned: DataFolder
) -> None:
    owned.receive(ADMIT)

    said = afterstay("lag", "--data", owned.path, *SHORT, "--json")

    assert said.code == EXIT_CODES["CRITICAL"]
    (waiting,) = [row for row in said.json["partitions"] if row["lag"]]
    assert (waiting["status"], waiting["client_id"]) == ("STALLED", "afterstay-run")


@pytest.mark.parametrize(
    ("warn", "crit", "state"), [("5", "8", "CRITICAL"), ("5", "600", "WARNING"), ("60", "99", "OK")]
)
def test_the_thresholds_are_those_that_were_given(
    afterstay: Afterstay, owned: DataFolder, warn: str, crit: str, state: str
) -> None:
    owned.receive(ADMIT)
    said = afterstay("lag", "--data", owned.path, "--warn", warn, "--crit", crit, *SHORT, "--json")
    ages = [finding for finding in said.json["findings"] if "waits" in finding["text"]]
    assert [finding["state"] for finding in ages] == ([state] if state != "OK" else [])
    assert (said.json["warn_seconds"], said.json["crit_seconds"]) == (float(warn), float(crit))


def test_the_text_begins_with_a_plug_ins_line_and_has_a_row_for_each_partition(
    afterstay: Afterstay, young: DataFolder
) -> None:
    young.receive(ADMIT)
    consume_all(young)
    first, header, *rows = afterstay("lag", "--data", young.path).out.splitlines()
    assert first == (
        f"OK - followup on {ADT_EVENTS}, {PARTITIONS} partitions: nothing waits | oldest_age=0.000s;60;300;0 lag=0;;;0"
    )
    assert header.split()[:6] == ["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"]
    assert len(rows) == PARTITIONS


def test_another_group_has_a_lag_of_its_own(afterstay: Afterstay, young: DataFolder) -> None:
    young.receive(ADMIT)
    consume_all(young)
    assert afterstay("lag", "--data", young.path, "--group", "reports", "--json").json["state"] == "CRITICAL"


def test_a_folder_that_has_no_log_yet_has_nothing_waiting(afterstay: Afterstay, folder: DataFolder) -> None:
    said = afterstay("lag", "--data", folder.path)
    assert (said.code, said.out.splitlines()) == (
        0,
        [f"OK - nothing was received yet for followup on {ADT_EVENTS} | oldest_age=U lag=U"],
    )


def test_what_cannot_be_looked_at_is_unknown(afterstay: Afterstay, tmp_path: Path) -> None:
    said = afterstay("lag", "--data", tmp_path / "nowhere")
    assert said.code == EXIT_CODES["UNKNOWN"]
    assert said.out.startswith("UNKNOWN - ")
    assert "[data-folder-missing]" in said.out
    assert "[data-folder-missing]" in said.err
    again = afterstay("lag", "--data", tmp_path / "nowhere", "--json")
    assert (again.code, again.json["state"], again.json["partitions"]) == (3, "UNKNOWN", [])


def test_a_listener_that_does_not_answer_is_unknown(afterstay: Afterstay, young: DataFolder) -> None:
    import socket

    young.receive(ADMIT)
    consume_all(young)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = afterstay("lag", "--data", young.path, "--ops", address, "--json")
    assert (said.code, said.json["state"]) == (EXIT_CODES["UNKNOWN"], "UNKNOWN")
    assert said.json["spools"] == [{"address": address, "messages": None, "oldest_age_s": None}]


@pytest.mark.system
def test_watching_prints_a_line_each_look_until_it_is_interrupted(young: DataFolder) -> None:
    young.receive(ADMIT)
    words = [sys.executable, "-m", "services.cli", "lag", "--data", str(young.path), "--watch", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as watching:
        assert watching.stdout is not None
        first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert first["state"] == second["state"] == "CRITICAL"
    ages = [max(row["oldest_age_seconds"] for row in frame["partitions"]) for frame in (first, second)]
    assert 1.0 < ages[1] - ages[0] < 4.0


@pytest.mark.system
def test_on_a_terminal_it_is_drawn_in_place(young: DataFolder) -> None:
    young.receive(ADMIT)
    screen, terminal = pty.openpty()
    words = [sys.executable, "-m", "services.cli", "lag", "--data", str(young.path), "--watch"]
    with subprocess.Popen(words, stdout=terminal, stderr=subprocess.PIPE, env=os.environ) as watching:
        os.close(terminal)
        drawn = b""
        while drawn.count(CLEARED) < 2:
            drawn += os.read(screen, 4_096)
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=10)
    os.close(screen)
    frames = drawn.split(CLEARED)
    assert frames[0] == b""
    assert frames[1].startswith(b"CRITICAL - STOPPED: nobody consumes it")
