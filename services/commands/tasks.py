"""`afterstay tasks`: the worklist on the command line."""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from services.commands.arguments import Arguments
from services.commands.data_source import DataSource, required_database
from services.commands.exit_codes import OK
from services.commands.masking import item_fields
from services.commands.output import bold, shown, tell, write_facts, write_json, write_table, write_text
from services.followup.domain.attempts import NotAllowed
from services.followup.store.worklist import SqlWorklist
from services.followup.usecases.worklist import AttemptMade, Done, Overtaken, Refused, Worklist
from services.followup.usecases.worklist_items import WorklistDetail, WorklistItem
from services.runtime.clock import SystemClock
from services.runtime.errors import Permanent

_HEADER = (
    "id", "kind", "status", "due", "last", "work by", "priority", "patient", "name", "call", "discharged", "from",
    "tried", "owner",
)  # fmt: skip


def ls(arguments: Arguments) -> int:
    """Print a page of tasks by deadline."""
    with _worklist(arguments) as worklist:
        page = worklist.page(
            is_open=arguments.which, limit=arguments.limit, cursor=arguments.cursor, actor=arguments.actor
        )
    if isinstance(page, NotAllowed):
        raise Permanent(page.code, page.text)
    items = [item_fields(item, show_phi=arguments.show_phi) for item in page.items]
    if arguments.json:
        write_json({"items": items, "next_cursor": page.next_cursor})
        return OK
    if items:
        write_table(_HEADER, [_cells(item) for item in items])
    more = f"; go on with --cursor {page.next_cursor}" if page.next_cursor else ""
    tell(f"{len(items)} tasks{more}")
    return OK


def show(arguments: Arguments) -> int:
    """Print a task with everything behind it."""
    with _worklist(arguments) as worklist:
        _write_detail(_find(worklist, arguments), arguments)
    return OK


def claim(arguments: Arguments) -> int:
    """Take a task."""
    with _worklist(arguments) as worklist:
        done = worklist.claim(arguments.task_id, _version(worklist, arguments), actor=arguments.actor)
    return _write_done(done, arguments)


def attempt(arguments: Arguments) -> int:
    """Record an attempt."""
    made = AttemptMade(
        mode=arguments.mode,
        reached=arguments.reached,
        outcome=arguments.outcome,
        # What is on the command line is seen by everybody on the machine (`ps`); standard input is not.
        note=sys.stdin.read() if arguments.note == "-" else arguments.note,
        at=arguments.at,
    )
    with _worklist(arguments) as worklist:
        done = worklist.attempt(arguments.task_id, _version(worklist, arguments), made, actor=arguments.actor)
    return _write_done(done, arguments)


def complete(arguments: Arguments) -> int:
    """End a task."""
    with _worklist(arguments) as worklist:
        version = _version(worklist, arguments)
        done = worklist.complete(arguments.task_id, version, arguments.outcome, actor=arguments.actor)
    return _write_done(done, arguments)


@contextmanager
def _worklist(arguments: Arguments) -> Generator[Worklist]:
    with required_database(DataSource.of(arguments)) as engine:
        yield Worklist(SqlWorklist(engine), SystemClock().now)


def _find(worklist: Worklist, arguments: Arguments) -> WorklistDetail:
    found = worklist.find(arguments.task_id, actor=arguments.actor)
    if found is None:
        raise _unknown_task()
    return found


def _version(worklist: Worklist, arguments: Arguments) -> int:
    return arguments.version or _find(worklist, arguments).version


def _write_done(done: Done, arguments: Arguments) -> int:
    match done:
        case WorklistItem():
            fields = item_fields(done, show_phi=arguments.show_phi)
            if arguments.json:
                write_json(fields)
            else:
                write_table(_HEADER, [_cells(fields)])
            return OK
        case Overtaken():
            raise Permanent(
                "task-changed",
                f"{shown(done.winner)} changed the task first (version {done.item.version}, {done.item.status}): look "
                "at it with `afterstay tasks show`, then decide again",
            )
        case Refused() | NotAllowed():
            raise Permanent(done.code, done.text)
        case None:
            raise _unknown_task()


def _unknown_task() -> Permanent:
    return Permanent("task-unknown", "there is no task with this id: `afterstay tasks ls --all` lists them")


def _cells(item: Mapping[str, Any]) -> tuple[object, ...]:
    patient, stay, attempts = item["patient"], item["stay"], item["attempts"]
    contact = patient["contact"]
    tried = f"{attempts['count']}, last {attempts['last_outcome']}" if attempts["count"] else "0"
    return (
        item["id"],
        item["kind"],
        _status_of(item),
        item["due_on"],
        item["last_on"],
        item["work_by"],
        item["priority"],
        patient["id"],
        f"{patient['family']}, {patient['given']}",
        " ".join(filter(None, (contact["relation"], contact["name"], contact["phone"]))),
        stay["discharged_on"],
        stay["facility"]["name"] or stay["facility"]["code"],
        tried,
        item["owner"],
    )


def _status_of(item: Mapping[str, Any]) -> str:
    reason = item["status_reason"]
    return f"{item['status']} ({reason['code']})" if reason else str(item["status"])


def _write_detail(detail: WorklistDetail, arguments: Arguments) -> None:
    fields = item_fields(detail, show_phi=arguments.show_phi)
    if arguments.json:
        write_json(fields)
        return
    write_facts(dict(zip(_HEADER, _cells(fields), strict=True)))
    write_facts({"version": fields["version"], "rule": fields["match"]["rule"], "protocol": fields["protocol"]})
    for warning in fields["warnings"]:
        write_text(f"warning  {shown(warning)}")
    _write_section(
        "messages", fields["messages"], ("received_at", "feed", "trigger", "control_id", "outcome", "reason")
    )
    _write_section("attempts", fields["attempt_log"], ("at", "actor", "mode", "reached", "outcome", "note"))
    _write_section("history", fields["history"], ("at", "actor", "change", "reason"))


def _write_section(title: str, entries: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if entries:
        write_text("")
        write_text(bold(title))
        write_table(columns, [[entry[column] for column in columns] for entry in entries])
