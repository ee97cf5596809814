"""`afterstay`: finds the verb, runs it, and says in one line what went wrong.

Promises: only the verb that was asked for is loaded; an error is one line (a wrong file: one line a problem) on
standard error, `afterstay: what, why, what to do [code]`, and a traceback only with `--debug`; exit codes are those of
`commands.exit_codes`, and nothing else decides them.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import cast

from services.commands.arguments import Arguments
from services.commands.exit_codes import INTERRUPTED, OK, PIPE_CLOSED, REFUSED, USAGE, exit_code_of
from services.commands.grammar import build_parser
from services.runtime.errors import AfterstayError

Verb = Callable[[Arguments], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `afterstay` with these words (default: the process's own) and return the exit code."""
    parser = build_parser(os.environ)
    try:
        arguments = parser.parse_args(argv, namespace=Arguments())
    except SystemExit as end:  # --help, or words that make no sense; argparse has said so
        return end.code if isinstance(end.code, int) else OK
    if not arguments.handler:
        parser.print_help(sys.stderr)
        return USAGE
    return _run(arguments)


def find_verb(handler: str) -> Verb:
    """Load the function that `module:function` names."""
    module, _, function = handler.partition(":")
    return cast("Verb", getattr(importlib.import_module(f"services.commands.{module}"), function))


def _run(arguments: Arguments) -> int:
    try:
        code = find_verb(arguments.handler)(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _let_go_of_output()
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the command line is a shell: whatever fails is said in one line
        _explain(error, debug=arguments.debug)
        return _flushed(REFUSED if isinstance(error, OSError) else exit_code_of(error))
    return code


def _explain(error: Exception, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    match error:
        case AfterstayError():
            lines, code = error.message.splitlines(), error.code
        case OSError():  # a file, a disk or a socket; the system's own words name it best
            lines, code = [f"{error.strerror or type(error).__name__}: {error.filename or 'while working'}"], "system"
        case _:  # its text may quote what it failed on, so it is not shown
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {PurePath(frame.filename).name}:{frame.lineno}"
            lines, code = [f"this is a bug ({where}): run it again with --debug and report what it says"], "defect"
    for line in lines:
        sys.stderr.write(f"afterstay: {line} [{code}]\n")


def _flushed(code: int) -> int:
    """Return the code; what cannot be written any more must not become another error when the process ends."""
    try:
        sys.stdout.flush()
    except OSError:
        _let_go_of_output()
    return code


def _let_go_of_output() -> None:
    """Send the rest of our output nowhere, since nobody reads it (docs.python.org, signal, "Note on SIGPIPE")."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
