from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.cli import main
from tests.support.data_folders import DataFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a call of the command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return msgspec.json.decode(self.out)


Afterstay = Callable[..., Said]


@pytest.fixture
def afterstay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Afterstay:
    """Call `main` with words and return what it said."""
    monkeypatch.delenv("AFTERSTAY_DATA", raising=False)

    def call(*words: object) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(code=code, out=captured.out, err=captured.err)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder with an empty database and no log."""
    data = tmp_path / "data"
    data.mkdir()
    made = DataFolder(data)
    made.make_database()
    return made
