"""Runs a unit of work again when it met another one: the one answer to conflicts.

Two units that take the same rows in another order cannot both go on; the database ends one of them, which then leaves
nothing behind (`database-conflict`). It is run again from its beginning, a few times, after waits that grow and differ
by chance, so that the same two do not meet again. What still fails goes to the caller, whose own back-off is longer.

Source: DESIGN §5 ("one function that can be run again on a deadlock or serialization failure"); PostgreSQL 15, 13.5
"Serialization Failure Handling"; AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter).
"""

import functools
import random
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from services.runtime.errors import Transient

CONFLICT: Final = "database-conflict"
ATTEMPTS_MAX: Final = 8
"""Then another one holds the rows for longer than any unit takes: two seconds of waits in all, at most."""
WAIT_FIRST_S: Final = 0.02
WAIT_MAX_S: Final = 0.5

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def run_again(unit: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Make a function that is one unit of work run again after a conflict; its arguments must bear that.

    Raises (what it makes):
        Transient: nothing was written; after a conflict only if there was one every time.
    """

    @functools.wraps(unit)
    def run(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        for attempt in range(1, ATTEMPTS_MAX):
            try:
                return unit(*arguments, **named)
            except Transient as error:
                if error.code != CONFLICT:
                    raise
            time.sleep(random.uniform(0, min(WAIT_MAX_S, WAIT_FIRST_S * 2**attempt)))  # noqa: S311 - not a secret
        return unit(*arguments, **named)

    return run
