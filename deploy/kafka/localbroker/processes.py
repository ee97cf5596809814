"""One broker as a process: formatted, started in the background, found again by its pid file, ended.

Promise: nothing is signaled that is not this broker: a pid file may be older than the machine's last boot, so the
process must also have this broker's settings on its command line.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from localbroker.failure import Failure
from localbroker.layout import Cluster, check_free
from localbroker.properties import CLUSTER_ID, format_options, server_properties

JVM = ("-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Measured: 185 MB and ready in 2 s, where Java's own choice takes 350 MB and 3 s."""
POLL_S = 0.05
KILL_WITHIN_S = 10.0
EXEC_POLLS = 20
_TAIL = 4_000


@dataclass(frozen=True)
class Broker:
    """One broker of a data folder."""

    node: int
    home: Path

    @property
    def settings(self) -> Path:
        """What it is started with; its path marks the process as this broker's."""
        return self.home / "server.properties"

    @property
    def log(self) -> Path:
        """What it says: errors only, unless a log4j2.properties lies on its class path."""
        return self.home / "broker.log"

    @property
    def _pid_file(self) -> Path:
        return self.home / "broker.pid"

    def pid(self) -> int | None:
        """Return the id of its process, or nothing if it does not run."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if str(self.settings) in _command_line(pid) else None

    def launch(self, cluster: Cluster, jars: Path) -> None:
        """Start it in the background, on storage that is formatted once."""
        check_free(cluster, self.node)
        self.home.mkdir(parents=True, exist_ok=True)
        storage = self.home / "log"
        with open(self.settings, "w", encoding="utf-8", opener=_private) as file:  # it may hold a password
            file.write(server_properties(cluster, self.node, storage))
        if not (storage / "meta.properties").exists():
            self._format(cluster, jars, storage)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                ["java", *JVM, "-cp", f"{jars}/*", "kafka.Kafka", str(self.settings)],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives this command and its terminal
            )
        self._pid_file.write_text(f"{process.pid}\n", encoding="ascii")

    def _format(self, cluster: Cluster, jars: Path, storage: Path) -> None:
        if storage.exists():  # a format cut short: without meta.properties the tool did not finish
            shutil.rmtree(storage)
        words = ["java", "-Xmx128m", "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID]
        words += ["-c", str(self.settings), *format_options(cluster)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"the storage of broker {self.node} could not be formatted: {done.stderr or done.stdout}")

    def end(self, patience_s: float) -> None:
        """End it in order, or by force when it has not gone in time; a frozen one is thawed first."""
        if (pid := self.pid()) is not None:
            _signal(pid, signal.SIGTERM)
            _signal(pid, signal.SIGCONT)
            if not self._gone(patience_s):
                _signal(pid, signal.SIGKILL)
                if not self._gone(KILL_WITHIN_S):
                    raise Failure(f"broker {self.node}, process {pid}, cannot be ended: look at its state with ps")
        self._pid_file.unlink(missing_ok=True)

    def _gone(self, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while self.pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def last_words(self) -> str:
        """Return the end of what it said."""
        return self.log.read_bytes()[-_TAIL:].decode(errors="replace") if self.log.exists() else ""


def brokers_of(data: Path, cluster: Cluster) -> list[Broker]:
    """Return the brokers of a data folder, running or not."""
    return [Broker(node, data / str(node)) for node in cluster.nodes]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _command_line(pid: int) -> str:
    """Return how a process was started; empty for one that is gone or only waits to be reaped."""
    if not Path("/proc/self").exists():
        words = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout
    process = Path(f"/proc/{pid}")
    try:
        for _ in range(EXEC_POLLS):
            said = (process / "cmdline").read_bytes()
            if said or (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX":
                return said.replace(b"\0", b" ").decode(errors="replace")
            time.sleep(POLL_S)  # Linux wakes the parent of an exec a moment before it sets the new command line
    except (FileNotFoundError, ProcessLookupError):
        pass
    return ""
