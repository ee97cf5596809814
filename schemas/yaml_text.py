"""Writes plain data as YAML: mappings, lists and JSON's scalars, nothing that a YAML reader could take otherwise.

The contract imports no framework, and writing needs no library: a scalar is written as JSON writes it, which is YAML.
Source: YAML 1.2, of which JSON is a part.
"""

import json
from collections.abc import Iterator, Mapping, Sequence


def to_yaml(value: Mapping[str, object]) -> str:
    """Return a mapping as block YAML in its own order."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _mapping(value: Mapping[str, object]) -> Iterator[str]:
    for key, content in value.items():
        yield from _entry(f"{_scalar(key)}:", content)


def _sequence(value: Sequence[object]) -> Iterator[str]:
    for content in value:
        yield from _entry("-", content)


def _entry(head: str, content: object) -> Iterator[str]:
    match content:
        case dict() if content:
            yield head
            yield from (f"  {line}" for line in _mapping(content))
        case list() if content:
            yield head
            yield from (f"  {line}" for line in _sequence(content))
        case _:
            yield f"{head} {_scalar(content)}"


def _scalar(value: object) -> str:
    if isinstance(value, str) and value.isidentifier() and value not in {"true", "false", "null", "yes", "no", "on"}:
        return value
    return json.dumps(value, ensure_ascii=False)
