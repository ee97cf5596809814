"""Goal: the types and the JSON Schema accept and refuse the same, on examples that other teams read.

Every valid example decodes and validates; every invalid one, named for its fault, does neither.
"""

import json
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest

from schemas.events import AdtEvent, decode_event, encode_event
from schemas.export import SCHEMA_FILE

EXAMPLES = SCHEMA_FILE.parent / "examples" / "v1"
VALID = sorted((EXAMPLES / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))

formats = jsonschema.FormatChecker(formats=["date"])


@formats.checks("date-time", raises=ValueError)
def is_instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=formats)


def name_of(file: Path) -> str:
    return file.stem


@pytest.mark.parametrize("file", VALID, ids=name_of)
def test_a_valid_example_decodes_and_validates(file: Path, validator: jsonschema.Draft202012Validator) -> None:
    raw = file.read_bytes()
    event = decode_event(raw)
    assert list(validator.iter_errors(json.loads(raw))) == []
    assert json.loads(encode_event(event)) == json.loads(raw), "nothing is lost on the way through"


@pytest.mark.parametrize("file", INVALID, ids=name_of)
def test_an_invalid_example_does_neither(file: Path, validator: jsonschema.Draft202012Validator) -> None:
    raw = file.read_bytes()
    with pytest.raises(ValueError, match=r"."):
        decode_event(raw)
    assert list(validator.iter_errors(json.loads(raw)))


def test_the_examples_show_every_outcome_of_intake() -> None:
    outcomes = {decode_event(file.read_bytes()).intake.outcome for file in VALID}
    assert outcomes == {"accepted", "not_for_us", "unusable", "unknown_feed", "unreadable"}
    assert len(INVALID) >= 8


def test_a_reader_one_version_behind_ignores_what_it_does_not_know(validator: jsonschema.Draft202012Validator) -> None:
    document = json.loads(VALID[0].read_bytes())
    document |= {"added_later": 1}
    document["patient"] |= {"added_later": [1]}
    assert isinstance(decode_event(json.dumps(document).encode()), AdtEvent)
    assert list(validator.iter_errors(document)) == []
