"""The grammar of `afterstay`: every verb, its flags and its help.

Light on purpose: it declares and imports none of the verbs, so that `--help` of anything answers at once
(tests/commands/test_cli.py counts what is loaded). `handler` names where a verb lives.
"""

import argparse
import getpass
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn, get_args

from services.commands.argument_types import (
    PAGE_MAX,
    address,
    instant,
    limit,
    percent,
    port,
    positive,
    rate,
    seconds,
    seed,
    sentence,
)
from services.commands.exit_codes import USAGE
from services.followup.domain.attempts import Mode, Outcome, Reached

DATA_VARIABLE: Final = "AFTERSTAY_DATA"
MLLP_PORT: Final = 2575
"""IANA service name `hl7`."""
HTTP_PORT: Final = 8080
SEND_TIMEOUT_S: Final = 30.0  # the listener holds an answer for up to 10 s when the disk is slow (DESIGN §2)
SEED: Final = 1
DROP_PERCENT_MAX: Final = 10.0  # as usecases.panel, DROP_SHARE_MAX
PAGE_DEFAULT: Final = 100


class Parser(argparse.ArgumentParser):
    """argparse with our manners: one line says what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the words and leave."""
        self.exit(USAGE, f"afterstay: {message}; see `{self.prog} --help`\n")


def build_parser(environ: Mapping[str, str]) -> Parser:
    """Return the parser of the whole command; `environ` gives the defaults that may come from there."""
    parser = Parser(
        prog="afterstay",
        allow_abbrev=False,
        description="Turns hospital ADT feeds into follow-up that happens.",
        epilog="Exit codes: 0 done, 1 no, 2 wrong words, 3 try again later, 70 our own bug. `afterstay VERB --help`.",
    )
    parser.add_argument("--version", action="store_const", const="version:show", dest="handler", help="say which it is")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    grammar = _Grammar(environ)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for declare in (
        grammar.run, grammar.panel, grammar.status, grammar.trace, grammar.tasks, grammar.review, grammar.dlq,
        grammar.protocols, grammar.send, grammar.simulate, grammar.demo, grammar.doctor,
    ):  # fmt: skip
        declare(verbs)
    return parser


_Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for what add_subparsers returns


