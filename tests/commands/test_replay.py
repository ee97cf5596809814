"""`afterstay replay` on a data folder: the range, the report, the audit, and a way to go on."""

import signal
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from services.commands import output
from services.commands import replay as verb
from services.followup.store.tables import audit_event, event
from services.followup.usecases import replay_reading
from tests.commands.conftest import Afterstay
from tests.support.adt import adt
from tests.support.data_folders import NOW, DataFolder

FEEDS_FILE = """\
feeds:
  - name: mercy
    sending_facility: MERCY
    authority: MERCY
    zone: America/New_York
    classes: {OBS: OBSENC}
    facilities: {MERCY: {name: Mercy Hospital}}
"""
HOSPICE = FEEDS_FILE + '    dispositions: {HSP: "50"}\n'
ADMIT = adt("A01", sent="20261117090500", control_id="M1", admitted="20261117090000")
DISCHARGE = adt(
    "A03", sent="20261120143000", control_id="M2", admitted="20261117090000", discharged="20261120143000",
    disposition="HSP",
)  # fmt: skip


@pytest.fixture
def told(folder: DataFolder) -> DataFolder:
    """A folder that heard of an admission and a discharge, the latter with a word that no table has."""
    folder.load_panel()
    folder.receive(ADMIT, DISCHARGE)
    folder.consume()
    return folder


@pytest.fixture
def hospice(tmp_path: Path) -> Path:
    file = tmp_path / "feeds.yaml"
    file.write_text(HOSPICE)
    return file


def open_tasks(afterstay: Afterstay, folder: DataFolder) -> int:
    return len(afterstay("tasks", "ls", "--data", folder.path, "--json").json["items"])


def test_a_rehearsal_and_then_the_replay_say_the_same(afterstay: Afterstay, told: DataFolder, hospice: Path) -> None:
    words = ("replay", "--from", "beginning", "--feeds", hospice, "--data", told.path, "--as", "Olga", "--json")

    rehearsed = afterstay(*words, "--dry-run")
    assert open_tasks(afterstay, told) > 0
    assert told.rows(sa.select(audit_event.c.action).where(audit_event.c.action.like("log.%"))) == []
    done = afterstay(*words)

    assert (rehearsed.code, done.code) == (0, 0)
    assert rehearsed.json == {**done.json, "dry_run": True}
    assert done.json["changed"] == 1
    assert done.json["fields"]["visit.disposition.code"] == 1
    assert set(done.json["tasks"]["contact"]) == {"withdrawn"}
    assert open_tasks(afterstay, told) == 0
    assert afterstay("status", "--data", told.path).code == 0
    audited = sa.select(audit_event.c.actor, audit_event.c.action, audit_event.c.detail)
    rows = told.rows(audited.where(audit_event.c.action.like("log.%")).order_by(audit_event.c.id))
    assert [row[:2] for row in rows] == [("Olga", "log.replay_began"), ("Olga", "log.replay_ended")]
    assert msgspec.json.decode(str(rows[1][2]))["changed"] == 1
    assert afterstay(*words).json["changed"] == 0


def test_people_read_what_would_change(afterstay: Afterstay, told: DataFolder, hospice: Path) -> None:
    said = afterstay("replay", "--from", "beginning", "--feeds", hospice, "--data", told.path, "--dry-run")
    assert "read otherwise now" in said.out
    assert "visit.disposition.code" in said.out
    assert "nothing was changed" in said.err
    assert "RIVERA" not in said.out


def test_a_range_is_a_time_or_places_of_partitions(afterstay: Afterstay, told: DataFolder, hospice: Path) -> None:
    common = ("--feeds", hospice, "--data", told.path, "--dry-run", "--json")
    ((partition, offset),) = told.rows(sa.select(event.c.partition, event.c.offset).where(event.c.control_id == "M2"))

    at = NOW.isoformat()
    assert afterstay("replay", "--from", at, *common).json["read"] == 2
    assert afterstay("replay", "--from", at, "--to", at, *common).json["read"] == 0
    assert afterstay("replay", "--from", "2026-11-21T00:00+00:00", *common).json["read"] == 0
    assert afterstay("replay", "--from", f"{partition}:{offset}", *common).json["read"] == 1
    assert afterstay("replay", "--from", "beginning", "--partition", partition, *common).json["read"] == 2
    assert afterstay("replay", "--from", "beginning", "--feed", "other", *common).json["read"] == 0
    assert afterstay("replay", "--awaiting", *common).json["read"] == 0


@pytest.mark.parametrize("where", [("beginning", "0:1"), ("0:1", "2026-11-21T00:00+00:00"), ("0:1", "0:2"), ("77:0",)])
def test_a_range_that_makes_no_sense_is_refused(
    afterstay: Afterstay, told: DataFolder, hospice: Path, where: tuple[str, ...]
) -> None:
    said = afterstay("replay", "--from", *where, "--feeds", hospice, "--data", told.path)
    assert said.code == 1
    assert "[range-invalid]" in said.err


def test_without_a_feeds_file_it_does_not_begin(afterstay: Afterstay, told: DataFolder) -> None:
    assert afterstay("replay", "--from", "beginning", "--data", told.path).code == 2


def test_one_that_is_ended_says_how_to_go_on(
    afterstay: Afterstay, told: DataFolder, hospice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--feeds", hospice, "--data", told.path, "--json")
    monkeypatch.setattr(replay_reading, "WINDOW_RECORDS", 1)
    monkeypatch.setattr(verb, "PROGRESS_EVERY_S", 0.0)
    says = output.tell

    def interrupt(text: str) -> None:
        says(text)
        if "messages read" in text:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(verb, "tell", interrupt)

    ended = afterstay("replay", "--from", "beginning", *words)

    assert (ended.code, ended.json["read"], ended.json["finished"]) == (130, 1, False)
    rest = ended.err.split("for the rest: ")[1].split()
    again = afterstay("replay", *rest, *words)
    assert again.json["read"] == 1
    assert open_tasks(afterstay, told) == 0
