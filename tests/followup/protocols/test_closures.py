"""The practice's own closed days: read strictly, counted as no business days."""

import json
from datetime import date
from pathlib import Path

import pytest

from services.cli import main
from services.followup.composition import rules_in_force
from services.followup.protocols.closures import CLOSURES_FILE, closures_in, read_closures
from services.runtime.errors import ConfigurationError


def test_a_data_folder_without_the_file_has_no_closed_days(tmp_path: Path) -> None:
    assert closures_in(tmp_path) == frozenset()


def test_dates_are_read_and_what_is_for_people_is_not(tmp_path: Path) -> None:
    file = tmp_path / CLOSURES_FILE
    file.write_text("\ufeff# our days\n\n2026-12-24  Christmas Eve\n2026-12-31\n", encoding="utf-8")
    assert closures_in(tmp_path) == {date(2026, 12, 24), date(2026, 12, 31)}


def test_every_wrong_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / CLOSURES_FILE
    file.write_text("2026-02-30\n2026-12-24\nChristmas\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_closures(file)
    assert [problem.line for problem in caught.value.problems] == [1, 3]


@pytest.mark.parametrize("content", [b"\xff\xfe2\x000\x00", None])
def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / CLOSURES_FILE
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError):
        read_closures(file)


def test_the_rules_count_the_closed_days_of_a_data_folder(tmp_path: Path) -> None:
    (tmp_path / CLOSURES_FILE).write_text("2026-11-19\n", encoding="utf-8")
    calendar = rules_in_force(closures_in(tmp_path)).calendar
    assert not calendar.is_business_day(date(2026, 11, 19))
    assert calendar.is_business_day(date(2026, 11, 20))


def test_protocols_due_counts_the_closed_days_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "closed.txt"
    file.write_text("2026-11-19\n", encoding="utf-8")
    words = ["protocols", "due", "transitional-care", "--zone", "America/New_York", "--json", "2026-11-18"]
    assert main([*words, "--closures", str(file)]) == 0
    (contact, _) = json.loads(capsys.readouterr().out)[0]["tasks"]
    assert contact["due_on"] == "2026-11-23"
