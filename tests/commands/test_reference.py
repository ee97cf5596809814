"""docs/reference/cli.md says what the command takes: every verb, every flag, and nothing that is not there."""

import re
from pathlib import Path

import pytest

from services.commands import exit_codes
from tests.commands.parsers import flags_of, verbs

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## afterstay ([a-z ]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
VERBS = verbs()
SHARED_TEXT = TEXT[TEXT.index("### Where the data lies") : TEXT.index("### Exit codes")]
SHARED = set(re.findall(r"^\| `(--[a-z-]+)", SHARED_TEXT, re.MULTILINE))
EVERYWHERE = {"--debug"} | SHARED


def test_every_verb_has_its_section_in_the_order_of_the_help() -> None:
    assert list(SECTIONS) == list(VERBS)


@pytest.mark.parametrize("words", VERBS)
def test_every_flag_is_in_the_table_and_every_row_is_a_flag(words: str) -> None:
    told = set(re.findall(r"^\| `(--[a-z-]+)", SECTIONS[words], re.MULTILINE))
    assert told - SHARED == flags_of(VERBS[words]) - EVERYWHERE
    assert told <= flags_of(VERBS[words])


@pytest.mark.parametrize("words", VERBS)
def test_the_line_of_usage_names_every_flag_and_no_other(words: str) -> None:
    usage = re.search(r"^    afterstay .*?(?=\n\n)", SECTIONS[words], re.MULTILINE | re.DOTALL)
    assert usage is not None
    told = set(re.findall(r"(?<![a-z])--?[a-z][a-z-]*", usage[0]))
    parser = VERBS[words]
    assert told <= {one for action in parser._actions for one in action.option_strings}
    assert flags_of(parser) - EVERYWHERE - {"--verbose"} <= told


@pytest.mark.parametrize("words", VERBS)
def test_the_choices_of_a_flag_are_told(words: str) -> None:
    for action in VERBS[words]._actions:
        if action.choices is not None and "--outcome" not in action.option_strings:
            assert all(str(one) in SECTIONS[words] for one in action.choices), action.option_strings
    assert "`language-barrier`" in SECTIONS["tasks attempt"]


def test_settings_that_verbs_share_are_told_once_with_their_choices() -> None:
    shared = {
        action.option_strings[0]: action
        for parser in VERBS.values()
        for action in parser._actions
        if action.option_strings and action.option_strings[0] in SHARED
    }
    assert set(shared) == SHARED
    for parser in VERBS.values():
        assert parser.settings is not None
        for setting in parser.settings.known:
            if setting.flag in SHARED:
                assert all(f"`{choice}`" in SHARED_TEXT for choice in setting.choices), setting.flag


def test_every_exit_code_is_in_the_table() -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert set(map(int, re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE))) == codes
