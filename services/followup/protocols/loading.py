"""Reads the shipped protocol files into the domain's types, strictly.

Promise: a `Protocol` that comes from here can be applied: no unknown key, no wrong type, no impossible value, no
code with two meanings; anything else is a `ConfigurationError` that names file, line and reason.
"""

from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from math import ceil
from typing import Final

from services.followup.domain.protocol_rules import (
    KINDS,
    AwaitArrival,
    BusinessDays,
    DispositionRule,
    Hold,
    HolidayTable,
    Offset,
    Protocol,
    TaskRule,
)
from services.followup.protocols.dispositions import read_dispositions
from services.followup.protocols.strict_yaml import Item, read_document
from services.runtime.errors import Permanent

SUFFIX = ".yaml"
HOURS_A_DAY = 24

# Bounds that catch a slip of the pen; no program that follows people home runs longer than half a year.
SERVICE_PERIOD_DAYS_MAX = 183
BUSINESS_DAYS_MAX = 60
AHEAD_HOURS_MAX = 24 * 31
SKEW_MINUTES_MAX = 24 * 60
VERSION_MAX = 999_999

_KEYS = (
    "name",
    "version",
    "title",
    "business_days",
    "service_period_days",
    "ahead",
    "inferred_warning",
    "classes",
    "tasks",
    "planned_readmission_warning",
    "dispositions",
    "examples",
)
_KEBAB = r"[a-z0-9]+(-[a-z0-9]+)*"
_CLASS_CODE = r"[A-Z0-9]+"
_HOLIDAYS: Final[dict[str, HolidayTable]] = {"us-federal": "us-federal", "none": "none"}
_CLOSURES: Final = {"practice": True, "ignored": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFile:
    """A protocol and the part of its file that holds its examples."""

    protocol: Protocol
    examples: Item


def protocol_names() -> tuple[str, ...]:
    """Return the names of the shipped protocols."""
    files = resources.files("services.followup.protocols").iterdir()
    return tuple(sorted(file.name.removesuffix(SUFFIX) for file in files if file.name.endswith(SUFFIX)))


def load_protocol(name: str) -> Protocol:
    """Return a shipped protocol.

    Raises:
        Permanent: there is none of that name.
        ConfigurationError: its file is wrong.
    """
    return load_file(name).protocol


def load_file(name: str) -> ProtocolFile:
    """Return a shipped protocol with its examples; raises as `load_protocol`."""
    known = protocol_names()
    if name not in known:
        raise Permanent("protocol-unknown", f"There is no protocol {name!r}; known: {', '.join(known)}.")
    source = name + SUFFIX
    text = resources.files("services.followup.protocols").joinpath(source).read_text(encoding="utf-8")
    return read_protocol(text, source)


def read_protocol(text: str, source: str) -> ProtocolFile:
    """Return the protocol that the text of a file describes; `source` is the name of the file.

    Raises:
        ConfigurationError: it is wrong.
    """
    entries = read_document(text, source).record(required=_KEYS)
    name = entries["name"].match(_KEBAB, "a name in lower-case words with hyphens")
    if source != name + SUFFIX:
        raise entries["name"].refusal(f"a protocol of this name belongs in {name}{SUFFIX}")
    skew, ahead_max = _ahead(entries["ahead"])
    covered, other = _classes(entries["classes"])
    tasks = tuple(_task(kind, entry) for kind, entry in entries["tasks"].record(optional=KINDS).items())
    if not tasks:
        raise entries["tasks"].refusal("a protocol without tasks does nothing")
    dispositions, otherwise = read_dispositions(
        entries["dispositions"],
        kinds={task.kind: task.kind for task in tasks},
        planned_warning=entries["planned_readmission_warning"].text(),
    )
    service_period_days = entries["service_period_days"].integer(minimum=1, maximum=SERVICE_PERIOD_DAYS_MAX)
    for rule in (*dispositions.values(), otherwise):
        if _waits_days(rule) >= service_period_days:
            raise entries["dispositions"].refusal(f"{rule.name} waits until the service period is over")
    protocol = Protocol(
        name=name,
        version=entries["version"].integer(minimum=1, maximum=VERSION_MAX),
        title=entries["title"].text(),
        business_days=_business_days(entries["business_days"]),
        service_period_days=entries["service_period_days"].integer(minimum=1, maximum=SERVICE_PERIOD_DAYS_MAX),
        skew=skew,
        ahead_max=ahead_max,
        covered_classes=covered,
        other_classes=other,
        tasks=tasks,
        dispositions=dispositions,
        otherwise=otherwise,
        inferred_warning=entries["inferred_warning"].text(),
    )
    return ProtocolFile(protocol=protocol, examples=entries["examples"])


def _waits_days(rule: DispositionRule) -> int:
    match rule.action:
        case Hold(wait=wait) | AwaitArrival(wait=wait):
            return wait.count if wait.unit == "days" else ceil(wait.count / HOURS_A_DAY)
        case _:
            return 0


def _business_days(item: Item) -> BusinessDays:
    entries = item.record(required=("holidays", "closures"))
    return BusinessDays(
        holidays=entries["holidays"].choice(_HOLIDAYS), closures_count=entries["closures"].choice(_CLOSURES)
    )


def _ahead(item: Item) -> tuple[timedelta, timedelta]:
    entries = item.record(required=("skew_minutes", "limit_hours"))
    skew = timedelta(minutes=entries["skew_minutes"].integer(minimum=0, maximum=SKEW_MINUTES_MAX))
    ahead_max = timedelta(hours=entries["limit_hours"].integer(minimum=1, maximum=AHEAD_HOURS_MAX))
    if ahead_max < skew:
        raise entries["limit_hours"].refusal("the limit lies within the skew")
    return skew, ahead_max


def _classes(item: Item) -> tuple[frozenset[str], frozenset[str]]:
    entries = item.record(required=("covered", "other"))
    seen: set[str] = set()
    for code in (*entries["covered"].sequence(), *entries["other"].sequence()):
        value = code.match(_CLASS_CODE, "a class code in capitals")
        if value in seen:
            raise code.refusal(f"the class {value} is given twice")
        seen.add(value)
    covered = frozenset(code.text() for code in entries["covered"].sequence())
    if not covered:
        raise entries["covered"].refusal("a protocol that covers no class does nothing")
    return covered, frozenset(seen) - covered


def _task(kind: str, item: Item) -> TaskRule:
    entries = item.record(required=("due",), optional=("last",))
    due = _offset(entries["due"])
    if "last" not in entries:
        return TaskRule(kind=kind, due=due, last=None)
    last = _offset(entries["last"])
    if last.unit == due.unit and last.count < due.count:
        raise entries["last"].refusal("the last date lies before the due date")
    return TaskRule(kind=kind, due=due, last=last)


def _offset(item: Item) -> Offset:
    entries = item.record(optional=("business_days", "days"))
    match list(entries.items()):
        case [("business_days", count)]:
            return Offset(unit="business-days", count=count.integer(minimum=1, maximum=BUSINESS_DAYS_MAX))
        case [("days", count)]:
            return Offset(unit="days", count=count.integer(minimum=1, maximum=SERVICE_PERIOD_DAYS_MAX))
        case _:
            raise item.refusal("give either days or business_days")
