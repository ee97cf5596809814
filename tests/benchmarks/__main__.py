"""`make bench`: all benchmarks, or those that are named, in one run.

`python -m tests.benchmarks [mllp] [kafka] [production] [worklist] [consumer] [feeding] [stays]`. Takes about fifteen
minutes on two cores; the figures are of this machine at this moment, so look at ratios and at the ranges in brackets.
"""

import argparse
import os
import platform
import signal
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import consumer, feeding, kafka_ingest, mllp, postgresql, production, stays, worklist
from tests.benchmarks.processes import prepare_template

SECTIONS = {
    "mllp": mllp.measure,
    "kafka": kafka_ingest.measure,
    "production": production.measure,
    "worklist": worklist.measure,
    "consumer": consumer.measure,
    "feeding": feeding.measure,
    "stays": stays.measure,
    "postgresql": postgresql.measure,
}


def main() -> None:
    """Measure and print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, []], help="all by default")
    wanted = parser.parse_args().section or list(SECTIONS)
    _say(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.python_implementation()} "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"load {os.getloadavg()[0]:.1f} before it began.\n"
    )
    with tempfile.TemporaryDirectory(prefix="afterstay-bench-") as name:
        folder = Path(name)
        template = prepare_template(folder / "template")
        for section in wanted:
            began = time.monotonic()
            _say(SECTIONS[section](folder / section, template))
            sys.stderr.write(f"[{section}: {time.monotonic() - began:.0f} s]\n")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the report


if __name__ == "__main__":
    main()
