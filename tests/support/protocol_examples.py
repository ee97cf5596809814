"""Reads the examples of a protocol file and says where the protocol does something else."""

from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

import yaml

from services.followup.domain.protocols import Discharge, NeedsReview, NoTask, PlanItem, Planned, plan
from services.followup.domain.working_time import start_of_local_day
from services.followup.protocols.calendars import calendar_for
from services.followup.protocols.loading import ProtocolFile
from services.followup.protocols.strict_yaml import Item

REQUIRED = ("name", "discharged", "zone", "gives")
OPTIONAL = ("class", "disposition", "learned", "now", "closures")
ITEM_KEYS = ("due_on", "last_on", "due_at", "work_by", "priority", "status", "hold_reason", "check_on", "warnings")


def differences(file: ProtocolFile, example: Item) -> list[str]:
    """Return what `plan` gives otherwise than the example says; an unknown key in it is refused."""
    entries = example.record(required=REQUIRED, optional=OPTIONAL)
    closures = [date.fromisoformat(_scalar(day)) for day in _list(entries.get("closures"))]
    calendar = calendar_for(file.protocol.business_days, closures)
    discharge = _discharge(entries)
    zone = ZoneInfo(discharge.zone)
    now = _instant(entries["now"].text(), zone) if "now" in entries else discharge.learned_at
    outcome = plan(discharge, file.protocol, calendar, now)
    return list(_compare(entries["gives"], outcome))


def _discharge(entries: dict[str, Item]) -> Discharge:
    zone = ZoneInfo(entries["zone"].text())
    stated = entries["discharged"].text()
    day = date.fromisoformat(stated[:10])
    at = _instant(stated, zone) if "T" in stated else None
    learned = _instant(entries["learned"].text(), zone) if "learned" in entries else None
    return Discharge(
        discharged_on=day,
        discharged_at=at,
        zone=zone.key,
        class_code=entries["class"].text() if "class" in entries else None,
        disposition=entries["disposition"].text() if "disposition" in entries else None,
        learned_at=learned or at or start_of_local_day(day, zone),
        basis="explicit",
        deceased=False,
    )


def _compare(gives: Item, outcome: Planned | NoTask | NeedsReview) -> Iterator[str]:
    if isinstance(outcome, Planned):
        expected = gives.record(optional=[item.kind for item in outcome.items])
        for item in outcome.items:
            if item.kind in expected:
                yield from _compare_item(expected[item.kind], item)
        if not expected:
            yield "the example expects nothing"
    else:
        key = "no_task" if isinstance(outcome, NoTask) else "review"
        expected_reason = gives.record(required=[key])[key].text()
        if outcome.reason != expected_reason:
            yield f"{key}: {outcome.reason}, not {expected_reason}"


def _compare_item(expected: Item, item: PlanItem) -> Iterator[str]:
    for key, entry in expected.record(optional=ITEM_KEYS).items():
        if key == "warnings":
            wanted = [_scalar(each) for each in entry.sequence()]
            given = list(item.warnings)
        else:
            wanted, given = [_scalar(entry)], [_shown(getattr(item, key))]
        if wanted != given:
            yield f"{item.kind}.{key}: {given}, not {wanted}"


def _shown(value: object) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)


def _scalar(item: Item) -> str:
    assert isinstance(item.node, yaml.ScalarNode), item.path
    return str(item.node.value)


def _list(item: Item | None) -> list[Item]:
    return item.sequence() if item else []


def _instant(text: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)
