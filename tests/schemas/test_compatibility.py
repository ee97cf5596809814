"""Goal: a change of the event that breaks a replay or a reader one release behind is told from one that does not."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from schemas.compatibility import incompatibilities
from schemas.export import event_schema, render

Change = Callable[[dict[str, Any]], None]


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render(event_schema()))
    return found


def part(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda root: root["$defs"][name]


def properties(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda root: root["$defs"][name]["properties"]


def set_in(name: str, **fields: Any) -> Change:
    return lambda root: properties(name)(root).update(fields)


def broken_by(change: Change) -> set[tuple[str, str]]:
    old, new = schema(), schema()
    change(new)
    return {(one.breaks, one.path) for one in incompatibilities(old, new)}


OPTIONAL_TEXT = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}


def test_no_change_breaks_nobody() -> None:
    assert incompatibilities(schema(), schema()) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(set_in("Visit", bed=OPTIONAL_TEXT), id="an optional field more"),
        pytest.param(
            lambda root: (
                root["$defs"].update(Bed={"type": "object", "properties": {}, "required": []})
                or properties("Visit")(root).update(bed={"anyOf": [{"$ref": "#/$defs/Bed"}, {"type": "null"}]})
            ),
            id="an optional part more",
        ),
        pytest.param(lambda root: properties("AdtEvent")(root)["feed"].update(description="other words"), id="words"),
        pytest.param(lambda root: part("Visit")(root).update(title="Stay"), id="a title"),
    ],
)
def test_what_readers_may_overlook_breaks_nobody(change: Change) -> None:
    assert broken_by(change) == set()


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        pytest.param(
            lambda root: (
                properties("AdtEvent")(root).update(site={"type": "string"})
                or part("AdtEvent")(root)["required"].append("site")
            ),
            {("replay", "AdtEvent.site")},
            id="a required field more",
        ),
        pytest.param(
            lambda root: part("Visit")(root)["required"].append("reason"),
            {("replay", "Visit.reason")},
            id="an optional field that is required now",
        ),
        pytest.param(
            lambda root: part("Timestamp")(root)["required"].remove("zone"),
            {("reader-behind", "Timestamp.zone")},
            id="a required field that may be left out now",
        ),
        pytest.param(
            lambda root: properties("Visit")(root).pop("reason"),
            {("reader-behind", "Visit.reason")},
            id="a field that is gone",
        ),
        pytest.param(
            set_in("Visit", reason={"type": "null", "default": None}),
            {("replay", "Visit.reason")},
            id="a type narrowed",
        ),
        pytest.param(
            set_in("AdtEvent", normalizer={"anyOf": [{"type": "integer"}, {"type": "string"}]}),
            {("reader-behind", "AdtEvent.normalizer")},
            id="a type widened",
        ),
        pytest.param(
            set_in("AdtEvent", normalizer={"type": "string"}),
            {("replay", "AdtEvent.normalizer"), ("reader-behind", "AdtEvent.normalizer")},
            id="another type",
        ),
        pytest.param(
            lambda root: properties("AdtEvent")(root)["kind"]["enum"].remove("merged"),
            {("replay", "AdtEvent.kind")},
            id="a value of a closed set removed",
        ),
        pytest.param(
            lambda root: properties("AdtEvent")(root)["kind"]["enum"].append("split"),
            {("reader-behind", "AdtEvent.kind")},
            id="a value of a closed set added",
        ),
        pytest.param(
            lambda root: (
                properties("AdtEvent")(root)["kind"].pop("enum")
                and properties("AdtEvent")(root)["kind"].update(type="string")
            ),
            {("reader-behind", "AdtEvent.kind")},
            id="a closed set opened",
        ),
        pytest.param(
            set_in("AdtEvent", event_id={"type": "string", "minLength": 36}),
            {("replay", "AdtEvent.event_id")},
            id="a limit",
        ),
        pytest.param(
            lambda root: properties("Timestamp")(root)["at"].pop("format"),
            {("reader-behind", "Timestamp.at")},
            id="a format lifted",
        ),
        pytest.param(
            lambda root: properties("Processing")(root)["admitted"].update(default=True),
            {("replay", "Processing.admitted"), ("reader-behind", "Processing.admitted")},
            id="what a field means when it is left out",
        ),
        pytest.param(
            lambda root: properties("Patient")(root)["names"]["items"].update({"$ref": "#/$defs/Address"}),
            {("reader-behind", f"PersonName.{field}") for field in ("family", "given", "middle", "suffix")},
            id="other items in a list",
        ),
    ],
)
def test_each_break_is_told_with_whom_it_breaks_and_where(change: Change, broken: set[tuple[str, str]]) -> None:
    assert broken_by(change) == broken


def test_a_schema_that_contains_itself_is_compared_once() -> None:
    tree = {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "required": [],
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
            },
        },
    }
    stricter = copy.deepcopy(tree)
    stricter["$defs"]["Node"]["required"] = ["next"]  # type: ignore[index]
    assert incompatibilities(tree, tree) == []
    assert [str(one) for one in incompatibilities(tree, stricter)] == [
        "Node.next: is required and may be left out (replay)"
    ]
