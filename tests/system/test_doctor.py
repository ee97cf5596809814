"""`doctor` and `demo` as they are run on a new machine."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.data_folders import DataFolder
from tests.system.people import FEED, people
from tests.system.service import Service, afterstay

pytestmark = pytest.mark.system

PASS, WARN, FAIL = "pass", "warn", "fail"
EXIT_CODES = {PASS: 0, WARN: 1, FAIL: 2}
MACHINE = {"python", "packages", "time-zones", "sqlite", "disk", "space"}
"""What a test does not arrange."""


def doctor(data: Path, *words: object) -> dict[str, dict[str, Any]]:
    """Return the findings by check, of several the worst, without those on the machine; exit code and level fit."""
    said = afterstay("doctor", "--data", data, *words, "--json")
    findings = said.json["findings"]
    levels = {finding["level"] for finding in findings}
    assert said.code == EXIT_CODES[said.json["level"]] == max(EXIT_CODES[level] for level in levels), said
    assert all(finding["fix"] for finding in findings if finding["level"] != PASS), "what is wrong can be mended"
    ordered = sorted(findings, key=lambda finding: EXIT_CODES[finding["level"]])
    return {finding["check"]: finding for finding in ordered if finding["check"] not in MACHINE}


def test_a_good_set_up_has_nothing_to_mend_while_it_runs(shared: Service) -> None:
    feeds = shared.data.parent / "feeds.yaml"
    found = doctor(shared.data, "--feeds", feeds)
    assert {check: one["level"] for check, one in found.items() if check not in {"folder", "dead-letters"}} == {
        "running": PASS, "ports": PASS, "feeds": PASS, "log.db": PASS, "afterstay.db": PASS, "schema": PASS,
        "panel": PASS, "books": PASS, "clock": PASS,
    }  # fmt: skip
    assert str(shared.pid) in found["running"]["text"]


def test_a_wrong_feeds_file_and_a_taken_port_are_found_before_run_refuses_them(tmp_path: Path) -> None:
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(FEED.replace("America/New_York", "Mars/Olympus"), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = doctor(tmp_path / "new", "--feeds", feeds, "--mllp-port", 0, "--http-port", port)
    assert {check: one["level"] for check, one in found.items()} == {
        "folder": WARN, "running": PASS, "ports": FAIL, "feeds": FAIL
    }  # fmt: skip
    assert f"{feeds}:5: zone 'Mars/Olympus'" in found["feeds"]["text"]
    assert str(port) in found["ports"]["text"]
    assert not (tmp_path / "new").exists(), "looking creates nothing"


def test_a_damaged_log_is_found_and_nothing_more_is_asked_of_it(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make_database()
    folder.receive(people(1, 1)[0].admitted(control_id="DAMAGED"))
    log = tmp_path / "log.db"
    log.write_bytes(log.read_bytes()[:4096] + b"damage " * 4096)

    found = doctor(tmp_path, "--mllp-port", 0, "--http-port", 0)

    assert {check: one["level"] for check, one in found.items() if check != "folder"} == {
        "running": PASS, "ports": PASS, "feeds": WARN, "log.db": FAIL, "afterstay.db": PASS
    }  # fmt: skip
    refused = afterstay("run", "--data", tmp_path, "--mllp-port", 0, "--http-port", 0)
    assert (refused.code, refused.out) == (1, "")
    assert "[log-damaged]" in refused.err


def test_the_demo_is_right_by_its_own_judgment() -> None:
    said = afterstay("demo", "--once", "--json", "--seed", 7, "--patients", 40, within_s=120)
    assert said.code == 0, said
    facts = said.json
    assert (facts["seed"], facts["differences"], facts["pending"]) == (7, [], 0)
    assert facts["sent"] == facts["received"] == facts["acknowledged"]["AA"]
    assert facts["tasks"]["contact"]["requested"] == facts["expected"]["contact"]["requested"]
