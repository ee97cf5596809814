"""YAML read strictly: every value is asked for by type, and a refusal names file, line and reason.

Works on the node graph and not on loaded values, since loading loses the line, lets the last of two equal keys win
and turns an unquoted 07 or NO into something else. Promise: whatever the text, the answer is a value of the type
asked for or a `ConfigurationError`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from services.runtime.errors import ConfigurationError, ConfigurationProblem

T = TypeVar("T")

_TAGS = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,8}")  # YAML also reads 0x1F, 1_000 and 1:30 as integers; nobody means them


ERROR_CODE = "protocol-file-invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One value of a YAML file, with its place in it."""

    source: str
    path: str
    line: int
    node: yaml.Node

    def refusal(self, reason: str) -> ConfigurationError:
        """Return the error that says what is wrong with this value."""
        reason = f"{self.path}: {reason}" if self.path else reason
        return _error(self.source, self.line, reason)

    @property
    def is_scalar(self) -> bool:
        """Whether this is one value, not a list or keys and values."""
        return isinstance(self.node, yaml.ScalarNode)

    def mapping(self) -> dict[str, "Item"]:
        """Return the values by key, in the order of the file."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.refusal("expected keys and values")
        entries: dict[str, Item] = {}
        for key_node, value_node in self.node.value:
            line = key_node.start_mark.line + 1
            key = Item(source=self.source, path=self.path, line=line, node=key_node).text()
            path = f"{self.path}.{key}" if self.path else key
            entry = Item(source=self.source, path=path, line=line, node=value_node)
            if key in entries:
                raise entry.refusal("the key is given twice")
            entries[key] = entry
        return entries

    def record(self, *, required: Collection[str] = (), optional: Collection[str] = ()) -> dict[str, "Item"]:
        """Return the values by key, all `required` ones and no unknown one."""
        entries = self.mapping()
        for key, entry in entries.items():
            if key not in required and key not in optional:
                known = ", ".join(sorted({*required, *optional}))
                raise entry.refusal(f"unknown key {key!r}; known here: {known}")
        missing = [key for key in required if key not in entries]
        if missing:
            raise self.refusal(f"missing: {', '.join(sorted(missing))}")
        return entries

    def sequence(self) -> list["Item"]:
        """Return the values of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.refusal("expected a list")
        return [
            Item(source=self.source, path=f"{self.path}[{index}]", line=node.start_mark.line + 1, node=node)
            for index, node in enumerate(self.node.value)
        ]

    def text(self) -> str:
        """Return a text that is not blank."""
        value = self._scalar("str", "a text; put it in quotes")
        if not value.strip():
            raise self.refusal("must not be blank")
        return value

    def choice(self, options: Mapping[str, T]) -> T:
        """Return what the text stands for, which is a key of `options`."""
        value = self.text()
        if value not in options:
            raise self.refusal(f"{value!r} is not one of: {', '.join(sorted(options))}")
        return options[value]

    def match(self, pattern: str, meaning: str) -> str:
        """Return a text that is `pattern` as a whole; `meaning` says in words what that is."""
        value = self.text()
        if re.fullmatch(pattern, value, re.ASCII) is None:
            raise self.refusal(f"{value!r} is not {meaning}")
        return value

    def integer(self, *, minimum: int, maximum: int) -> int:
        """Return a decimal whole number from `minimum` to `maximum`."""
        value = self._scalar("int", "a whole number")
        if _DECIMAL.fullmatch(value) is None or not minimum <= int(value) <= maximum:
            raise self.refusal(f"{value} is not a whole number from {minimum} to {maximum}")
        return int(value)

    def _scalar(self, kind: str, expected: str) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != _TAGS + kind:
            raise self.refusal(f"expected {expected}")
        return str(self.node.value)


def read_document(text: str, source: str) -> Item:
    """Return the one document of a YAML text; `source` is the file's name as people know it.

    Raises:
        ConfigurationError: not YAML, or not exactly one document.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _error(source, mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise _error(source, 1, "holds a character that YAML forbids") from None
    if node is None:
        raise _error(source, 1, "the file is empty")
    return Item(source=source, path="", line=1, node=node)


def _error(source: str, line: int, reason: str) -> ConfigurationError:
    problem = ConfigurationProblem(file=Path(source), line=line, reason=reason)
    return ConfigurationError([problem], code=ERROR_CODE)
