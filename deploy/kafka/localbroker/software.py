"""What a broker needs installed: Java 17 or later from the system's packages, and Kafka's jars by Maven.

Promise: any number of first starts at the same time fetch the jars once, and a fetch cut short leaves nothing that a
later one takes for whole: the folder appears by a rename when it is complete.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localbroker.failure import Failure

KAFKA_VERSION = "4.4.0"  # what pom.xml names
JAVA_VERSION_MIN = 17
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
PACKAGES = ("default-jdk-headless", "maven")
POM = Path(__file__).resolve().parents[1] / "pom.xml"
TRIES = 3
"""Fetches before giving up: a registry that answers slowly is common, one that fails three times is down."""


def jars_folder() -> Path:
    """Return where the jars lie or will lie; one for all projects of this user."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "afterstay" / f"kafka-{KAFKA_VERSION}"


def install() -> Path:
    """Install what is missing and return the folder of the jars."""
    folder = jars_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        has_jars = folder.is_dir()
        if _java_version() < JAVA_VERSION_MIN or not (has_jars or shutil.which("mvn")):
            _install_packages()
        if not has_jars:
            _fetch_jars(folder)
    return folder


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a file's lock; it is freed with the process, so a killed one leaves nothing to clean up."""
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _java_version() -> int:
    """Return the major version of `java`, or 0 where there is none."""
    if not shutil.which("java"):
        return 0
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def _install_packages() -> None:
    if not shutil.which("apt-get"):
        raise Failure(f"Java {JAVA_VERSION_MIN} or later and Maven are needed and there is no apt-get: install them")
    root = () if os.geteuid() == 0 else ("sudo", "-n")
    apt_get = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    for words in (("update",), ("install", "-y", "--no-install-recommends", *PACKAGES)):
        _run([*apt_get, *words])
    if (found := _java_version()) < JAVA_VERSION_MIN:
        raise Failure(f"the system's Java is {found} and Kafka needs {JAVA_VERSION_MIN}: put a later one on the PATH")


def _fetch_jars(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as name:
        jars = Path(name) / "jars"
        words = ["mvn", "-B", "-q", "-f", str(POM), PLUGIN, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        for attempt in range(1, TRIES + 1):
            try:
                _run(words)
                break
            except Failure:
                if attempt == TRIES:
                    raise
        jars.rename(folder)


def _run(words: list[str]) -> None:
    """Run to its end; what it says goes to standard error, since standard output is the address alone."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    except FileNotFoundError as error:
        raise Failure(f"{words[0]} is not installed") from error
    if done.returncode:
        raise Failure(f"`{' '.join(words)}` ended with {done.returncode}; what it said stands above")
