"""The practice's own closed days: a text file in the data folder, a date a line.

    2026-12-24  Christmas Eve
    # what follows a date, and a line that begins with #, is for people

CMS lets a practice count its own holidays (domain §1.1: federal default, practice-editable). A wrong file is refused
with every wrong line named: a closure read wrongly moves a statutory date (promise P5).
"""

from datetime import date
from pathlib import Path
from typing import Final

from services.runtime.errors import ConfigurationError, ConfigurationProblem

CLOSURES_FILE: Final = "closures.txt"
CLOSURES_BYTES_MAX: Final = 256 * 1024
"""Room for a closed day of every week of a century."""


def closures_in(data_dir: Path) -> frozenset[date]:
    """Return the closed days stated in a data folder; none where there is no file.

    Raises:
        ConfigurationError: `closures-file-invalid`.
    """
    file = data_dir / CLOSURES_FILE
    return read_closures(file) if file.exists() else frozenset()


def read_closures(file: Path) -> frozenset[date]:
    """Return the closed days that a file states.

    Raises:
        ConfigurationError: `closures-file-invalid`, with file, line and reason of everything wrong in it.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(CLOSURES_BYTES_MAX).decode("utf-8-sig")
    except OSError as error:
        raise _invalid(
            [ConfigurationProblem(file=file, line=None, reason=f"cannot be read: {error.strerror}")]
        ) from error
    except UnicodeDecodeError as error:
        raise _invalid([ConfigurationProblem(file=file, line=None, reason="is not UTF-8 text")]) from error
    closed: set[date] = set()
    problems: list[ConfigurationProblem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            closed.add(date.fromisoformat(words[0]))
        except ValueError:
            reason = "does not begin with a date: write 2026-12-24, and a name after it if you like"
            problems.append(ConfigurationProblem(file=file, line=number, reason=reason))
    if problems:
        raise _invalid(problems)
    return frozenset(closed)


def _invalid(problems: list[ConfigurationProblem]) -> ConfigurationError:
    return ConfigurationError(problems, code="closures-file-invalid")
