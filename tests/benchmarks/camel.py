"""The peers of `peers/`: built with Maven when their sources have changed, run as any other server is.

Java and Maven are those that the broker needs, too (`make servers`).
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from schemas.topics import ADT_EVENTS
from tests.benchmarks.processes import Server, started

FOLDER: Final = Path(__file__).parent / "peers"
TARGET: Final = FOLDER / "target"
LIBS: Final = TARGET / "libs"
COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
BUILD_WITHIN_S: Final = 600.0
HEAP: Final = ("-Xms256m", "-Xmx512m")
"""Fixed, so that the machine's memory makes no difference; everything else is Java's own choice."""


def build() -> None:
    """Make the peers' classes and fetch their jars; does nothing where both are newer than the sources."""
    stamp = TARGET / "built"
    sources = [FOLDER / "pom.xml", *FOLDER.glob("src/**/*.java")]
    if stamp.exists() and stamp.stat().st_mtime > max(one.stat().st_mtime for one in sources):
        return
    shutil.rmtree(LIBS, ignore_errors=True)  # no jar of an older pom
    words = ["mvn", "-B", "-q", "-f", str(FOLDER / "pom.xml"), "compile", COPY]
    done = subprocess.run(
        [*words, "-DincludeScope=runtime", f"-DoutputDirectory={LIBS}"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        timeout=BUILD_WITHIN_S,
        check=False,
    )
    if done.returncode:
        sys.exit(f"benchmark: the peers could not be built ({done.returncode}); what Maven said stands above")
    stamp.touch()


@contextmanager
def camel(folder: Path, kind: Literal["hapi", "raw"], bootstrap: str, partitions: int) -> Iterator[Server]:
    """Run a Camel route from MLLP to Kafka: `hapi` makes events, `raw` forwards bytes."""
    folder.mkdir(parents=True)
    port = _free_port()
    words = ["java", *HEAP, "-cp", f"{TARGET / 'classes'}:{LIBS}/*", "afterstay.peers.Peer", kind, str(port)]
    with started([*words, bootstrap, ADT_EVENTS, str(partitions)], folder / "camel.err") as (process, ready):
        yield Server(port=ready["port"], processes={"listener": process})


def _free_port() -> int:
    with socket.socket() as probe:  # Camel takes no port 0
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