class _Grammar:
    """Declares the verbs, family by family."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._data_default = environ.get(DATA_VARIABLE) or None

    def run(self, verbs: "_Verbs[Parser]") -> None:
        verb = _verb(
            verbs,
            "run",
            "run:run",
            "serve: MLLP listener, consumer, timers and web, on this machine only",
            "When it serves it prints one line of JSON on standard output, with its addresses, and nothing after it; "
            "logs go to standard error. SIGTERM finishes what is under way and ends it.",
        )
        self._add_data(verb)
        _add_feeds(verb)
        _add_ports(verb, "; 0 for any free one")
        verb.add_argument(
            "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="least level to log"
        )

    def panel(self, verbs: "_Verbs[Parser]") -> None:
        family = _family(verbs, "panel", "the patients to follow up")
        verb = _verb(
            family,
            "import",
            "panel:import_file",
            "load the panel from a CSV file; works while `run` is running",
            "A file with a wrong row is refused as a whole, and each such row is named with its reason.",
        )
        verb.add_argument("file", metavar="FILE", type=Path, help="CSV with a header row, UTF-8")
        self._add_data(verb)
        verb.add_argument(
            "--mode",
            dest="panel_mode",
            choices=("merge", "replace"),
            default="merge",
            help="merge: who is not in the file stays; replace: their membership ends (default: merge)",
        )
        verb.add_argument(
            "--drop-max",
            dest="drop_percent_max",
            metavar="PERCENT",
            type=percent,
            default=DROP_PERCENT_MAX,
            help=f"refuse a replace that drops more of the people (default: {DROP_PERCENT_MAX:g})",
        )
        verb.add_argument("--dry-run", action="store_true", help="say what it would do and do nothing")
        self._add_actor(verb)
        _add_json(verb)

    def status(self, verbs: "_Verbs[Parser]") -> None:
        verb = _verb(
            verbs,
            "status",
            "status:show",
            "count every message and where it ended; fails when the books do not balance",
            "Also while `run` is running: what is in flight is counted as pending.",
        )
        self._add_data(verb)
        _add_json(verb)

    def trace(self, verbs: "_Verbs[Parser]") -> None:
        verb = _verb(
            verbs,
            "trace",
            "trace:show",
            "where is this message: received, published, acknowledged, consumed, matched, task",
            "Shows ids, codes and times, no names. Each look is kept in the audit trail.",
        )
        verb.add_argument("control_id", metavar="CONTROL-ID", help="MSH-10 of the message")
        verb.add_argument("--feed", metavar="F", help="only messages of this feed")
        self._add_data(verb)
        self._add_actor(verb)
        _add_json(verb)

    def tasks(self, verbs: "_Verbs[Parser]") -> None:
        family = _family(verbs, "tasks", "the worklist")
        listed = _verb(family, "ls", "tasks:ls", "list tasks by deadline")
        which = listed.add_mutually_exclusive_group()
        which.add_argument("--closed", dest="which", action="store_const", const=False, help="closed tasks")
        which.add_argument("--all", dest="which", action="store_const", const=None, help="open and closed tasks")
        listed.set_defaults(which=True)
        _add_limit(listed)
        listed.add_argument("--cursor", metavar="C", help="go on where the page with this next_cursor ended")
        shown = _verb(family, "show", "tasks:show", "show a task with its messages, attempts and history")
        claimed = _verb(family, "claim", "tasks:claim", "take a task")
        attempted = _verb(family, "attempt", "tasks:attempt", "record an attempt to reach the patient")
        attempted.add_argument("--mode", choices=get_args(Mode), required=True, help="how it was tried")
        attempted.add_argument("--outcome", choices=get_args(Outcome), required=True, help="what came of it")
        attempted.add_argument("--reached", choices=get_args(Reached), help="who was reached; nobody if left out")
        attempted.add_argument("--note", metavar="TEXT", help="a few words; `-` reads them from standard input")
        attempted.add_argument(
            "--at", metavar="TIME", type=instant, help="when, with its offset: 2026-11-24T14:30-05:00 (default: now)"
        )
        completed = _verb(family, "complete", "tasks:complete", "end a task with what came of it")
        completed.add_argument("--outcome", choices=get_args(Outcome), required=True, help="what came of it")
        for verb in (shown, claimed, attempted, completed):
            verb.add_argument("task_id", metavar="ID", help="id of the task")
        for verb in (claimed, attempted, completed):
            verb.add_argument(
                "--version", metavar="N", type=positive, help="refuse if the task has changed since this version"
            )
        for verb in (listed, shown, claimed, attempted, completed):
            self._add_data(verb)
            self._add_actor(verb)
            _add_show_phi(verb, "show names, birth dates, telephone numbers and notes (each view is audited)")
            _add_json(verb)

    def review(self, verbs: "_Verbs[Parser]") -> None:
        family = _family(verbs, "review", "what waits for a person's decision")
        verb = _verb(family, "ls", "review:ls", "list open reviews, oldest first")
        _add_limit(verb)
        self._add_data(verb)
        self._add_actor(verb)
        _add_json(verb)

    def dlq(self, verbs: "_Verbs[Parser]") -> None:
        family = _family(verbs, "dlq", "dead letters: kept messages that could not take effect")
        listed = _verb(family, "ls", "dlq:ls", "list dead letters, oldest first")
        listed.add_argument("--all", dest="resolved", action="store_true", help="resolved ones, too")
        _add_limit(listed)
        shown = _verb(family, "show", "dlq:show", "show a dead letter")
        shown.add_argument("letter", metavar="LETTER", help="event id, or PARTITION:OFFSET")
        _add_show_phi(shown, "show the message itself (audited)")
        replayed = _verb(
            family,
            "replay",
            "dlq_replay:replay",
            "read the messages of dead letters anew and apply what can be used now; harmless to repeat",
        )
        replayed.add_argument(
            "letters", metavar="LETTER", nargs="*", help="event id, or PARTITION:OFFSET (default: all)"
        )
        _add_feeds(replayed)
        discarded = _verb(
            family,
            "discard",
            "dlq_discard:discard",
            "close dead letters of which nothing is to come; the messages stay in the log",
        )
        discarded.add_argument("letters", metavar="LETTER", nargs="+", help="event id, or PARTITION:OFFSET")
        discarded.add_argument(
            "--reason", metavar="TEXT", type=sentence, required=True, help="why, for the audit trail; never a name"
        )
        for verb in (replayed, discarded):
            verb.add_argument("--dry-run", action="store_true", help="say what it would do and do nothing")
        for verb in (shown, replayed, discarded):
            self._add_actor(verb)
        for verb in (listed, shown, replayed, discarded):
            self._add_data(verb)
            _add_json(verb)

    def protocols(self, verbs: "_Verbs[Parser]") -> None:
        family = _family(verbs, "protocols", "the follow-up protocols")
        verb = _verb(family, "due", "protocols:due", "the dates that discharges at these times would get")
        verb.add_argument("protocol", metavar="PROTOCOL", help="transitional-care")
        verb.add_argument("--zone", metavar="Z", required=True, help="IANA zone of the facility: America/New_York")
        verb.add_argument("--closures", metavar="FILE", type=Path, help="the practice's own closed days, a date a line")
        verb.add_argument("times", metavar="TIME", nargs="+", help="local to the zone: 2026-11-20T14:30, 2026-11-20")
        _add_json(verb)

    def send(self, verbs: "_Verbs[Parser]") -> None:
        verb = _verb(
            verbs,
            "send",
            "send:send",
            "send HL7 v2 messages over MLLP and print each acknowledgement; fails unless all are AA",
            "The bytes go as they are. A file with several messages (each starting with MSH at the start of a line, or "
            "framed for MLLP) is sent message by message.",
        )
        verb.add_argument("files", metavar="FILE", nargs="+", help="file of one or more messages; - for standard input")
        verb.add_argument("--to", metavar="HOST:PORT", type=address, required=True, help="the listener")
        verb.add_argument(
            "--timeout", metavar="SECONDS", type=seconds, default=SEND_TIMEOUT_S, help="longest wait for an answer"
        )
        verb.add_argument("-v", "--verbose", action="store_true", help="show each answer as received")
        _add_json(verb)

    def simulate(self, verbs: "_Verbs[Parser]") -> None:
        verb = _verb(
            verbs,
            "simulate",
            "simulate:simulate",
            "make hospitals, a panel and their ADT messages, into a folder or to a listener",
            "A folder gets panel.csv, feeds.yaml, messages/ and expected.json, which says what should come of them and "
            "why. The same seed at the same moment makes the same.",
        )
        verb.add_argument("--out", metavar="DIR", type=Path, help="write into this empty or new folder")
        verb.add_argument("--to", dest="destination", metavar="HOST:PORT", type=address, help="send to this listener")
        verb.add_argument("--rate", metavar="N", type=rate, help="messages a second (default: as fast as answered)")
        _add_simulation(verb)
        _add_json(verb)

    def demo(self, verbs: "_Verbs[Parser]") -> None:
        verb = _verb(
            verbs,
            "demo",
            "demo:demo",
            "simulated hospitals send to a real `run`; the worklist fills, and what comes of it is checked",
            "Ends with Ctrl-C; with --once by itself, with 0 only if every message is accounted for and the tasks are "
            "the expected ones.",
        )
        verb.add_argument("--once", action="store_true", help="stop when all is checked, and print the result")
        verb.add_argument(
            "--data",
            dest="folder",
            metavar="DIR",
            type=Path,
            help="an empty or new folder to keep (default: none kept)",
        )
        _add_simulation(verb)
        _add_json(verb)

    def doctor(self, verbs: "_Verbs[Parser]") -> None:
        verb = _verb(
            verbs,
            "doctor",
            "doctor:examine",
            "check this machine, the data folder and the files, and say how to mend what is wrong",
            "Exit codes of its own: 0 all well, 1 warnings, 2 failures.",
        )
        self._add_data(verb)
        _add_feeds(verb)
        _add_ports(verb, " that `run` is to have")
        _add_json(verb)

    def _add_data(self, verb: Parser) -> None:
        default = self._data_default
        verb.add_argument(
            "--data",
            metavar="DIR",
            type=Path,
            default=Path(default) if default else None,
            required=default is None,
            help=f"the data folder (default: ${DATA_VARIABLE})",
        )

    def _add_actor(self, verb: Parser) -> None:
        verb.add_argument("--as", dest="actor", metavar="NAME", default=_user(), help="who acts (default: the user)")


def _family(verbs: "_Verbs[Parser]", name: str, summary: str) -> "_Verbs[Parser]":
    parser = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False)
    return parser.add_subparsers(metavar="VERB", title="verbs", required=True)


def _verb(verbs: "_Verbs[Parser]", name: str, handler: str, summary: str, more: str = "") -> Parser:
    description = f"{summary[0].upper()}{summary[1:]}.\n\n{more}".strip()
    parser = verbs.add_parser(
        name,
        help=summary,
        description="\n".join(map(textwrap.fill, description.split("\n"))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(handler=handler)
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    return parser


def _add_json(verb: Parser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON")


def _add_feeds(verb: Parser) -> None:
    verb.add_argument("--feeds", metavar="FILE", type=Path, help="the feeds file: who sends, and what their codes mean")


def _add_ports(verb: Parser, what: str) -> None:
    verb.add_argument(
        "--mllp-port", metavar="N", type=port, default=MLLP_PORT, help=f"MLLP port{what} (default: {MLLP_PORT})"
    )
    verb.add_argument(
        "--http-port", metavar="N", type=port, default=HTTP_PORT, help=f"HTTP port{what} (default: {HTTP_PORT})"
    )


def _add_limit(verb: Parser) -> None:
    verb.add_argument(
        "--limit", metavar="N", type=limit, default=PAGE_DEFAULT, help=f"1 to {PAGE_MAX} (default: {PAGE_DEFAULT})"
    )


def _add_simulation(verb: Parser) -> None:
    verb.add_argument("--seed", metavar="N", type=seed, default=SEED, help=f"which simulation (default: {SEED})")
    verb.add_argument(
        "--patients", metavar="N", type=positive, help="people who have a story (default: each story told)"
    )


def _add_show_phi(verb: Parser, what: str) -> None:
    verb.add_argument("--show-phi", action="store_true", help=what)


def _user() -> str:
    """Return the name of the machine's user; accounts of our own come with a later release."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "operator"
