"""Each misconfiguration is planted and must be found, named, and given a fix."""

import fcntl
import importlib.metadata
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import pytest
import sqlalchemy as sa

from services.commands import folder_checks, machine_checks
from services.commands.doctor import EXIT_CODES
from services.followup.store.tables import outcome_count
from services.ingest.feeds import Feeds
from services.runtime.database import DATABASE_FILE
from services.runtime.eventlog.embedded.layout import LOG_FILE
from services.runtime.lifecycle import LOCK_FILE, FolderLock
from tests.commands.conftest import Afterstay, Said
from tests.support.adt import adt
from tests.support.data_folders import DataFolder

ADMIT = adt("A01", sent="20261117090000", control_id="M1", admitted="20261117090000")
FEEDS_FILE = """\
feeds:
  - name: mercy
    sending_facility: MERCY
    zone: America/New_York
"""

Examine = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    file = tmp_path / "feeds.yaml"
    file.write_text(FEEDS_FILE)
    return file


def doctor(afterstay: Afterstay, folder: DataFolder, *words: object) -> Said:
    return afterstay("doctor", "--data", folder.path, "--mllp-port", "0", "--http-port", "0", "--json", *words)


def finding(said: Said, check: str, level: str) -> dict[str, Any]:
    """Return the one finding of a check that has this level."""
    (found,) = [one for one in said.json["findings"] if one["check"] == check and one["level"] == level]
    if level != "pass":
        assert found["fix"]
    return dict(found)


def levels(said: Said) -> dict[str, str]:
    return {one["check"]: one["level"] for one in said.json["findings"]}


def test_a_good_folder_has_nothing_to_mend(afterstay: Afterstay, folder: DataFolder, feeds: Path) -> None:
    folder.load_panel()
    folder.receive(ADMIT)
    folder.consume()

    said = doctor(afterstay, folder, "--feeds", feeds)

    machine = {"packages", "sqlite", "disk", "space", "folder"}  # whatever this machine is like
    assert {check: level for check, level in levels(said).items() if check not in machine and level != "pass"} == {}
    assert {"log.db", "afterstay.db", "schema", "panel", "books", "clock", "ports", "feeds"} <= levels(said).keys()
    assert said.code == EXIT_CODES[said.json["level"]]


