"""Exit codes of `afterstay`, and the one place that says which error gets which (docs/reference/cli.md).

`doctor` alone has its own three: 0 all well, 1 a warning, 2 a failure.
"""

from typing import Final

from services.runtime.errors import AfterstayError, Defect, Transient

OK: Final = 0
REFUSED: Final = 1
"""It was understood and the answer is no: refused, not found, unbalanced, not all AA, or not known to be done."""
USAGE: Final = 2
TEMPORARY: Final = 3
"""Nothing has happened and the same call may work later."""
DEFECT: Final = 70
"""Our own bug (sysexits.h: EX_SOFTWARE)."""
INTERRUPTED: Final = 130
"""Ctrl-C (128 + SIGINT)."""
PIPE_CLOSED: Final = 141
"""Whoever read our output stopped reading (128 + SIGPIPE), as with `afterstay tasks ls | head -1`."""


def exit_code_of(error: Exception) -> int:
    """Return the exit code for an error that ended a verb."""
    match error:
        case Defect():
            return DEFECT
        case Transient():
            return TEMPORARY
        case AfterstayError():  # Permanent; and Ambiguous, where trying again blindly might do it twice
            return REFUSED
        case _:
            return DEFECT
