"""The course of a demo against a stand-in for `afterstay`, which does right or one thing wrong."""

import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from services.runtime.clock import FixedClock
from services.runtime.errors import Permanent
from services.simulator.demo import run_demo
from services.simulator.service_process import ServiceProcess
from services.simulator.simulation import generate
from tests.simulator.simulations import NOW

ROOT = Path(__file__).parents[2]
PATIENTS = 6
SEED = 4


def fake(fault: str) -> tuple[str, ...]:
    script = Path(__file__).with_name("fake_afterstay.py")
    return (sys.executable, str(script), str(SEED), NOW.isoformat(), str(PATIENTS), fault)


class Heard(io.StringIO):
    """Standard error that presses Ctrl-C when it hears a certain phrase."""

    def __init__(self, stop_at: str | None = None) -> None:
        super().__init__()
        self._stop_at = stop_at

    def write(self, text: str) -> int:
        count = super().write(text)
        if self._stop_at is not None and self._stop_at in text:
            self._stop_at = None
            signal.raise_signal(signal.SIGINT)
        return count


@pytest.fixture(autouse=True)
def _module_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def demo(
    fault: str, data: Path, *, once: bool = True, as_json: bool = True, stop_at: str | None = None
) -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), Heard(stop_at)
    code = run_demo(
        once=once,
        as_json=as_json,
        seed=SEED,
        data_dir=data,
        stdout=stdout,
        stderr=stderr,
        patients=PATIENTS,
        clock=FixedClock(NOW),
        command=fake(fault),
        settle_timeout_s=0.5,
    )
    return code, stdout.getvalue(), stderr.getvalue()


def result(output: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(output)
    return facts


def assert_child_is_gone(data: Path) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(int((data / "pid").read_text()), 0)


def test_a_demo_in_which_all_is_well_says_so_in_json_and_ends_with_0(tmp_path: Path) -> None:
    told = generate(SEED, now=NOW, patients=PATIENTS)
    code, output, talk = demo("none", tmp_path / "data")
    facts = result(output)
    assert code == 0, facts
    assert facts["sent"] == facts["received"] == facts["acknowledged"]["AA"] == len(told.messages)
    assert facts["differences"] == []
    assert sum(facts["expected"]["contact"].values()) == len(told.expected) / 2
    assert facts["outcomes"]["no_effect"]["duplicate"] == 1
    assert facts["tasks"] == {"contact": {"requested": 1}}
    assert "worklist: http://127.0.0.1:" in talk
    assert "\x1b" not in talk
    assert_child_is_gone(tmp_path / "data")


def test_without_json_one_line_says_what_came_of_it(tmp_path: Path) -> None:
    code, output, _ = demo("none", tmp_path / "data", as_json=False)
    assert code == 0
    assert "0 differences" in output
    assert "books balance" in output


@pytest.mark.parametrize(
    ("fault", "problem", "text"),
    [
        ("forgets-a-task", "missing", ""),
        ("loses-a-message", "books", "received"),
        ("refuses", "books", "answered AA"),
        ("out-of-step", "books", "answered AA"),
        ("unbalanced", "books", "do not balance"),
    ],
)
def test_a_demo_in_which_something_is_wrong_names_it_and_ends_with_1(
    tmp_path: Path, fault: str, problem: str, text: str
) -> None:
    code, output, _ = demo(fault, tmp_path / "data")
    differences = result(output)["differences"]
    assert code == 1
    assert any(one["problem"] == problem and text in one.get("text", "") for one in differences), differences
    assert_child_is_gone(tmp_path / "data")


@pytest.mark.parametrize(
    ("fault", "code", "why"),
    [
        ("does-not-start", "demo-not-started", "the port is taken"),
        ("refuses-panel", "demo-panel-refused", "row 2: no birth date"),
        ("mumbles", "demo-status-unreadable", "no status"),
    ],
)
def test_a_demo_that_cannot_go_on_says_why(tmp_path: Path, fault: str, code: str, why: str) -> None:
    with pytest.raises(Permanent) as refused:
        demo(fault, tmp_path / "data")
    assert refused.value.code == code
    assert why in refused.value.message


def test_a_service_that_dies_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Permanent) as refused:
        demo("dies", tmp_path / "data")
    assert refused.value.code in {"demo-service-ended", "demo-not-answered"}
    assert "disk on fire" in refused.value.message


def test_ctrl_c_while_sending_stops_the_service(tmp_path: Path) -> None:
    code, output, _ = demo("none", tmp_path / "data", stop_at="hospitals send to")
    assert code == 130
    assert output == ""
    assert_child_is_gone(tmp_path / "data")


def test_the_interactive_demo_stays_up_until_ctrl_c_and_says_what_to_do_next(tmp_path: Path) -> None:
    code, output, talk = demo("none", tmp_path / "data", once=False, stop_at="Ctrl-C ends the demo")
    assert code == 0
    assert output == ""
    assert "first task on the worklist after" in talk
    assert "afterstay tasks ls --data" in talk
    assert_child_is_gone(tmp_path / "data")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_text("precious")
    with pytest.raises(Permanent, match="not an empty folder"):
        demo("none", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["log.db"]


async def test_a_service_that_does_not_stop_is_ended_by_its_own_id(tmp_path: Path) -> None:
    told = generate(SEED, now=NOW, patients=PATIENTS)
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(told.feeds_yaml, encoding="utf-8")
    service = ServiceProcess(
        tmp_path, feeds=feeds, log=tmp_path / "run.log", command=fake("never-stops"), stop_timeout_s=0.2
    )
    async with service:
        assert service.http.startswith("http://127.0.0.1:")
    assert await service.ended() == -signal.SIGKILL
    assert_child_is_gone(tmp_path)
