from pathlib import Path

from tests.commands.conftest import Afterstay


def test_a_simulation_is_written_into_a_folder(afterstay: Afterstay, tmp_path: Path) -> None:
    said = afterstay("simulate", "--out", tmp_path / "world", "--seed", "7", "--patients", "3", "--json")

    assert said.code == 0
    assert said.json["seed"] == 7
    assert len(list((tmp_path / "world" / "messages").iterdir())) == said.json["frames"]


def test_without_a_destination_nothing_is_made(afterstay: Afterstay) -> None:
    said = afterstay("simulate")
    assert said.code == 1
    assert "[destination-missing]" in said.err


def test_a_demo_keeps_out_of_a_folder_that_has_something_in_it(afterstay: Afterstay, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    said = afterstay("demo", "--once", "--patients", "1", "--data", tmp_path)
    assert said.code == 1
    assert "[folder-not-empty]" in said.err
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
