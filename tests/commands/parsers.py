"""The grammar as tests walk it: every verb with its parser."""

import argparse
from collections.abc import Iterator

from services.commands.grammar import build_parser
from services.commands.parser import Parser


def verbs(environ: dict[str, str] | None = None) -> dict[str, Parser]:
    """Return the parser of each verb that does something, by its words (`tasks ls`)."""
    return dict(_walk("", build_parser(environ or {})))


def _walk(words: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, Parser]]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        assert isinstance(parser, Parser)
        yield words, parser
    for action in below:
        for name, child in action.choices.items():
            yield from _walk(f"{words} {name}".strip(), child)


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long flags of a verb, and the short ones that have no long one."""
    return {
        next((one for one in action.option_strings if one.startswith("--")), action.option_strings[0])
        for action in parser._actions
        if action.option_strings and "--help" not in action.option_strings
    }
