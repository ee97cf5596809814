"""YAML read by its node graph: every value by type and as written, every fault noted with its line.

Not by loaded values, since loading loses the line, lets the last of two equal keys win, and turns a facility code 0012
into a number and NO into a boolean. What is wrong is noted and stands for "nothing", so that reading goes on and all of
it is told at once. Depth is bounded by who reads, so anchors and aliases are safe, also recursive ones.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import yaml

_NULL_TAG: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend; ``line`` counts from 1 and is ``None`` where the whole file is meant."""

    line: int | None
    reason: str


class NodeReader:
    """Reads nodes of one document and collects what is wrong in it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def compose(self, data: bytes) -> yaml.Node | None:
        """Return the root of the one document in a text; an empty one is a problem too."""
        try:
            root = yaml.compose(data, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.problems.append(
                Problem(line=mark.line + 1 if mark else None, reason=f"not YAML: {error.problem or error.context}")
            )
            return None
        except yaml.YAMLError:
            self.problems.append(Problem(line=None, reason="not YAML: it holds bytes that are no text in UTF-8"))
            return None
        if root is None:
            self.problems.append(Problem(line=None, reason="is empty"))
        return root

    def text(self, node: yaml.Node, what: str) -> str | None:
        """Return a text as written, trimmed: 0012 and NO are texts, a list, a blank and nothing at all are not."""
        if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL_TAG:
            self.refuse(node, f"{what} has to be a text")
            return None
        text = str(node.value).strip()
        if not text:
            self.refuse(node, f"{what} must not be blank; leave it out instead")
        return text or None

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the items of a list."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.refuse(node, f"{what} has to be a list")
        return []

    def record(self, node: yaml.Node, what: str, known: Collection[str]) -> dict[str, yaml.Node] | None:
        """Return the values by key; keys are ``known`` ones, each once."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{what} has to be keys with their values: {', '.join(known)}")
            return None
        entries: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            if key not in known:
                self.refuse(key_node, f"unknown key {key!r} in {what}; known here: {', '.join(sorted(known))}")
            elif key in entries:
                self.refuse(key_node, f"the key {key!r} is given twice in {what}")
            else:
                entries[key] = value
        return entries

    def table(self, node: yaml.Node, what: str) -> dict[str, yaml.Node]:
        """Return the values by code, as written; two codes that differ in case only are one too many."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{what} has to be codes with their values")
            return {}
        entries: dict[str, yaml.Node] = {}
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            code = self.text(key_node, f"a code of {what}")
            if code is None:
                continue
            if code.upper() in seen:
                self.refuse(key_node, f"{code!r} stands in {what} already, on line {seen[code.upper()]}")
            seen[code.upper()] = line_of(key_node)
            entries[code] = value
        return entries

    def refuse(self, node: yaml.Node, reason: str) -> None:
        """Note what is wrong with a node."""
        self.problems.append(Problem(line=line_of(node), reason=reason))


def line_of(node: yaml.Node) -> int:
    """Return the line a node begins on, from 1."""
    return int(node.start_mark.line) + 1
