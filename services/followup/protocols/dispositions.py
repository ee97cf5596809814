"""Reads the dispositions of a protocol file: which discharge codes ask for what.

Promise: each two-digit code has one meaning, one group says what all other codes mean, and each action has exactly
the keys that it uses. Source: NUBC FL17, whose codes 81 to 95 repeat others with a planned readmission.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, get_args

from services.followup.domain.protocol_rules import (
    Action,
    AwaitArrival,
    DispositionRule,
    Follow,
    Hold,
    NoFollowUp,
    Review,
    Wait,
)
from services.followup.domain.tasks import Priority
from services.followup.protocols.strict_yaml import Item

WAIT_HOURS_MAX = 24 * 31
WAIT_DAYS_MAX = 183

_KEBAB = r"[a-z0-9]+(-[a-z0-9]+)*"
_OTHERWISE = "otherwise"
_PRIORITIES: Final[dict[str, Priority]] = {priority: priority for priority in get_args(Priority)}
# The keys that each action needs and may have, beside its codes.
_KEYS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "follow": ((), ("priority", "warning")),
    "follow-same-day": (("kinds",), ("priority", "warning")),
    "hold": (("reason", "wait", "overdue"), ("warning",)),
    "await-arrival": (("reason", "text", "wait", "overdue"), ()),
    "suppress": (("reason", "text"), ()),
    "not-a-discharge": (("reason", "text"), ()),
    "review": (("reason", "text"), ()),
}

Kinds = Mapping[str, str]


def read_dispositions(
    item: Item, *, kinds: Kinds, planned_warning: str
) -> tuple[Mapping[str, DispositionRule], DispositionRule]:
    """Return the rule of each code, and the rule of every other code.

    Raises:
        ConfigurationError: an entry is wrong, a code stands twice, or not exactly one entry is for all other codes.
    """
    rules: dict[str, DispositionRule] = {}
    otherwise: list[DispositionRule] = []
    for name, group in item.mapping().items():
        entries = _group(group)
        rule = _rule(name, entries, kinds)
        planned = replace(rule, warnings=(*rule.warnings, planned_warning))
        if entries["codes"].is_scalar:
            entries["codes"].choice({_OTHERWISE: None})
            otherwise.append(rule)
        else:
            _add(rules, entries["codes"], rule)
        if "planned" in entries:
            _add(rules, entries["planned"], planned)
    if len(otherwise) != 1:
        raise item.refusal(f"one entry, and not {len(otherwise)}, has to say `codes: {_OTHERWISE}`")
    return MappingProxyType(rules), otherwise[0]


def _add(rules: dict[str, DispositionRule], codes: Item, rule: DispositionRule) -> None:
    for code in codes.sequence():
        value = code.match(r"[0-9]{2}", "a two-digit code")
        if value in rules:
            raise code.refusal(f"the code {value} is given to {rules[value].name} already")
        rules[value] = rule


def _group(item: Item) -> dict[str, Item]:
    """Return the entries of one group, which depend on its action."""
    action = item.mapping().get("action")
    if action is None:
        raise item.refusal("missing: action")
    required, optional = action.choice(_KEYS)
    return item.record(required=("codes", "action", *required), optional=("planned", *optional))


def _rule(name: str, entries: Mapping[str, Item], kinds: Kinds) -> DispositionRule:
    warnings = (entries["warning"].text(),) if "warning" in entries else ()
    return DispositionRule(name=name, action=_action(entries, kinds), warnings=warnings)


def _action(entries: Mapping[str, Item], kinds: Kinds) -> Action:
    match entries["action"].text():
        case "follow":
            return Follow(priority=_priority(entries))
        case "follow-same-day":
            same_day = frozenset(kind.choice(kinds) for kind in entries["kinds"].sequence())
            return Follow(priority=_priority(entries), same_day=same_day)
        case "hold":
            return Hold(reason=_reason(entries), wait=_wait(entries["wait"]), overdue=entries["overdue"].text())
        case "await-arrival":
            return AwaitArrival(
                reason=_reason(entries),
                text=entries["text"].text(),
                wait=_wait(entries["wait"]),
                overdue=entries["overdue"].text(),
            )
        case "review":
            return Review(reason=_reason(entries), text=entries["text"].text())
        case _:  # suppress, not-a-discharge
            return NoFollowUp(reason=_reason(entries), text=entries["text"].text())


def _priority(entries: Mapping[str, Item]) -> Priority:
    return entries["priority"].choice(_PRIORITIES) if "priority" in entries else "routine"


def _reason(entries: Mapping[str, Item]) -> str:
    return entries["reason"].match(_KEBAB, "a reason in lower-case words with hyphens")


def _wait(item: Item) -> Wait:
    entries = item.record(optional=("hours", "days"))
    match list(entries.items()):
        case [("hours", count)]:
            return Wait(unit="hours", count=count.integer(minimum=1, maximum=WAIT_HOURS_MAX))
        case [("days", count)]:
            return Wait(unit="days", count=count.integer(minimum=1, maximum=WAIT_DAYS_MAX))
        case _:
            raise item.refusal("give either hours or days")
