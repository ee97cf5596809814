"""`deploy/Dockerfile` without an engine: no shell, no root, nothing unhashed, nothing that is not there."""

import fnmatch
import json
import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
KNOWN: Final = {
    "ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "STOPSIGNAL", "ENTRYPOINT", "CMD",
}  # fmt: skip
_PINNED: Final = re.compile(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==(\S+?)(?: ;[^\\]*)? \\$", re.MULTILINE)
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str
    rest: str
    stage: int

    @property
    def words(self) -> list[str]:
        """The arguments of the form without a shell."""
        found = json.loads(self.rest)
        assert all(isinstance(one, str) for one in found)
        return list(found)


def _instructions() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    found, stage = [], -1
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(word, rest.strip(), stage))
    return found


INSTRUCTIONS: Final = _instructions()
LAST: Final = [one for one in INSTRUCTIONS if one.stage == INSTRUCTIONS[-1].stage]


def test_it_has_only_instructions_that_docker_knows() -> None:
    assert {one.word for one in INSTRUCTIONS} <= KNOWN


def test_nothing_needs_a_shell() -> None:
    for one in INSTRUCTIONS:
        if one.word in {"RUN", "CMD", "ENTRYPOINT"}:
            assert one.words


def test_the_image_runs_the_command_as_nobody() -> None:
    (user,) = (one.rest for one in LAST if one.word == "USER")
    assert all(int(number) > 0 for number in user.split(":")), "a number: an orchestrator can see that it is not root"
    (entry,) = (one.words for one in LAST if one.word == "ENTRYPOINT")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert entry == list(project["scripts"])
    assert not [one for one in LAST if one.word == "RUN"], "the last stage only copies"


def test_what_is_copied_is_there_and_not_ignored() -> None:
    stages = [one.rest.partition(" AS ")[2] for one in INSTRUCTIONS if one.word == "FROM"]
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    for one in (one for one in INSTRUCTIONS if one.word == "COPY"):
        words = one.rest.split()
        options = dict(word[2:].split("=") for word in words if word.startswith("--"))
        sources = [word for word in words if not word.startswith("--")][:-1]
        if "from" in options:
            assert options["from"] in stages[: one.stage]
            continue
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source.removeprefix("./") in kept, f"{source} is ignored"
    assert not [name for name in kept if fnmatch.fnmatch(name, "*secret*")]


def test_every_download_is_held_to_a_hash() -> None:
    installs = [one.words for one in INSTRUCTIONS if one.word == "RUN" and {"install", "wheel"} & set(one.words[1:2])]
    assert len(installs) == 4
    for words in installs:
        without_download = {"--no-index", "--no-build-isolation"} & set(words) and "--no-deps" in words
        assert "--require-hashes" in words or without_download, words


def test_the_lock_of_the_image_is_the_part_of_the_lock_that_runs() -> None:
    everything, runtime = (_locked(ROOT / name) for name in ("requirements.lock", "deploy/requirements.lock"))
    assert runtime.items() <= everything.items(), "make lock"
    needed = _closure("afterstay") - {"afterstay"}
    assert needed <= set(runtime)
    for name in ("pytest", "mypy", "ruff", "hatchling", "trustme"):
        assert name not in runtime


def _locked(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the version and the hashes of each package."""
    text = path.read_text(encoding="utf-8")
    found = list(_PINNED.finditer(text))
    ends = [one.start() for one in found[1:]] + [len(text)]
    return {
        one[1]: (one[2], frozenset(_HASH.findall(text[one.end() : end]))) for one, end in zip(found, ends, strict=True)
    }


def _closure(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return what an installed distribution needs on this machine, all the way down."""
    found = {str(canonicalize_name(name))}
    for text in requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            found |= _closure(requirement.name, frozenset(requirement.extras))
    return found
