"""Goal: the committed documents say what the types say, and the check notices when they do not or break a reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.asyncapi import asyncapi_document
from schemas.events import ACK_HEADER, RAW_HEADER, SENDER_HEADER
from schemas.export import ASYNCAPI_FILE, FOLDER, SCHEMA_FILE, event_schema, main, render
from schemas.topics import ADT_EVENTS


def test_the_committed_documents_are_up_to_date() -> None:
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


@pytest.mark.parametrize("name", [SCHEMA_FILE.name, ASYNCAPI_FILE.name])
def test_a_drift_fails_and_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["--check"], tmp_path) == 1, "a missing file is a drift"
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).write_text(text.replace("PV1-2", "PV1-3").replace("replay", "play"), encoding="utf-8")
    assert main(["--check"], tmp_path) == 1
    assert f"{name} does not say what the types say: run `python -m schemas.export`" in capsys.readouterr().err


def committed_with(folder: Path, part: str, field: str, **changes: Any) -> None:
    """Write documents whose schema differs in one field from what the types say."""
    main([], folder)
    file = folder / SCHEMA_FILE.name
    schema = json.loads(file.read_text(encoding="utf-8"))
    schema["$defs"][part]["properties"][field].update(changes)
    file.write_text(render(schema), encoding="utf-8")


def test_a_change_that_breaks_a_replay_is_neither_accepted_nor_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    committed_with(tmp_path, "AdtEvent", "kind", enum=["admitted", "taken away since"])
    before = (tmp_path / SCHEMA_FILE.name).read_text(encoding="utf-8")
    for arguments in (["--check"], [], ["--readers-first"]):
        assert main(arguments, tmp_path) == 1
        assert "AdtEvent.kind: the value 'taken away since' is not taken (replay)" in capsys.readouterr().err
    assert (tmp_path / SCHEMA_FILE.name).read_text(encoding="utf-8") == before


def test_a_change_that_breaks_readers_behind_is_written_only_if_they_go_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    committed_with(tmp_path, "AdtEvent", "kind", enum=["admitted"])
    for arguments in (["--check"], []):
        assert main(arguments, tmp_path) == 1
        assert "AdtEvent.kind: the value 'merged' is not taken (reader-behind)" in capsys.readouterr().err
    assert main(["--readers-first"], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


def test_the_asyncapi_document_reads_as_the_yaml_it_was_written_from() -> None:
    written = yaml.safe_load(ASYNCAPI_FILE.read_text(encoding="utf-8"))
    assert written == asyncapi_document(SCHEMA_FILE.name)
    assert written["asyncapi"].startswith("3.")


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = yaml.safe_load(ASYNCAPI_FILE.read_text(encoding="utf-8"))
    references = list(references_in(document))
    assert len(references) >= 5
    for reference in references:
        if reference.startswith("./"):
            assert (FOLDER / reference).is_file()
            continue
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def references_in(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [one for value in node.values() for one in references_in(value)]
    return [one for value in node for one in references_in(value)] if isinstance(node, list) else []


def test_the_asyncapi_document_names_topic_and_headers() -> None:
    document = asyncapi_document(SCHEMA_FILE.name)
    assert [channel["address"] for channel in document["channels"].values()] == [ADT_EVENTS]
    headers = document["components"]["messages"]["AdtEvent"]["headers"]
    assert {RAW_HEADER, ACK_HEADER, SENDER_HEADER, "ce_id", "ce_type", "content-type"} <= set(headers["properties"])
    assert SENDER_HEADER not in headers["required"]


def test_the_module_runs_as_a_command() -> None:
    root = SCHEMA_FILE.parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "schemas.export", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
