"""A protocol file is taken whole or refused with file, line and reason."""

from datetime import timedelta
from pathlib import Path

import pytest

from services.followup.domain.protocol_rules import Follow, Hold, Offset, TaskRule, Wait
from services.followup.protocols.loading import load_protocol, protocol_names, read_protocol
from services.runtime.errors import ConfigurationError, Permanent

MINIMAL = """\
name: small
version: 3
title: A small protocol
business_days: {holidays: none, closures: ignored}
service_period_days: 10
ahead: {skew_minutes: 5, limit_hours: 12}
inferred_warning: inferred
classes:
  covered: [IMP]
  other: [EMER]
tasks:
  contact:
    due: {days: 3}
    last: {days: 5}
planned_readmission_warning: planned
dispositions:
  home:
    codes: ["01"]
    planned: ["81"]
    action: follow
    priority: asap
    warning: careful
  away:
    codes: ["02"]
    action: hold
    reason: transferred
    wait: {hours: 24}
    overdue: nobody came
  rest:
    codes: otherwise
    action: follow
examples: []
"""


def refusal_of(text: str, source: str = "small.yaml") -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_protocol(text, source)
    assert caught.value.code == "protocol-file-invalid"
    (problem,) = caught.value.problems
    assert problem.file == Path(source)
    return f"{problem.line}: {problem.reason}"


def test_the_shipped_protocols_are_found_by_name() -> None:
    assert "transitional-care" in protocol_names()
    for name in protocol_names():
        assert load_protocol(name).name == name


def test_an_unknown_protocol_is_refused_with_the_names_that_are_known() -> None:
    with pytest.raises(Permanent, match=r"no protocol '\.\./secrets'; known: .*transitional-care") as caught:
        load_protocol("../secrets")
    assert caught.value.code == "protocol-unknown"


def test_transitional_care_is_timed_as_cms_demands() -> None:
    protocol = load_protocol("transitional-care")
    assert protocol.tasks == (
        TaskRule(kind="contact", due=Offset(unit="business-days", count=2), last=None),
        TaskRule(kind="visit", due=Offset(unit="days", count=7), last=Offset(unit="days", count=14)),
    )
    assert protocol.service_period_days == 30
    assert (protocol.skew, protocol.ahead_max) == (timedelta(hours=1), timedelta(hours=24))
    assert (protocol.business_days.holidays, protocol.business_days.closures_count) == ("us-federal", True)


