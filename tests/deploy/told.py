"""Holds a command line in a deployment file to the grammar of the command itself: verbs, flags, names and values.

Paths of the target machine do not exist here: each is replaced by a file that does.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from services.commands.grammar import build_parser
from services.commands.parser import verbs_of
from services.commands.settings import ENVIRONMENT_PREFIX

TARGET_FILE: Final = re.compile(r"(/run/secrets|/etc/afterstay|%d)/[\w./-]+")
SETTINGS_FILE: Final = """
kafka = "127.0.0.1:9092"
database = "postgresql://afterstay@127.0.0.1:5432/afterstay"
"""


class Told:
    """What a deployment file tells the command: its words and its environment, checked and read.

    Attributes:
        arguments: What the command makes of it.
        verb: `ingest`, `topics create`.
    """

    def __init__(self, words: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        here = folder / "file-of-the-target"
        here.write_text(SETTINGS_FILE, encoding="ascii")
        self._environ = {name: _moved(value, here) for name, value in environ.items()}
        parser = build_parser(self._environ)
        try:
            self.arguments: Any = parser.parse_args([_moved(word, here) for word in words])
        except SystemExit:
            pytest.fail(f"the command refuses `{' '.join(words)}`: what it said stands above")
        settings = self.arguments.verb_parser.settings
        self.verb: str = settings.verb
        known = {setting.variable for setting in settings.known} | {f"{ENVIRONMENT_PREFIX}CONFIG"}
        unknown = {name for name in environ if name.startswith(ENVIRONMENT_PREFIX)} - known
        assert not unknown, f"`{self.verb}` does not know {unknown}"


def process_verbs() -> set[str]:
    """Return the verbs of the processes: those with an ops port."""
    verbs = [parser.settings for parser in verbs_of(build_parser({})) if parser.settings is not None]
    return {one.verb for one in verbs if "ops-port" in {setting.name for setting in one.known}}


def _moved(value: str, here: Path) -> str:
    return TARGET_FILE.sub(str(here), value)
