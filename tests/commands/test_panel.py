from pathlib import Path

import sqlalchemy as sa

from services.followup.store.tables import panel_import, patient
from tests.commands.conftest import Afterstay
from tests.support.data_folders import PANEL, DataFolder

WRONG = PANEL + "P3,Doe,,1952-03-14,F,,,,,,,\n"


def panel_file(tmp_path: Path, text: str = PANEL) -> Path:
    file = tmp_path / "panel.csv"
    file.write_text(text, encoding="utf-8")
    return file


def patients(folder: Path) -> list[object]:
    return [row[0] for row in DataFolder(folder).rows(sa.select(patient.c.id).order_by(patient.c.id))]


def test_the_first_import_makes_folder_and_database(afterstay: Afterstay, tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"

    said = afterstay("panel", "import", panel_file(tmp_path), "--data", data, "--as", "Olga", "--json")

    assert said.code == 0
    assert said.json["counts"]["added"] == 2
    assert patients(data) == ["P1", "P2"]
    assert DataFolder(data).rows(sa.select(panel_import.c.imported_by)) == [("Olga",)]


def test_the_same_file_again_changes_nothing(afterstay: Afterstay, tmp_path: Path) -> None:
    file, data = panel_file(tmp_path), tmp_path / "data"
    afterstay("panel", "import", file, "--data", data)

    said = afterstay("panel", "import", file, "--data", data, "--json")

    assert said.code == 0
    assert (said.json["loaded"], said.json["counts"]["unchanged"]) == (False, 2)


def test_a_wrong_row_refuses_the_file_and_is_named(afterstay: Afterstay, tmp_path: Path) -> None:
    data = tmp_path / "data"

    said = afterstay("panel", "import", panel_file(tmp_path, WRONG), "--data", data, "--json")

    assert said.code == 1
    assert said.json["refused"]["code"] == "rows-rejected"
    assert [row["row"] for row in said.json["results"] if row["outcome"] == "rejected"] == [4]
    assert said.err.startswith("afterstay: nothing was loaded: ")
    assert patients(data) == []


def test_a_dry_run_makes_nothing_at_all(afterstay: Afterstay, tmp_path: Path) -> None:
    data = tmp_path / "data"

    said = afterstay("panel", "import", panel_file(tmp_path), "--data", data, "--dry-run", "--json")

    assert (said.code, said.json["counts"]["added"], said.json["loaded"]) == (0, 2, False)
    assert not data.exists()


def test_a_replace_that_drops_too_many_is_refused_unless_it_is_meant(afterstay: Afterstay, tmp_path: Path) -> None:
    data = tmp_path / "data"
    afterstay("panel", "import", panel_file(tmp_path), "--data", data)
    half = panel_file(tmp_path, "".join(PANEL.splitlines(keepends=True)[:2]))
    words = ("panel", "import", half, "--data", data, "--mode", "replace", "--json")

    refused = afterstay(*words)
    assert refused.code == 1
    assert refused.json["refused"]["code"] == "replace-drops-too-many"
    meant = afterstay(*words, "--drop-max", "50")
    assert (meant.code, meant.json["counts"]["ended"]) == (0, 1)


def test_a_file_that_is_not_there_is_one_line(afterstay: Afterstay, tmp_path: Path) -> None:
    said = afterstay("panel", "import", tmp_path / "nowhere.csv", "--data", tmp_path / "data")
    assert said.code == 1
    assert said.err.startswith("afterstay: ")
    assert len(said.err.splitlines()) == 1


def test_people_read_what_happened(afterstay: Afterstay, tmp_path: Path) -> None:
    said = afterstay("panel", "import", panel_file(tmp_path), "--data", tmp_path / "data")
    assert said.out.splitlines()[0] == "panel.csv: loaded"
