"""The command as a whole: words in, exit code and one line out."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services import cli
from services.cli import main
from services.commands.arguments import Arguments
from services.commands.exit_codes import exit_code_of
from services.runtime.errors import (
    AfterstayError,
    Ambiguous,
    ConfigurationError,
    ConfigurationProblem,
    Defect,
    Permanent,
    Transient,
)
from tests.commands.parsers import verbs

HEAVY = {
    "alembic", "apscheduler", "asyncio", "fastapi", "hl7", "holidays", "jinja2", "msgspec", "rich", "sqlalchemy",
    "starlette", "structlog", "uvicorn", "uvloop", "yaml",
}  # fmt: skip
LOADED = """
import sys
from services.cli import main
codes = {main([*words.split(), "--help"]) for words in sys.argv[1:]}
sys.stderr.write(" ".join(sys.modules))
sys.exit(max(codes))
"""


def test_no_help_loads_anything_heavy() -> None:
    """So that it is there at once (goal C1: 300 ms); what is loaded is counted, since time on a busy machine lies."""
    families = {words.split()[0] for words in verbs()}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "", *families, *verbs()], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0
    assert all(f"usage: afterstay {words} " in done.stdout for words in verbs())
    assert not HEAVY & {name.partition(".")[0] for name in done.stderr.split()}


def test_without_a_verb_help_is_shown_as_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: afterstay")


@pytest.mark.parametrize("words", [["nonsense"], ["tasks"], ["status"], ["status", "--data", "x", "--wrong"]])
def test_wrong_words_are_one_line_and_exit_2(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFTERSTAY_DATA", raising=False)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("afterstay: ")
    assert "--help`" in captured.err


def test_the_version_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("afterstay ")


PROBLEMS = [
    ConfigurationProblem(file=Path("feeds.yaml"), line=3, reason="the zone is unknown"),
    ConfigurationProblem(file=Path("feeds.yaml"), line=9, reason="the name is used twice"),
]


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (Permanent("file-wrong", "the file is wrong: mend it"), 1, ["the file is wrong: mend it [file-wrong]"]),
        (Transient("busy", "try again"), 3, ["try again [busy]"]),
        (Ambiguous("unknown", "look first"), 1, ["look first [unknown]"]),
        (Defect("broken", "our bug"), 70, ["our bug [broken]"]),
        (
            ConfigurationError(PROBLEMS),
            1,
            [
                "feeds.yaml:3: the zone is unknown [configuration-invalid]",
                "feeds.yaml:9: the name is used twice [configuration-invalid]",
            ],
        ),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 1, ["No such file or directory: x.csv [system]"]),
    ],
)
def test_each_error_has_its_exit_code_and_says_its_line(
    raising: Callable[[Exception], None],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    lines: list[str],
) -> None:
    raising(error)

    assert main(["status", "--data", "x"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [f"afterstay: {line}" for line in lines]


def test_a_bug_is_named_by_its_place_and_never_by_its_text(
    raising: Callable[[Exception], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(KeyError("Rivera, Ana"))

    assert main(["status", "--data", "x"]) == 70
    said = capsys.readouterr().err
    assert "KeyError at test_cli.py:" in said
    assert "Rivera" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("words", [["--debug", "status", "--data", "x"], ["status", "--data", "x", "--debug"]])
def test_a_traceback_comes_only_with_debug(
    raising: Callable[[Exception], None], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    raising(Permanent("file-wrong", "mend it"))

    assert main(words) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupt_ends_quietly(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(KeyboardInterrupt())

    assert main(["status", "--data", "x"]) == 130
    assert capsys.readouterr() == ("", "")


def test_every_error_that_we_raise_has_an_exit_code() -> None:
    def classes(parent: type[AfterstayError]) -> set[type[AfterstayError]]:
        return {parent}.union(*(classes(child) for child in parent.__subclasses__()))

    assert {exit_code_of(one.__new__(one)) for one in classes(AfterstayError)} <= {1, 3, 70}


@pytest.mark.parametrize("target", ["closed pipe", "full disk"])
def test_output_that_nobody_takes_ends_without_a_traceback(target: str) -> None:
    words = ["protocols", "due", "transitional-care", "--zone", "America/New_York", *["2026-11-20"] * 2000]
    if target == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", *words],
            stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    finally:
        os.close(writer)

    expected = (
        (141, "") if target == "closed pipe" else (1, "afterstay: No space left on device: while working [system]\n")
    )
    assert (done.returncode, done.stderr) == expected


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make whatever verb is asked for raise."""

    def set_up(error: BaseException) -> None:
        def verb(_arguments: Arguments) -> int:
            raise error

        monkeypatch.setattr(cli, "find_verb", lambda _handler: verb)

    return set_up
