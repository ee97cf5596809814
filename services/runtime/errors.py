"""The errors of the services, named by what the caller must do.

    AfterstayError
    ├── Permanent                the input is wrong and stays wrong: refuse it, dead-letter it, exit 1
    │   └── ConfigurationError   an operator's file or setting is wrong; lists every problem at once
    ├── Transient                nothing has happened; trying again is safe
    ├── Ambiguous                it may have happened; try again only if that is idempotent, else review
    └── Defect                   our own bug: crash and page

Promise: every instance has a stable kebab-case `code` (used in acknowledgements, dead letters, metrics, API
problems and docs) and a message that is advice: what happened, why, what to do. A message holds codes, ids, paths
and counts, never patient data, so it may be logged. Expected outcomes are return values and never appear here.
Source: DESIGN §4 "Errors", house style 14 to 16; the split by recovery is medplum's and arroyo's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class AfterstayError(Exception):
    """Anything the services raise on purpose; catch a subclass, which says what to do."""

    def __init__(self, code: str, message: str) -> None:
        assert _CODE.fullmatch(code), f"error code {code!r} is not kebab-case"
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.message!r})"


class Permanent(AfterstayError):  # noqa: N818 - named by what the caller must do (house style 14)
    """The input is wrong: the same call fails again until somebody changes it."""


class Transient(AfterstayError):  # noqa: N818 - see Permanent
    """Nothing has happened, for certain: trying again later is safe."""


class Ambiguous(AfterstayError):  # noqa: N818 - see Permanent
    """It may or may not have happened: try again only if that is idempotent."""


class Defect(AfterstayError):  # noqa: N818 - see Permanent
    """Our own bug: stop the process rather than guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationProblem:
    """One thing to mend: where (line counts from 1; None when the whole file is meant) and why."""

    file: Path
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else str(self.file)
        return f"{where}: {self.reason}"


class ConfigurationError(Permanent):
    """A file or setting that an operator wrote is wrong; `problems` lists everything found, not only the first."""

    def __init__(self, problems: Sequence[ConfigurationProblem], code: str = "configuration-invalid") -> None:
        assert problems, "a configuration error names at least one problem"
        super().__init__(code, "\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[ConfigurationProblem, ...], str]]:
        return type(self), (self.problems, self.code)  # so that it survives the way back from a worker process
