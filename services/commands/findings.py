"""What a check of `afterstay doctor` finds: how bad it is, what it means, and how to mend it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from services.runtime.errors import AfterstayError

Level = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding. `fix` is the exact thing to do; `None` where nothing is."""

    check: str
    level: Level
    text: str
    fix: str | None = None


Examine = Callable[[], Iterable[Finding]]


def passed(check: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, level="pass", text=text)


def warned(check: str, text: str, fix: str) -> Finding:
    """Return that it works and should not stay so."""
    return Finding(check=check, level="warn", text=text, fix=fix)


def failed(check: str, text: str, fix: str) -> Finding:
    """Return that it does not work, or loses or misses something."""
    return Finding(check=check, level="fail", text=text, fix=fix)


def examined(check: str, examine: Examine) -> list[Finding]:
    """Return what a check finds; that it cannot be made is a finding, too."""
    try:
        return list(examine())
    except AfterstayError as error:  # its text says what to do
        return [failed(check, f"cannot be examined [{error.code}]", error.message)]
    except OSError as error:
        text = f"cannot be examined: {error.strerror or type(error).__name__} ({error.filename or 'no file'})"
        return [failed(check, text, "mend what the system says, then run `afterstay doctor` again")]
