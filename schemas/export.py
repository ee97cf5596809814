"""The contract's documents: generated from the types, committed, reviewed as a diff.

Owns ``adt_event.v1.schema.json`` and ``asyncapi.yaml`` beside it. Promises: the committed files say what the types and
the docstrings of their fields say, and ``--check``, which the tests run, fails when they do not; and a change that
breaks readers is neither accepted by ``--check`` nor written (``schemas.compatibility``): an incompatible event is a
new version, with a new file beside this one. Source: msgspec; JSON Schema draft 2020-12.

    python -m schemas.export                  writes the files, unless the change breaks somebody
    python -m schemas.export --readers-first  as well if it breaks readers one release behind: upgrade them first
    python -m schemas.export --check          compares, exits 1 on drift
"""

import argparse
import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas import events
from schemas.asyncapi import asyncapi_document
from schemas.compatibility import Incompatibility, incompatibilities
from schemas.events import ADT_EVENT_VERSION, AdtEvent
from schemas.yaml_text import to_yaml

FOLDER: Final = Path(__file__).parent
SCHEMA_FILE: Final = FOLDER / f"adt_event.v{ADT_EVENT_VERSION}.schema.json"
ASYNCAPI_FILE: Final = FOLDER / "asyncapi.yaml"
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


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the documents, or with ``--check`` compare them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.export", description="Write the contract's documents.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file is out of date")
    parser.add_argument("--readers-first", action="store_true", help="consumers will be upgraded before listeners")
    options = parser.parse_args(arguments)
    documents = {
        SCHEMA_FILE.name: render(event_schema()),
        ASYNCAPI_FILE.name: to_yaml(asyncapi_document(SCHEMA_FILE.name)),
    }
    broken = [one for one in _broken(folder / SCHEMA_FILE.name) if one.breaks == "replay" or not options.readers_first]
    if broken:
        sys.stderr.write("the types no longer fit the committed schema; make a new version of the event instead:\n")
        sys.stderr.writelines(f"  {one}\n" for one in broken)
        return 1
    if options.check:
        return _drift(folder, documents)
    for name, text in documents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


def _broken(file: Path) -> list[Incompatibility]:
    if not file.exists():
        return []
    return incompatibilities(json.loads(file.read_text(encoding="utf-8")), json.loads(render(event_schema())))


def _drift(folder: Path, documents: Mapping[str, str]) -> int:
    drifted = [name for name, text in documents.items() if not _says(folder / name, text)]
    for name in drifted:
        sys.stderr.write(f"{name} does not say what the types say: run `python -m schemas.export`\n")
    return 1 if drifted else 0


def _says(file: Path, text: str) -> bool:
    return file.exists() and file.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
