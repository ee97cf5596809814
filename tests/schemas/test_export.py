"""Goal: the committed schema says what the types say, and the check notices when it does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.export import SCHEMA_FILE, event_schema, main, render


def test_the_committed_schema_is_up_to_date() -> None:
    assert main(["--check"]) == 0, "run `python -m schemas.export`"


def test_every_field_of_the_event_that_has_a_docstring_carries_it() -> None:
    event = event_schema()["$defs"]["AdtEvent"]["properties"]
    assert event["event_id"]["description"].startswith("UUIDv5")
    visit = event_schema()["$defs"]["Visit"]["properties"]
    assert visit["class"]["description"].startswith("PV1-2")
    assert "class_" not in visit


def test_rendering_is_stable() -> None:
    text = render(event_schema())
    assert text == render(json.loads(text))
    assert text.endswith("}\n")


def test_a_drift_fails_and_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / SCHEMA_FILE.name
    assert main(["--check"], file) == 1, "a missing file is a drift"
    assert main([], file) == 0
    assert main(["--check"], file) == 0
    file.write_text("{}\n", encoding="utf-8")
    assert main(["--check"], file) == 1
    assert "python -m schemas.export" in capsys.readouterr().err


def test_the_module_runs_as_a_command() -> None:
    root = SCHEMA_FILE.parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "schemas.export", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
