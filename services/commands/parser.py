"""How verbs are declared: argparse with our manners, and settings that may also come from elsewhere.

Light on purpose: `--help` of anything answers at once, so nothing heavy is loaded here.
"""

import argparse
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

from services.commands.exit_codes import USAGE
from services.commands.settings import UNSET, Need, Setting, Settings

Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for what add_subparsers returns


class Parser(argparse.ArgumentParser):
    """argparse where one line says what is wrong with the words, and a line each what is wrong with settings."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.settings: Settings | None = None

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the words and leave."""
        self.exit(USAGE, f"afterstay: {message}; see `{self.prog} --help`\n")

    def refuse(self, problems: Sequence[str]) -> NoReturn:
        """Say everything that is wrong with the settings and leave."""
        lines = [f"afterstay: {problem}; see `{self.prog} --help`\n" for problem in problems]
        self.exit(USAGE, "".join(lines))

    def add_setting(
        self,
        flag: str,
        *aliases: str,
        read: Callable[[str], Any] | None = str,
        default: Any = None,
        required: bool = False,
        several: bool = False,
        dest: str | None = None,
        **keywords: Any,
    ) -> None:
        """Declare a flag that may also come from the environment or the file; `read=None` makes it a switch."""
        assert self.settings is not None, "only a verb has settings"
        if read is None:
            keywords["action"] = "store_true"
        elif several:
            keywords["nargs"] = "+"
        name = dest or flag.removeprefix("--").replace("-", "_")
        choices = tuple(keywords.pop("choices", ()))
        if choices and read is not None:
            keywords.setdefault("metavar", "{" + ",".join(choices) + "}")
        self.add_argument(flag, *aliases, dest=name, default=UNSET, **keywords)
        self.settings.add(
            Setting(
                flag=flag, dest=name, read=read, default=False if read is None else default, required=required,
                choices=choices, several=several,
            )
        )  # fmt: skip

    def need(self, *groups: tuple[str, ...]) -> None:
        """Say which settings the verb cannot do without."""
        assert self.settings is not None, "only a verb has settings"
        self.settings.need = Need(groups=groups)


class RootParser(Parser):
    """The whole command: parses the words, then completes the settings of the verb that was found."""

    def __init__(self, environ: Mapping[str, str], **keywords: Any) -> None:
        super().__init__(**keywords)
        self._environ = environ

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the words as `namespace`, complete; leave with everything that is wrong with them."""
        found = super().parse_args(args, namespace)
        verb = cast("Parser | None", getattr(found, "verb_parser", None))
        if verb is not None and verb.settings is not None:
            problems = verb.settings.complete(found, self._environ, self._known())
            if problems:
                verb.refuse(problems)
        return found

    def _known(self) -> frozenset[str]:
        return frozenset(setting.name for parser in verbs_of(self) for setting in _settings_of(parser))


def verbs_of(parser: argparse.ArgumentParser) -> list[Parser]:
    """Return the parsers of all verbs below, families resolved."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    if not below:
        return [parser] if isinstance(parser, Parser) else []
    return [verb for action in below for child in action.choices.values() for verb in verbs_of(child)]


def _settings_of(parser: Parser) -> list[Setting]:
    return parser.settings.known if parser.settings is not None else []


def add_family(verbs: "Verbs[Parser]", name: str, summary: str) -> "Verbs[Parser]":
    """Declare a family of verbs: `afterstay tasks …`."""
    parser = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False)
    return parser.add_subparsers(metavar="VERB", title="verbs", required=True)


def add_verb(verbs: "Verbs[Parser]", name: str, handler: str, summary: str, more: str = "") -> Parser:
    """Declare a verb and which function does it."""
    description = f"{summary[0].upper()}{summary[1:]}.\n\n{more}".strip()
    parser = verbs.add_parser(
        name,
        help=summary,
        description="\n".join(map(textwrap.fill, description.split("\n"))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.settings = Settings(parser.prog.removeprefix("afterstay "))
    parser.set_defaults(handler=handler, verb_parser=parser)
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    return parser
