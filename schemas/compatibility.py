"""Tells whether a change of a schema breaks somebody: whoever reads what is in the log, or reads one release behind.

Two questions, one answer each time as a list of what is in the way:
- **replay**: does the new schema take every document of the old one? Else the log cannot be read again.
- **reader-behind**: does the old schema take every document of the new one, and find in it what it found before? Else
  consumers have to be upgraded before listeners.

A change passes only if it can be shown to be harmless; what this module does not know counts as a break. It knows what
msgspec writes: objects that ignore unknown properties, arrays, alternatives, enumerations, references, limits.
Source: the notions of Confluent's schema registry, BACKWARD and FORWARD.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Schema = Mapping[str, Any]
Breaks = Literal["replay", "reader-behind"]

_PART: Final = "$part"
"""Where a reference led to, kept with what was found there."""
_WORDS: Final = {"title", "description", "$comment", "examples", "$schema", "$id", "$defs"}
_STRUCTURE: Final = {"type", "enum", "const", "properties", "required", "items", "prefixItems", "default"}
_UPPER_LIMITS: Final = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_LOWER_LIMITS: Final = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One thing in the way: whom it breaks, where (the part of the event and its field), and what changed."""

    breaks: Breaks
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what} ({self.breaks})"


def incompatibilities(old: Schema, new: Schema) -> list[Incompatibility]:
    """Return what the change from one schema to another breaks; empty if nothing."""
    replay = _Comparison(reader=new, writer=old, breaks="replay").run()
    behind = _Comparison(reader=old, writer=new, breaks="reader-behind").run()
    return [*replay, *behind]


class _Comparison:
    """Whether a reader's schema takes every document of a writer's."""

    def __init__(self, *, reader: Schema, writer: Schema, breaks: Breaks) -> None:
        self._reader = reader
        self._writer = writer
        self._breaks = breaks
        self._compared: set[tuple[str, str]] = set()  # a part that is used in many places is told of once

    def run(self) -> list[Incompatibility]:
        return list(self._compare(self._reader, self._writer, "event"))

    def _compare(self, reader: Schema, writer: Schema, path: str) -> Iterator[Incompatibility]:
        takes, gives = _alternatives(reader, self._reader), _alternatives(writer, self._writer)
        if reader.get("default") != writer.get("default") and "default" in reader and "default" in writer:
            yield self._break(path, f"left out, it meant {writer['default']!r} and is read as {reader['default']!r}")
        for given in gives:
            same = [taken for taken in takes if _kind(taken) == _kind(given)]
            if not same:
                yield self._break(path, f"{_kind(given)} is not taken")
                continue
            problems = [list(self._one(taken, given, path)) for taken in same]
            yield from min(problems, key=len)

    def _one(self, reader: Schema, writer: Schema, path: str) -> Iterator[Incompatibility]:
        if _PART in reader and _PART in writer:
            pair = reader[_PART], writer[_PART]
            if pair in self._compared:
                return
            self._compared.add(pair)
            path = pair[0]
        yield from self._values(reader, writer, path)
        yield from self._limits(reader, writer, path)
        yield from self._properties(reader, writer, path)
        if "items" in reader and isinstance(reader["items"], Mapping):
            yield from self._compare(reader["items"], writer.get("items") or {}, f"{path}[]")
        if len(reader.get("prefixItems", ())) != len(writer.get("prefixItems", ())):
            yield self._break(path, "the number of items changed")
        for number, (taken, given) in enumerate(
            zip(reader.get("prefixItems", ()), writer.get("prefixItems", ()), strict=False)
        ):
            yield from self._compare(taken, given, f"{path}[{number}]")

    def _values(self, reader: Schema, writer: Schema, path: str) -> Iterator[Incompatibility]:
        taken, given = _values_of(reader), _values_of(writer)
        if taken is None:
            return
        if given is None:
            yield self._break(path, "only certain values are taken")
            return
        for value in given:
            if value not in taken:
                yield self._break(path, f"the value {value!r} is not taken")

    def _limits(self, reader: Schema, writer: Schema, path: str) -> Iterator[Incompatibility]:
        for name, limit in reader.items():
            given = writer.get(name)
            if name in _WORDS | _STRUCTURE | {_PART} or given == limit:
                continue
            if given is not None and name in _UPPER_LIMITS and given <= limit:
                continue
            if given is not None and name in _LOWER_LIMITS and given >= limit:
                continue
            yield self._break(path, f"{name} {limit!r} was {given!r}")

    def _properties(self, reader: Schema, writer: Schema, path: str) -> Iterator[Incompatibility]:
        given = writer.get("properties", {})
        for name in reader.get("required", ()):
            if name not in writer.get("required", ()):
                yield self._break(f"{path}.{name}", "is required and may be left out")
        for name, taken in reader.get("properties", {}).items():
            if name in given:
                yield from self._compare(taken, given[name], f"{path}.{name}")
            elif self._breaks == "reader-behind":
                yield self._break(f"{path}.{name}", "is no longer sent")

    def _break(self, path: str, what: str) -> Incompatibility:
        return Incompatibility(self._breaks, path, what)


def _alternatives(schema: Schema, root: Schema) -> list[Schema]:
    """Return what a schema allows, one kind each, with references followed."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [{**one, _PART: name} for one in _alternatives(root["$defs"][name], root)]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return [one for alternative in schema[word] for one in _alternatives(alternative, root)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    if "enum" in schema and None in schema["enum"] and len(schema["enum"]) > 1:
        return [{**schema, "enum": [value for value in schema["enum"] if value is not None]}, {"type": "null"}]
    return [schema]


def _kind(schema: Schema) -> str:
    """Return what sort of value a schema without alternatives describes."""
    if "type" in schema:
        return str(schema["type"])
    values = _values_of(schema)
    if values:
        return {str: "string", bool: "boolean", int: "integer", type(None): "null"}.get(type(values[0]), "anything")
    return "anything"


def _values_of(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None
