"""The contract's JSON Schema: generated from the types, committed, reviewed as a diff.

Owns ``adt_event.v1.schema.json`` beside it. Promise: the committed file says what the types and the docstrings of their
fields say, and ``--check``, which the tests run, fails when it does not. Source: msgspec; JSON Schema draft 2020-12.

    python -m schemas.export           writes the file
    python -m schemas.export --check   compares, exits 1 on drift
"""

import argparse
import ast
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas import events
from schemas.events import ADT_EVENT_VERSION, AdtEvent

SCHEMA_FILE: Final = Path(__file__).with_name(f"adt_event.v{ADT_EVENT_VERSION}.schema.json")
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema of AdtEvent v1."""
    (root,), definitions = msgspec.json.schema_components([AdtEvent], ref_template="#/$defs/{name}")
    for part, field, source in _field_docs():
        definitions[part]["properties"][field]["description"] = source
    return {
        "$schema": DIALECT,
        "$id": f"urn:afterstay:adt-event:v{ADT_EVENT_VERSION}",
        **root,
        "$defs": definitions,
    }


def _field_docs() -> Iterator[tuple[str, str, str]]:
    """Yield part, field and docstring of every documented field, which msgspec does not see; they name the sources."""
    names = {
        part.__name__: dict(zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True))
        for part in _parts()
    }
    for part in ast.parse(inspect.getsource(events)).body:
        if not isinstance(part, ast.ClassDef) or part.name not in names:
            continue
        for field, doc in pairwise(part.body):
            match field, doc:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    yield part.name, names[part.name][name], inspect.cleandoc(text)


def _parts() -> list[type[msgspec.Struct]]:
    found = [value for value in vars(events).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)]
    return [part for part in found if not part.__name__.startswith("_")]


def render(schema: dict[str, Any]) -> str:
    """Return a schema as text that changes only when it does: sorted keys, one way of breaking lines."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None, file: Path = SCHEMA_FILE) -> int:
    """Write the schema, or with ``--check`` compare it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.export", description="Write the contract's JSON Schema.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the file is out of date")
    wanted = render(event_schema())
    if not parser.parse_args(arguments).check:
        file.write_text(wanted, encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == wanted:
        return 0
    sys.stderr.write(f"{file.name} does not say what the types say: run `python -m schemas.export`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
