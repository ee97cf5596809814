import argparse
from datetime import timedelta
from typing import get_type_hints

import pytest

from services.cli import find_verb
from services.commands.arguments import Arguments
from services.commands.grammar import DROP_PERCENT_MAX, build_parser
from services.commands.process_grammar import KEEP_UNLINKED_DAYS
from services.followup.usecases.panel import DROP_SHARE_MAX
from services.followup.usecases.purge import KEPT
from services.followup.usecases.worklist import LIMIT_MAX
from tests.commands.parsers import flags_of, verbs

VERBS = verbs()


def test_every_verb_of_the_interface_is_there() -> None:
    assert set(VERBS) == {
        "run", "ingest", "followup", "scheduler", "web", "migrate", "topics create", "topics check",
        "panel import", "status", "lag", "trace",
        "tasks ls", "tasks show", "tasks claim", "tasks attempt", "tasks complete", "review ls", "dlq ls", "dlq show",
        "dlq replay", "dlq discard", "replay", "protocols due", "send", "simulate", "demo", "doctor",
    }  # fmt: skip


@pytest.mark.parametrize("words", VERBS)
def test_every_verb_leads_to_a_function(words: str) -> None:
    assert callable(find_verb(VERBS[words].get_default("handler")))


@pytest.mark.parametrize("words", VERBS)
def test_every_flag_has_a_typed_name_and_a_help(words: str) -> None:
    known = get_type_hints(Arguments)
    for action in VERBS[words]._actions:
        if not isinstance(action, argparse._HelpAction):
            assert action.dest in known, action
            assert action.help, action


@pytest.mark.parametrize("words", set(VERBS) - {"run", "ingest", "followup", "scheduler", "web"})
def test_every_verb_prints_json_if_asked(words: str) -> None:
    assert "--json" in flags_of(VERBS[words])


def test_limits_told_here_are_those_that_count() -> None:
    assert DROP_PERCENT_MAX / 100 == DROP_SHARE_MAX
    limit = next(action for action in VERBS["tasks ls"]._actions if action.dest == "limit")
    assert str(LIMIT_MAX) in str(limit.help)


def test_strangers_are_kept_as_long_as_is_told_here() -> None:
    assert timedelta(days=KEEP_UNLINKED_DAYS) == KEPT


def test_the_data_folder_may_come_from_the_environment() -> None:
    parser = build_parser({"AFTERSTAY_DATA": "somewhere"})

    assert str(parser.parse_args(["status"]).data) == "somewhere"
    assert str(parser.parse_args(["status", "--data", "elsewhere"]).data) == "elsewhere"
    assert parser.parse_args(["demo"]).folder is None  # a demo never plays in the real folder


def test_flags_are_never_cut_short() -> None:
    with pytest.raises(SystemExit):
        build_parser({}).parse_args(["status", "--dat", "x"])