def test_the_exit_code_is_that_of_the_worst(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.execute(sa.insert(outcome_count).values(outcome="effect", reason="", n=7))

    said = doctor(afterstay, folder)

    assert (said.code, said.json["level"]) == (2, "fail")
    assert "7 outcomes are recorded for 0 consumed positions" in finding(said, "books", "fail")["text"]


def test_people_read_a_line_a_finding_and_its_fix(afterstay: Afterstay, folder: DataFolder) -> None:
    said = afterstay("doctor", "--data", folder.path, "--mllp-port", "0", "--http-port", "0")

    assert any(line.startswith("warn  panel") for line in said.out.splitlines())
    assert "fix: load it: `afterstay panel import" in said.out


def test_a_folder_that_is_not_there_yet_is_a_warning_and_is_not_made(afterstay: Afterstay, tmp_path: Path) -> None:
    said = doctor(afterstay, DataFolder(tmp_path / "a" / "b"))

    finding(said, "folder", "warn")
    assert not (tmp_path / "a").exists()


def test_a_file_in_place_of_the_folder_fails(afterstay: Afterstay, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    finding(doctor(afterstay, DataFolder(tmp_path / "data")), "folder", "fail")


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", "fail"), ("cifs", "fail"), ("tmpfs", "warn"), ("ext4", "pass"), (None, "pass")]
)
def test_a_folder_on_the_wrong_file_system_is_found(
    afterstay: Afterstay, folder: DataFolder, monkeypatch: pytest.MonkeyPatch, kind: str | None, level: str
) -> None:
    monkeypatch.setattr(folder_checks, "_file_system_of", lambda _data: kind)
    finding(doctor(afterstay, folder), "folder", level)


@pytest.mark.parametrize(("seconds", "level"), [(0.5, "warn"), (0.001, "pass"), (0.000_001, "warn")])
def test_a_disk_too_slow_or_too_fast_is_found(
    afterstay: Afterstay, folder: DataFolder, monkeypatch: pytest.MonkeyPatch, seconds: float, level: str
) -> None:
    monkeypatch.setattr(folder_checks, "_timed_sync", lambda _descriptor: seconds)
    finding(doctor(afterstay, folder), "disk", level)


def test_a_disk_that_refuses_is_found(
    afterstay: Afterstay, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> float:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(folder_checks, "_timed_sync", refuse)
    assert "Input/output error" in finding(doctor(afterstay, folder), "folder", "fail")["text"]


@pytest.mark.parametrize(("free", "level"), [(10**8, "fail"), (10**9, "warn"), (10**11, "pass")])
def test_a_disk_that_is_nearly_full_is_found(
    afterstay: Afterstay, folder: DataFolder, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    finding(doctor(afterstay, folder), "space", level)


def test_who_runs_is_said_and_the_ports_are_theirs(afterstay: Afterstay, folder: DataFolder) -> None:
    with FolderLock(folder.path):
        said = doctor(afterstay, folder)

    assert finding(said, "running", "pass")["text"] == f"process {os.getpid()} runs"
    assert f"process {os.getpid()} serves" in finding(said, "ports", "pass")["text"]


def test_asking_who_runs_leaves_the_claim_free(afterstay: Afterstay, folder: DataFolder) -> None:
    (folder.path / LOCK_FILE).touch()

    assert finding(doctor(afterstay, folder), "running", "pass")["text"] == "nothing runs on this folder"
    descriptor = os.open(folder.path / LOCK_FILE, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_port_in_use_is_found(afterstay: Afterstay, folder: DataFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = doctor(afterstay, folder, "--http-port", port)

    assert f"--http-port {port}" in finding(said, "ports", "fail")["text"]


def test_without_a_feeds_file_everything_would_be_parked(afterstay: Afterstay, folder: DataFolder) -> None:
    assert "parked" in finding(doctor(afterstay, folder), "feeds", "warn")["text"]


def test_every_problem_of_a_feeds_file_is_a_finding(afterstay: Afterstay, folder: DataFolder, feeds: Path) -> None:
    feeds.write_text(FEEDS_FILE.replace("America/New_York", "Mars") + "  - name: other\n    colour: red\n")

    said = doctor(afterstay, folder, "--feeds", feeds)

    wrong = [one["text"] for one in said.json["findings"] if one["check"] == "feeds" and one["level"] == "fail"]
    assert len(wrong) >= 2
    assert all(text.startswith(f"{feeds}:") for text in wrong)


def test_a_feeds_file_that_is_not_there_is_found(afterstay: Afterstay, folder: DataFolder, tmp_path: Path) -> None:
    finding(doctor(afterstay, folder, "--feeds", tmp_path / "nowhere.yaml"), "feeds", "fail")


@pytest.mark.parametrize("name", [LOG_FILE, DATABASE_FILE])
def test_a_damaged_file_is_found_and_nothing_is_asked_of_it(
    afterstay: Afterstay, folder: DataFolder, name: str
) -> None:
    folder.load_panel()
    folder.receive(*(adt("A08", sent="20261118090000", control_id=f"C{number}") for number in range(40)))
    folder.consume()
    file = folder.path / name
    whole = bytearray(file.read_bytes())
    for page in range(3, len(whole) // 4096):  # the schema stays readable, as after a bad sector
        whole[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    file.write_bytes(whole)

    said = doctor(afterstay, folder)

    assert "damaged" in finding(said, name, "fail")["text"]
    assert "books" not in levels(said)


def test_something_that_is_no_database_is_found(afterstay: Afterstay, folder: DataFolder) -> None:
    (folder.path / DATABASE_FILE).write_bytes(b"nonsense" * 1000)
    assert "NOTADB" in finding(doctor(afterstay, folder), DATABASE_FILE, "fail")["text"]


def test_a_panel_without_anybody_is_found(afterstay: Afterstay, folder: DataFolder) -> None:
    assert "panel import" in finding(doctor(afterstay, folder), "panel", "warn")["fix"]


def test_a_clock_that_was_set_back_is_found(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.now = datetime.now(UTC) + timedelta(hours=3)
    folder.receive(ADMIT)

    assert "set back" in finding(doctor(afterstay, folder), "clock", "fail")["text"]


def test_open_dead_letters_are_found(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.receive(ADMIT, feeds=Feeds())
    folder.consume()

    assert "1 feed-unknown" in finding(doctor(afterstay, folder), "dead-letters", "warn")["text"]


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 34, 1), "fail"),
        ((3, 40, 1), "warn"),
        ((3, 44, 5), "warn"),
        ((3, 44, 6), "pass"),
        ((3, 45, 0), "warn"),
        ((3, 50, 7), "pass"),
        ((3, 51, 2), "warn"),
        ((3, 51, 3), "pass"),
        ((3, 53, 0), "pass"),
    ],
)
def test_a_sqlite_that_may_damage_a_database_is_found(
    afterstay: Afterstay,
    folder: DataFolder,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int, int],
    level: str,
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    finding(doctor(afterstay, folder), "sqlite", level)


def test_a_python_too_old_is_found(afterstay: Afterstay, folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "PYTHON_MIN", (sys.version_info.major, sys.version_info.minor + 1))
    finding(doctor(afterstay, folder), "python", "fail")


@pytest.mark.parametrize(
    ("requirements", "found"),
    [
        (["msgspec>=0.22", "apscheduler<4,>=3.11.3", 'nothing-such>=1; extra == "dev"'], []),
        (['nothing-such>=1; sys_platform == "plan9"'], []),
        (["nothing-such>=1"], ["the package nothing-such is missing"]),
        (["msgspec>=999.1"], ["the package msgspec is "]),
    ],
)
def test_a_package_that_is_missing_or_too_old_is_found(
    afterstay: Afterstay,
    folder: DataFolder,
    monkeypatch: pytest.MonkeyPatch,
    requirements: list[str],
    found: list[str],
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "requires", lambda _name: requirements)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0" if name == "afterstay" else real(name))

    said = doctor(afterstay, folder)

    failures = [one["text"] for one in said.json["findings"] if one["check"] == "packages" and one["level"] == "fail"]
    assert len(failures) == len(found)
    assert all(text.startswith(start) for text, start in zip(failures, found, strict=True))


def test_missing_time_zone_data_is_found(
    afterstay: Afterstay, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_name: str) -> object:
        raise ZoneInfoNotFoundError

    monkeypatch.setattr(machine_checks, "ZoneInfo", unknown)
    finding(doctor(afterstay, folder), "time-zones", "fail")


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_a_database_of_another_release_is_found(afterstay: Afterstay, folder: DataFolder, revision: str) -> None:
    folder.execute(sa.text(f"UPDATE alembic_version SET version_num = '{revision}'"))

    said = doctor(afterstay, folder)

    assert revision in finding(said, "schema", "fail")["fix"]
