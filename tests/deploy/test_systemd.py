"""The units of `deploy/systemd` as systemd and Afterstay read them, without a systemd that runs."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.told import Told, process_verbs

UNITS: Final = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
INSTALLED: Final = "/opt/afterstay/bin/afterstay"
HERE: Final = str(Path(sys.executable).parent / "afterstay")
EXPOSURE_MAX: Final = 20
"""Of 100, as `systemd-analyze security` counts; a unit without hardening has 96."""


def _named(unit: Path) -> str:
    return unit.name


def test_there_is_a_unit_for_every_process() -> None:
    assert {_process(unit) for unit in UNITS} == process_verbs()


@pytest.mark.parametrize("unit", UNITS, ids=_named)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    name = unit.name.replace("@.", "@9102.")
    installed = _here(unit, tmp_path)
    done = _systemd("verify", str(tmp_path / name) if "@" in name else str(installed))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS, ids=_named)
def test_a_unit_can_reach_little_of_the_machine(unit: Path, tmp_path: Path) -> None:
    done = _systemd(
        "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(_here(unit, tmp_path))
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=_named)
def test_afterstay_takes_the_words_and_the_environment(unit: Path, tmp_path: Path) -> None:
    (command,) = _values(unit, "ExecStart")
    program, *words = shlex.split(command.replace("%i", "9102"))
    assert program == INSTALLED
    environ = dict(one.split("=", 1) for one in _values(unit, "Environment"))
    told = Told(words, environ, tmp_path)
    assert told.verb == _process(unit)
    for value in environ.values():
        assert value.removeprefix("%d/") in {one.partition(":")[0] for one in _values(unit, "LoadCredential")}


@pytest.mark.parametrize("unit", UNITS, ids=_named)
def test_a_unit_comes_back_after_every_end_and_is_given_time_to_drain(unit: Path) -> None:
    assert _values(unit, "Restart") == ["always"]
    assert _values(unit, "StartLimitIntervalSec") == ["0"], "it never gives up"
    (patience,) = _values(unit, "TimeoutStopSec")
    assert int(patience) > 10
    assert _values(unit, "User") == ["afterstay"]


def test_the_spool_is_where_the_listener_may_write(tmp_path: Path) -> None:
    (unit,) = (one for one in UNITS if _process(one) == "ingest")
    (command,) = _values(unit, "ExecStart")
    spool = Told(shlex.split(command)[1:], {}, tmp_path).arguments.spool
    assert spool == Path("/var/lib", *_values(unit, "StateDirectory"))


def _process(unit: Path) -> str:
    return unit.stem.removeprefix("afterstay-").removesuffix("@")


def _values(unit: Path, key: str) -> list[str]:
    lines = (line.partition("=") for line in unit.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return [value for name, _, value in lines if name == key]


def _here(unit: Path, folder: Path) -> Path:
    """Copy a unit that starts the command of this machine: systemd wants the program to be there."""
    copy = folder / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace(INSTALLED, HERE), encoding="utf-8")
    return copy


def _systemd(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)