def test_a_file_is_read_into_the_words_of_the_domain() -> None:
    protocol = read_protocol(MINIMAL, "small.yaml").protocol
    assert (protocol.name, protocol.version, protocol.title) == ("small", 3, "A small protocol")
    assert (protocol.business_days.holidays, protocol.business_days.closures_count) == ("none", False)
    assert (protocol.covered_classes, protocol.other_classes) == (frozenset({"IMP"}), frozenset({"EMER"}))
    assert protocol.dispositions["01"].action == Follow(priority="asap")
    assert protocol.dispositions["01"].warnings == ("careful",)
    assert protocol.dispositions["81"].warnings == ("careful", "planned")
    assert protocol.dispositions["02"].action == Hold(
        reason="transferred", wait=Wait(unit="hours", count=24), overdue="nobody came"
    )
    assert protocol.otherwise.name == "rest"
    assert protocol.inferred_warning == "inferred"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("version: 3", "version: 3\nversion: 4", "3: version: the key is given twice"),
        ("version: 3", "versoin: 3", "2: versoin: unknown key 'versoin'; known here: ahead, business_days"),
        ("version: 3\n", "", "1: missing: version"),
        ("version: 3", "version: '3'", "2: version: expected a whole number"),
        ("version: 3", "version: 0", "2: version: 0 is not a whole number from 1 to"),
        ("version: 3", "version: 0x3", "2: version: 0x3 is not a whole number"),
        ("version: 3", "version: 3.0", "2: version: expected a whole number"),
        ("version: 3", "version: true", "2: version: expected a whole number"),
        ("version: 3", "version: [3]", "2: version: expected a whole number"),
        ("version: 3", "3: 3", "2: expected a text; put it in quotes"),
        ("title: A small protocol", "title:", "3: title: expected a text; put it in quotes"),
        ("title: A small protocol", "title: ' '", "3: title: must not be blank"),
        ("title: A small protocol", "title: [x]", "3: title: expected a text"),
        ("title: A small protocol", "title: NO", "3: title: expected a text"),
        ("name: small", "name: Small", "1: name: 'Small' is not a name in lower-case words"),
        ("name: small", "name: large", "1: name: a protocol of this name belongs in large.yaml"),
        ("holidays: none", "holidays: us", "4: business_days.holidays: 'us' is not one of: none, us-federal"),
        ("closures: ignored", "closures: no", "4: business_days.closures: expected a text"),
        ("{holidays: none, closures: ignored}", "none", "4: business_days: expected keys and values"),
        ("service_period_days: 10", "service_period_days: 1000", "5: service_period_days: 1000 is not a whole"),
        ("service_period_days: 10", "service_period_days: 1", "16: dispositions: away waits until the service"),
        ("skew_minutes: 5", "skew_minutes: -5", "6: ahead.skew_minutes: -5 is not a whole number from 0"),
        ("limit_hours: 12", "limit_hours: 0", "6: ahead.limit_hours: 0 is not a whole number"),
        ("skew_minutes: 5", "skew_minutes: 721", "6: ahead.limit_hours: the limit lies within the skew"),
        ("covered: [IMP]", "covered: []", "9: classes.covered: a protocol that covers no class does nothing"),
        ("covered: [IMP]", "covered: IMP", "9: classes.covered: expected a list"),
        ("covered: [IMP]", "covered: [imp]", "9: classes.covered[0]: 'imp' is not a class code in capitals"),
        ("other: [EMER]", "other: [EMER, IMP]", "10: classes.other[1]: the class IMP is given twice"),
        ("  contact:\n", "  call:\n", "12: tasks.call: unknown key 'call'; known here: contact, visit"),
        ("{days: 3}", "{}", "13: tasks.contact.due: give either days or business_days"),
        ("{days: 3}", "{days: 3, business_days: 2}", "13: tasks.contact.due: give either days or business_days"),
        ("{days: 3}", "{days: 0}", "13: tasks.contact.due.days: 0 is not a whole number from 1"),
        ("{days: 3}", "{business_days: 99}", "13: tasks.contact.due.business_days: 99 is not a whole number"),
        ("{days: 5}", "{days: 2}", "14: tasks.contact.last: the last date lies before the due date"),
        ('codes: ["01"]', "codes: [01]", "18: dispositions.home.codes[0]: expected a text; put it in quotes"),
        ('codes: ["01"]', 'codes: ["1"]', "18: dispositions.home.codes[0]: '1' is not a two-digit code"),
        ('codes: ["01"]', 'codes: ["\u0660\u0661"]', "18: dispositions.home.codes[0]: '\u0660\u0661' is not a two-"),
        ('codes: ["01"]', "codes: others", "18: dispositions.home.codes: 'others' is not one of: otherwise"),
        ('codes: ["02"]', 'codes: ["81"]', "24: dispositions.away.codes[0]: the code 81 is given to home already"),
        ("codes: otherwise", 'codes: ["03"]', "16: dispositions: one entry, and not 0, has to say `codes: other"),
        ('codes: ["02"]', "codes: otherwise", "16: dispositions: one entry, and not 2, has to say `codes: other"),
        ("    action: hold\n", "", "23: dispositions.away: missing: action"),
        ("action: hold", "action: wait", "25: dispositions.away.action: 'wait' is not one of: await-arrival, fo"),
        ("action: hold", "action: review", "27: dispositions.away.wait: unknown key 'wait'; known here: action,"),
        ("    overdue: nobody came\n", "", "23: dispositions.away: missing: overdue"),
        ("reason: transferred", "reason: To Mercy", "26: dispositions.away.reason: 'To Mercy' is not a reason"),
        ("{hours: 24}", "{hours: 24, days: 1}", "27: dispositions.away.wait: give either hours or days"),
        ("{hours: 24}", "{days: 10}", "16: dispositions: away waits until the service period is over"),
        ("priority: asap", "priority: soon", "21: dispositions.home.priority: 'soon' is not one of: asap, rou"),
        ("action: follow\n    priority", "action: follow-same-day\n    priority", "17: dispositions.home: missing: k"),
        (
            "action: follow\n    priority",
            "action: follow-same-day\n    kinds: [visit]\n    priority",
            "21: dispositions.home.kinds[0]: 'visit' is not one of: contact",
        ),
        ("title: A small protocol", "title: [A", "4: not YAML: "),
        ("title: A small protocol", "title: A\t\x07", "1: holds a character that YAML forbids"),
        ("examples: []", "examples: []\n---\nname: two", "33: not YAML: but found another document"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_reason(old: str, new: str, expected: str) -> None:
    assert MINIMAL.count(old) >= 1
    assert refusal_of(MINIMAL.replace(old, new, 1)).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "1: the file is empty"), ("# nothing", "1: the file is empty"), ("[]", "1: expected keys and values")],
)
def test_a_file_that_is_no_protocol_at_all_is_refused(text: str, expected: str) -> None:
    assert refusal_of(text) == expected


def test_tasks_are_needed() -> None:
    text = MINIMAL.replace("  contact:\n    due: {days: 3}\n    last: {days: 5}\n", "").replace("tasks:", "tasks: {}")
    assert refusal_of(text) == "11: tasks: a protocol without tasks does nothing"


def test_the_refusal_names_file_and_line_in_its_message() -> None:
    with pytest.raises(ConfigurationError, match=r"^small\.yaml:2: version: expected a whole number$"):
        read_protocol(MINIMAL.replace("version: 3", "version: x"), "small.yaml")


def test_business_days_and_calendar_days_are_not_compared() -> None:
    text = MINIMAL.replace("{days: 3}", "{business_days: 6}")
    assert read_protocol(text, "small.yaml").protocol.tasks[0].due == Offset(unit="business-days", count=6)
