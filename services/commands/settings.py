"""Settings of verbs: by flag, by environment, by file, with the same names, and everything wrong told at once.

A setting is a flag that may also come from the environment variable `AFTERSTAY_` and its name, or from the TOML file
that `--config` names: there under its name, at the top for every verb or in a table of the verb's. The flag goes before
the environment and the environment before the file; in the file the verb's table goes before the top. Promise: what is
wrong anywhere (a value, an unknown name, something missing) is found in one go, each with where it stands.

Light on purpose, as `grammar` is: the TOML reader is loaded only where a file is named.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ENVIRONMENT_PREFIX: Final = "AFTERSTAY_"
CONFIG: Final = "config"
CONFIG_BYTES_MAX: Final = 1_048_576
"""A configuration has a page; more is some other file."""
UNSET: Final = object()
"""What argparse leaves where a flag was not given."""

_WORDS_OF_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its flag and what is read in its text.

    Attributes:
        flag: `--ops-port`; the name in the file is it without the dashes in front.
        dest: The attribute of `Arguments`.
        read: Makes the value of a text; raises ArgumentTypeError. `None` for a switch, which is true or false.
        default: Where nobody says anything.
        required: Whether somebody has to.
        choices: The only values, where there are few.
        several: Whether it holds a list of values, separated by commas in the environment.
    """

    flag: str
    dest: str
    read: Callable[[str], Any] | None
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    several: bool = False

    @property
    def name(self) -> str:
        """The name in the file."""
        return self.flag.removeprefix("--")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.name.replace("-", "_").upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a verb cannot do without: all settings of one of these groups, such as a folder, or log and database."""

    groups: tuple[tuple[str, ...], ...]

    def problem(self, given: Mapping[str, int]) -> str | None:
        """Say what is missing; `given` has the settings that somebody gave, by name, with how near they stand."""
        if any(all(name in given for name in group) for group in self.groups):
            return None
        ways = [" and ".join(f"--{name}" for name in group) for group in self.groups]
        return f"give {', or '.join(ways)}"


class Settings:
    """The settings of one verb, in the order of its help."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.known: list[Setting] = []
        self.need: Need | None = None

    def add(self, setting: Setting) -> None:
        """Declare one."""
        self.known.append(setting)

    def complete(
        self, arguments: argparse.Namespace, environ: Mapping[str, str], known_anywhere: frozenset[str]
    ) -> list[str]:
        """Give every setting its value on `arguments`; return everything that is wrong, a line each."""
        problems: list[str] = []
        file = self._file(arguments, environ, known_anywhere, problems)
        given: dict[str, int] = {}
        for setting in self.known:
            place, raw, nearness = self._find(setting, arguments, environ, file)
            if nearness:
                given[setting.name] = nearness
            value = setting.default
            if place is not None:
                value = _read(setting, place, raw, problems)
            elif setting.required:
                problems.append(f"{setting.flag} is missing (or {setting.variable}, or {setting.name!r} in --config)")
            setattr(arguments, setting.dest, value)
        self._settle_need(arguments, given, problems)
        return problems

    def _find(
        self, setting: Setting, arguments: argparse.Namespace, environ: Mapping[str, str], file: Mapping[str, Any]
    ) -> tuple[str | None, Any, int]:
        """Return where a setting is given, its raw value and how near that stands (3 flag, 2 environment, 1 file)."""
        flagged = getattr(arguments, setting.dest, UNSET)
        if flagged is not UNSET:
            return setting.flag, flagged, 3
        if environ.get(setting.variable):
            return setting.variable, environ[setting.variable], 2
        if setting.name in file:
            return f"{setting.name!r} in the --config file", file[setting.name], 1
        return None, None, 0

    def _settle_need(self, arguments: argparse.Namespace, given: dict[str, int], problems: list[str]) -> None:
        """Of two ways to say where the data lies the nearer one counts; two as near contradict each other."""
        if self.need is None:
            return
        groups = self.need.groups
        nearest = [max((given.get(name, 0) for name in group), default=0) for group in groups]
        best = max(nearest)
        chosen = [group for group, near in zip(groups, nearest, strict=True) if near == best and near]
        if len(chosen) > 1 and not any(set(one) <= set(other) for one in chosen for other in chosen if one != other):
            problems.append(f"{' and '.join(f'--{group[0]}' for group in chosen)} contradict each other: give one")
            return
        for group in groups:
            if group not in chosen:
                for name in set(group) - {one for taken in chosen for one in taken}:
                    setattr(arguments, name, None)
                    given.pop(name, None)
        if missing := self.need.problem(given):
            problems.append(missing)

    def _file(
        self,
        arguments: argparse.Namespace,
        environ: Mapping[str, str],
        known_anywhere: frozenset[str],
        problems: list[str],
    ) -> Mapping[str, Any]:
        named = getattr(arguments, CONFIG, None) or environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
        path = Path(named) if named else None
        setattr(arguments, CONFIG, path)
        if path is None:
            return {}
        try:
            return _read_file(path, self.verb, {one.name for one in self.known}, known_anywhere, problems)
        except ValueError as error:
            problems.append(str(error))
            return {}


def _read_file(
    path: Path, verb: str, own: set[str], known_anywhere: frozenset[str], problems: list[str]
) -> dict[str, Any]:
    """Return what a file says to a verb: the top and then the verb's own table.

    Raises:
        ValueError: it cannot be read, or is no TOML.
    """
    import tomllib  # noqa: PLC0415 - only where a file is named

    try:
        with path.open("rb") as stream:
            text = stream.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"--config {path} cannot be read: {error.strerror}") from error
    if len(text) > CONFIG_BYTES_MAX:
        raise ValueError(f"--config {path} is larger than {CONFIG_BYTES_MAX} bytes; is it the right file?")
    try:
        content = tomllib.loads(text.decode("utf-8"))
    except ValueError as error:  # of the encoding or of TOML; both say where
        raise ValueError(f"--config {path} is not TOML: {error}") from error
    top = {_name(key): value for key, value in content.items() if not isinstance(value, dict)}
    tables = {_name(key): value for key, value in content.items() if isinstance(value, dict)}
    problems += [f"{path}: {name!r} is no setting" for name in sorted(top.keys() - known_anywhere)]
    table = {_name(key): value for key, value in tables.get(verb, {}).items()}
    problems += [f"{path}: {name!r} in [{verb}] is no setting of it" for name in sorted(table.keys() - own)]
    return {name: value for name, value in (top | table).items() if name in own}


def _name(key: str) -> str:
    return key.replace("_", "-")


def _read(setting: Setting, place: str, raw: object, problems: list[str]) -> object:
    try:
        return _value(setting, raw)
    except argparse.ArgumentTypeError as error:
        problems.append(f"{place}: {error}")
        return setting.default


def _value(setting: Setting, raw: object) -> object:
    if setting.read is None:
        return _truth(raw)
    if setting.several:
        parts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list | tuple):
            raise argparse.ArgumentTypeError("it must be a list")
        return [_one(setting, part) for part in parts]
    return _one(setting, raw)


def _one(setting: Setting, raw: object) -> object:
    if isinstance(raw, bool | list | dict) or not isinstance(raw, str | int | float):
        raise argparse.ArgumentTypeError("it must be a text or a number")
    text = str(raw).strip()
    if setting.choices and text not in setting.choices:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(setting.choices)}")
    assert setting.read is not None
    return setting.read(text)


def _truth(raw: object) -> bool:
    found = raw if isinstance(raw, bool) else _WORDS_OF_TRUTH.get(str(raw).lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{raw!r} is neither true nor false")
    return found
