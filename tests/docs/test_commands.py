"""What the documents tell people to type, follow and look up is there.

Every `afterstay …` in README and docs is a command that the parser takes; every relative link leads somewhere; nothing
in the repository names a folder of somebody's machine or a package registry.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from services.commands.arguments import Arguments
from services.commands.flags import DATA_VARIABLE
from services.commands.grammar import build_parser
from tests.docs.pages import ROOT, Page, all_pages

_PAGES: Final = all_pages()
_COMMAND: Final = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?afterstay (?P<words>.+)")
_SHELL: Final = ("", "sh", "console", "bash")
_ENDS_A_COMMAND: Final = re.compile(r" (?:\||>|<|2>|&&|&|#|;) ?.*$")
_SYNOPSIS: Final = re.compile(r"[\[\]…|]|\.\.\.")
_INDENTED: Final = re.compile(r"^ {4}(afterstay .+)$", re.MULTILINE)
_HOLDER_VALUES: Final = {
    "VERB": "status",
    "N": "1",
    "PORT": "2575",
    "HOST:PORT": "127.0.0.1:2575",
    "127.0.0.1:PORT": "127.0.0.1:2575",
    "SECONDS": "5",
    "TIME": "2026-11-24T14:30-05:00",
}
"""What a placeholder that must be a number or a time is read as; others may stand for themselves."""


_IN_CONFIG: Final = {
    "AFTERSTAY_KAFKA": "127.0.0.1:9092",
    "AFTERSTAY_DATABASE": "postgresql://afterstay@127.0.0.1:5432/afterstay",
    "AFTERSTAY_SPOOL": "spool",
}
"""What stands in the file of settings that a page has made before it names it."""


def _is_parsed(words: list[str], *, data_known: bool) -> bool:
    environ = {DATA_VARIABLE: "data"} if data_known else {}
    if "--config" in words:
        place = words.index("--config")
        words, environ = [*words[:place], *words[place + 2 :]], _IN_CONFIG
    parser = build_parser(environ)
    try:
        parser.parse_args([_HOLDER_VALUES.get(word, word) for word in words], namespace=Arguments())
    except SystemExit as end:
        return end.code == 0  # --help
    return True


def _names_a_verb(words: list[str]) -> bool:
    """Say whether the words before the first flag, value or bracket are a verb or a family of verbs."""
    verb = []
    for word in (_HOLDER_VALUES.get(word, word) for word in words):
        if not re.fullmatch(r"[a-z]+", word):
            break
        verb.append(word)
    return bool(verb) and any(_is_parsed([*verb[:count], "--help"], data_known=True) for count in (len(verb), 2, 1))


def _shell_commands(page: Page) -> Iterator[str]:
    blocks = [block.text.replace("\\\n", " ") for block in page.blocks(*_SHELL)]
    for line in "\n".join([*blocks, *_INDENTED.findall(page.prose)]).splitlines():
        if found := _COMMAND.match(line.strip()):
            yield _ENDS_A_COMMAND.sub("", found["words"])


def _inline_commands(page: Page) -> Iterator[str]:
    for code in page.inline_code():
        if found := _COMMAND.match(code):
            yield found["words"]


_SHELL_COMMANDS: Final = [(page.name, words) for page in _PAGES for words in _shell_commands(page)]
_INLINE_COMMANDS: Final = [(page.name, words) for page in _PAGES for words in _inline_commands(page)]


@pytest.mark.parametrize(("page", "words"), _SHELL_COMMANDS)
def test_every_command_in_a_code_block_is_one_that_the_parser_takes(
    page: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = (
        _names_a_verb(words.split()) if _SYNOPSIS.search(words) else _is_parsed(shlex.split(words), data_known=False)
    )
    assert taken, f"{page}: afterstay {words}\n{capsys.readouterr().err}"


@pytest.mark.parametrize(("page", "words"), _INLINE_COMMANDS)
def test_every_command_in_a_sentence_is_one_that_the_parser_takes_or_names_a_verb(
    page: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    split = words.split() if _SYNOPSIS.search(words) else shlex.split(words)
    taken = _is_parsed(split, data_known=True)
    only_named = all(re.fullmatch(r"[a-z]+", word) for word in split) or _SYNOPSIS.search(words)
    assert taken or (only_named and _names_a_verb(split)), f"{page}: afterstay {words}\n{capsys.readouterr().err}"


def test_there_are_commands_to_check() -> None:
    assert len({words for _, words in _SHELL_COMMANDS}) >= 15
    assert len({words for _, words in _INLINE_COMMANDS}) >= 15


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert not _is_parsed(["tasks", "snooze", "ID"], data_known=True)
    assert not _is_parsed(["run", "--port", "1"], data_known=True)
    assert not _is_parsed(["status"], data_known=False)
    assert not _names_a_verb(["snooze", "[ID]"])


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Page) -> None:
    for target in page.links():
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aimed = (page.path.parent / path).resolve() if path else page.path
        assert aimed.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            text = aimed.read_text(encoding="utf-8")
            assert anchor in Page(path=aimed, text=text).anchors(), f"{page.name}: no heading for {target}"


def test_every_document_can_be_reached_from_the_index() -> None:
    index = next(page for page in _PAGES if page.name == "docs/index.md")
    linked = {(index.path.parent / target.partition("#")[0]).resolve() for target in index.links()}
    assert {page.path for page in _PAGES} - linked - {index.path} == set()


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    blocks = "\n".join(block.text for page in _PAGES for block in page.blocks(*_SHELL))
    inline = "\n".join(code for page in _PAGES for code in page.inline_code())
    named = set(re.findall(r"^(?:\$ )?make ([a-z-]+)", f"{blocks}\n{inline}", re.MULTILINE))
    assert named
    assert named <= targets


def _repository_texts() -> Iterator[tuple[str, str]]:
    """Give the text files that are, or are about to be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    names = listed.stdout.split("\0") if listed.returncode == 0 else [page.name for page in _PAGES]
    for name in filter(None, names):
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue


_MACHINE_PATH: Final = re.compile("(?<![\\w.~$}])/" + "(?:work|home|root|Users|tmp)" + "/[\\w.-]")
_REGISTRY: Final = re.compile("|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "--(?:extra-)?index" + "-url")))


def test_no_file_names_a_folder_of_a_machine_or_a_registry() -> None:
    found = [
        f"{name}: {hit.group()}"
        for name, text in _repository_texts()
        for pattern in (_MACHINE_PATH, _REGISTRY)
        for hit in pattern.finditer(text)
    ]
    assert found == []


def test_a_machine_path_and_a_registry_would_be_found() -> None:
    assert _MACHINE_PATH.search("see " + str(Path("/") / "home" / "kim"))
    assert _REGISTRY.search("https://" + "pypi" + ".org/simple")
