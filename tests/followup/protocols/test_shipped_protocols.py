from importlib import resources

import pytest

from services.followup.protocols.loading import ProtocolFile, load_file, protocol_names, read_protocol
from services.followup.protocols.strict_yaml import Item
from services.runtime.errors import ConfigurationError
from tests.support.protocol_examples import differences

EXAMPLES = [
    pytest.param(name, example, id=f"{name}: {example.mapping()['name'].text()}")
    for name in protocol_names()
    for example in load_file(name).examples.sequence()
]


def example_changed(old: str, new: str) -> ProtocolFile:
    """Transitional care with the first `old` among its examples replaced."""
    source = "transitional-care.yaml"
    text = resources.files("services.followup.protocols").joinpath(source).read_text(encoding="utf-8")
    rules, marker, examples = text.partition("\nexamples:\n")
    assert old in examples
    return read_protocol(rules + marker + examples.replace(old, new, 1), source)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_a_shipped_example_is_what_the_protocol_does(name: str, example: Item) -> None:
    assert differences(load_file(name), example) == []


@pytest.mark.parametrize("name", protocol_names())
def test_every_group_of_dispositions_has_an_example(name: str) -> None:
    file = load_file(name)
    examples = [example.mapping() for example in file.examples.sequence()]
    codes = [entries["disposition"].text() if "disposition" in entries else None for entries in examples]
    shown = {file.protocol.disposition_rule(code).name for code in codes}
    groups = {rule.name for rule in (*file.protocol.dispositions.values(), file.protocol.otherwise)}
    assert shown == groups


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("due_on: 2026-11-17", "due_on: 2026-11-18"),
        ("priority: urgent", "priority: stat"),
        ("no_task: died", "no_task: hospice"),
        ("hold_reason: transferred", "hold_reason: post-acute"),
        ('warnings: ["verify destination"]', "warnings: []"),
        ('due_at: "2026-11-18T05:00:00Z"', 'due_at: "2026-11-18T04:00:00Z"'),
    ],
)
def test_an_example_that_says_something_else_is_noticed(old: str, new: str) -> None:
    file = example_changed(old, new)
    assert any(differences(file, example) for example in file.examples.sequence())


@pytest.mark.parametrize(
    ("old", "new"),
    [("due_on: 2026-11-17", "due_by: 2026-11-17"), ("no_task: died", "review: died"), ("contact:", "call:")],
)
def test_an_example_that_cannot_be_read_is_refused(old: str, new: str) -> None:
    file = example_changed(old, new)
    with pytest.raises(ConfigurationError):
        [differences(file, example) for example in file.examples.sequence()]
