"""The grammar of `afterstay`: every verb, its flags and its help.

Light on purpose: it declares and imports none of the verbs, so that `--help` of anything answers at once
(tests/commands/test_cli.py counts what is loaded). `handler` names where a verb lives.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

from services.commands.argument_types import (
    address,
    instant,
    partition,
    percent,
    positive,
    rate,
    seconds,
    sentence,
    start,
)
from services.commands.flags import (
    add_actor,
    add_closures,
    add_feeds,
    add_json,
    add_limit,
    add_place,
    add_ports,
    add_show_phi,
    add_simulation,
    add_single_broker,
    add_spools,
)
from services.commands.parser import Parser, RootParser, Verbs, add_family, add_verb
from services.commands.process_grammar import (
    declare_followup,
    declare_ingest,
    declare_migrate,
    declare_run,
    declare_scheduler,
    declare_topics,
    declare_web,
)
from services.followup.domain.attempts import Mode, Outcome, Reached

SEND_TIMEOUT_S: Final = 30.0  # the listener holds an answer for up to 10 s when the disk is slow (DESIGN §2)
LAG_GROUP: Final = "followup"  # as usecases.status, CONSUMER_GROUP
LAG_WARN_S: Final = 60.0  # the promise is a task within 60 s of its message (product.md §2.3)
LAG_CRIT_S: Final = 300.0
LAG_WINDOW_S: Final = 3.0  # several commits of a consumer that gets on: they come every half second
LAG_WATCH_WINDOW_S: Final = 60.0
REPLAY_RATE: Final = 1_000.0
DROP_PERCENT_MAX: Final = 10.0  # as usecases.panel, DROP_SHARE_MAX


def build_parser(environ: Mapping[str, str]) -> Parser:
    """Return the parser of the whole command; `environ` gives the settings that no flag does."""
    parser = RootParser(
        environ,
        prog="afterstay",
        allow_abbrev=False,
        description="Turns hospital ADT feeds into follow-up that happens.",
        epilog="Exit codes: 0 done, 1 no, 2 wrong words, 3 try again later, 70 our own bug. `afterstay VERB --help`.",
    )
    parser.add_argument("--version", action="store_const", const="version:show", dest="handler", help="say which it is")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(metavar="VERB", title="verbs", parser_class=Parser)
    for declare in (
        declare_run, declare_ingest, declare_followup, declare_scheduler, declare_web, declare_migrate, declare_topics,
        _panel, _status, _lag, _trace, _tasks, _review, _dlq, _replay, _protocols, _send, _simulate, _demo, _doctor,
    ):  # fmt: skip
        declare(verbs)
    return parser


def _panel(verbs: "Verbs[Parser]") -> None:
    family = add_family(verbs, "panel", "the patients to follow up")
    verb = add_verb(
        family,
        "import",
        "panel:import_file",
        "load the panel from a CSV file; works while `run` is running",
        "A file with a wrong row is refused as a whole, and each such row is named with its reason.",
    )
    verb.add_argument("file", metavar="FILE", type=Path, help="CSV with a header row, UTF-8")
    add_place(verb)
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
    add_actor(verb)
    add_json(verb)


def _status(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
        verbs,
        "status",
        "status:show",
        "count every message and where it ended; fails when the books do not balance",
        "Also while `run` is running: what is in flight is counted as pending.",
    )
    add_place(verb, kafka=True)
    add_spools(verb)
    add_json(verb)


def _lag(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
        verbs,
        "lag",
        "lag:show",
        "how far the consumers are behind, in seconds of the message that waits longest",
        "Exit codes of a monitoring plug-in: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; the first line is one, too.",
    )
    add_place(verb, kafka=True, database=False)
    add_spools(verb)
    verb.add_argument("--group", metavar="G", default=LAG_GROUP, help=f"the consumer group (default: {LAG_GROUP})")
    verb.add_argument(
        "--warn", metavar="SECONDS", type=seconds, default=LAG_WARN_S,
        help=f"WARNING above this age (default: {LAG_WARN_S:g})",
    )  # fmt: skip
    verb.add_argument(
        "--crit", metavar="SECONDS", type=seconds, default=LAG_CRIT_S,
        help=f"CRITICAL above this age (default: {LAG_CRIT_S:g})",
    )  # fmt: skip
    verb.add_argument(
        "--window", metavar="SECONDS", type=seconds,
        help=f"how long to look before saying whether the consumers get on (default: {LAG_WINDOW_S:g}, with --watch "
        f"{LAG_WATCH_WINDOW_S:g})",
    )  # fmt: skip
    verb.add_argument("--watch", action="store_true", help="go on looking until Ctrl-C; with --json a line each look")
    add_json(verb)


def _trace(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
        verbs,
        "trace",
        "trace:show",
        "where is this message: received, published, acknowledged, consumed, matched, task",
        "Shows ids, codes and times, no names. Each look is kept in the audit trail.",
    )
    verb.add_argument("control_id", metavar="CONTROL-ID", help="MSH-10 of the message")
    verb.add_argument("--feed", metavar="F", help="only messages of this feed")
    add_place(verb, kafka=True)
    add_actor(verb)
    add_json(verb)


def _tasks(verbs: "Verbs[Parser]") -> None:
    family = add_family(verbs, "tasks", "the worklist")
    listed = add_verb(family, "ls", "tasks:ls", "list tasks by deadline")
    which = listed.add_mutually_exclusive_group()
    which.add_argument("--closed", dest="which", action="store_const", const=False, help="closed tasks")
    which.add_argument("--all", dest="which", action="store_const", const=None, help="open and closed tasks")
    listed.set_defaults(which=True)
    add_limit(listed)
    listed.add_argument("--cursor", metavar="C", help="go on where the page with this next_cursor ended")
    shown = add_verb(family, "show", "tasks:show", "show a task with its messages, attempts and history")
    claimed = add_verb(family, "claim", "tasks:claim", "take a task")
    attempted = add_verb(family, "attempt", "tasks:attempt", "record an attempt to reach the patient")
    attempted.add_argument("--mode", choices=get_args(Mode), required=True, help="how it was tried")
    attempted.add_argument("--outcome", choices=get_args(Outcome), required=True, help="what came of it")
    attempted.add_argument("--reached", choices=get_args(Reached), help="who was reached; nobody if left out")
    attempted.add_argument("--note", metavar="TEXT", help="a few words; `-` reads them from standard input")
    attempted.add_argument(
        "--at", metavar="TIME", type=instant, help="when, with its offset: 2026-11-24T14:30-05:00 (default: now)"
    )
    completed = add_verb(family, "complete", "tasks:complete", "end a task with what came of it")
    completed.add_argument("--outcome", choices=get_args(Outcome), required=True, help="what came of it")
    for verb in (shown, claimed, attempted, completed):
        verb.add_argument("task_id", metavar="ID", help="id of the task")
    for verb in (claimed, attempted, completed):
        verb.add_argument(
            "--version", metavar="N", type=positive, help="refuse if the task has changed since this version"
        )
    for verb in (listed, shown, claimed, attempted, completed):
        add_place(verb)
        add_actor(verb)
        add_show_phi(verb, "show names, birth dates, telephone numbers and notes (each view is audited)")
        add_json(verb)


def _review(verbs: "Verbs[Parser]") -> None:
    family = add_family(verbs, "review", "what waits for a person's decision")
    verb = add_verb(family, "ls", "review:ls", "list open reviews, oldest first")
    add_limit(verb)
    add_place(verb)
    add_actor(verb)
    add_json(verb)


def _dlq(verbs: "Verbs[Parser]") -> None:
    family = add_family(verbs, "dlq", "dead letters: kept messages that could not take effect")
    listed = add_verb(family, "ls", "dlq:ls", "list dead letters, oldest first")
    listed.add_argument("--all", dest="resolved", action="store_true", help="resolved ones, too")
    add_limit(listed)
    shown = add_verb(family, "show", "dlq:show", "show a dead letter")
    shown.add_argument("letter", metavar="LETTER", help="event id, or PARTITION:OFFSET")
    add_show_phi(shown, "show the message itself (audited)")
    replayed = add_verb(
        family,
        "replay",
        "dlq_replay:replay",
        "read the messages of dead letters anew and apply what can be used now; harmless to repeat",
    )
    replayed.add_argument("letters", metavar="LETTER", nargs="*", help="event id, or PARTITION:OFFSET (default: all)")
    add_feeds(replayed)
    discarded = add_verb(
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
        add_actor(verb)
    add_closures(replayed)
    add_place(listed)
    add_place(discarded)
    for verb in (shown, replayed):
        add_place(verb, kafka=True)
    for verb in (listed, shown, replayed, discarded):
        add_json(verb)


def _replay(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
        verbs,
        "replay",
        "replay:replay",
        "read a range of the log anew and re-apply it, after a rule or a map has changed",
        "Whose messages read otherwise now is rebuilt from all their messages; what people did stays. Harmless to "
        "repeat and to break off; works while the services are running. Try --dry-run first.",
    )
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--from", dest="since", metavar="WHERE", nargs="+", type=start, default=[],
        help="the word beginning; a time with its offset, of receipt: 2026-11-24T14:30-05:00; or PARTITION:OFFSET, "
        "once for each partition to read",
    )  # fmt: skip
    where.add_argument(
        "--awaiting", action="store_true", help="only messages that came again and that newer rules have read"
    )
    verb.add_argument("--to", dest="until", metavar="TIME", type=instant, help="up to this time of receipt")
    verb.add_argument("--partition", metavar="P", type=partition, help="only this partition")
    verb.add_argument("--feed", metavar="F", help="only messages that are, or were, of this feed")
    verb.add_argument("--dry-run", action="store_true", help="say what it would change and change nothing")
    verb.add_argument(
        "--rate", metavar="N", type=rate, default=REPLAY_RATE,
        help=f"messages a second at most (default: {REPLAY_RATE:g}); it rests for as long as it works in any case",
    )  # fmt: skip
    add_feeds(verb, required=True)
    add_closures(verb)
    add_place(verb, kafka=True)
    add_actor(verb)
    add_json(verb)


def _protocols(verbs: "Verbs[Parser]") -> None:
    family = add_family(verbs, "protocols", "the follow-up protocols")
    verb = add_verb(family, "due", "protocols:due", "the dates that discharges at these times would get")
    verb.add_argument("protocol", metavar="PROTOCOL", help="transitional-care")
    verb.add_argument("--zone", metavar="Z", required=True, help="IANA zone of the facility: America/New_York")
    verb.add_argument("--closures", metavar="FILE", type=Path, help="the practice's own closed days, a date a line")
    verb.add_argument("times", metavar="TIME", nargs="+", help="local to the zone: 2026-11-20T14:30, 2026-11-20")
    add_json(verb)


def _send(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
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
    verb.add_argument(
        "--tls", action="store_true", help="over TLS, trusting this machine's authorities; any --tls-… turns it on too"
    )
    verb.add_argument("--tls-ca", metavar="FILE", type=Path, help="PEM of the authorities that the listener's is of")
    verb.add_argument("--tls-name", metavar="NAME", help="the name its certificate is for (default: the host of --to)")
    verb.add_argument(
        "--tls-cert", metavar="FILE", type=Path, help="PEM of our own certificate, where one is asked for"
    )
    verb.add_argument("--tls-key", metavar="FILE", type=Path, help="PEM of its key (default: in the same file)")
    verb.add_argument("-v", "--verbose", action="store_true", help="show each answer as received")
    add_json(verb)


def _simulate(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
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
    add_simulation(verb)
    add_json(verb)


def _demo(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
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
    add_simulation(verb)
    add_json(verb)


def _doctor(verbs: "Verbs[Parser]") -> None:
    verb = add_verb(
        verbs,
        "doctor",
        "doctor:examine",
        "check this machine, the data folder and the files, and say how to mend what is wrong",
        "Exit codes of its own: 0 all well, 1 warnings, 2 failures.",
    )
    add_place(verb, kafka=True)
    add_feeds(verb)
    add_single_broker(verb)
    add_ports(verb, " that `run` is to have")
    add_json(verb)
