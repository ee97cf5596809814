"""A real `afterstay ingest` as a child process, and hospitals that keep sending whatever happens to it.

A `Hospital` is one connection that sends at its own pace with a window of messages unanswered. When it is hung up on it
connects again and sends again, in order, what was not answered, as interface engines do; and it remembers when each
message was first sent and when it was answered, so that gaps can be measured.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from schemas.events import RAW_HEADER
from schemas.topics import ADT_EVENTS
from services.runtime.eventlog.kafka.connection import KafkaConnection
from services.runtime.eventlog.kafka.subscriber import KafkaSubscriber
from services.runtime.eventlog.port import Record
from tests.system.people import FEED
from tests.system.senders import Address, Answer, Sender, control_id_of, framed
from tests.system.service import COMMAND, DRAIN_WITHIN_S, ROOT, START_WITHIN_S
from tests.system.service import until as until_in_thread

RECONNECT_S: Final = 0.1
ASK_WITHIN_S: Final = 10.0


async def until(condition: Callable[[], bool], within_s: float, *, poll_s: float = 0.001) -> None:
    """Wait, with the loop running, for what hospitals see."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - it is counted from what they have noted
            await asyncio.sleep(poll_s)


class IngestService:
    """One listener with its spool; a context manager that starts it and always ends it."""

    def __init__(self, folder: Path, bootstrap: str, *, spool_mb: int = 1024) -> None:
        folder.mkdir(exist_ok=True)
        self.spool = folder / "spool"
        self.mllp: Address = ("", 0)
        self.ops = ""
        self._folder = folder
        self._bootstrap = bootstrap
        self._spool_mb = spool_mb
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._feeds = folder / "feeds.yaml"
        self._feeds.write_text(FEED, encoding="utf-8")

    def start(self) -> Self:
        """Start it and wait for its ready line; it keeps its port from the first start on."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        with self._stdout.open("wb") as out, self._stderr.open("ab") as err:
            self._process = subprocess.Popen(
                [
                    *COMMAND, "ingest", "--kafka", self._bootstrap, "--spool", str(self.spool),
                    "--spool-max", str(self._spool_mb), "--feeds", str(self._feeds),
                    "--mllp-port", str(self._port), "--ops-port", "0",
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )  # fmt: skip
        ready = msgspec.json.decode(until_in_thread(self._ready_line, START_WITHIN_S))
        host, _, port = ready["mllp"].rpartition(":")
        self.mllp, self.ops, self._port = (host, int(port)), ready["ops"], int(port)
        return self

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as `kill -9` does, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def terminate(self) -> int:
        """Ask for the end with SIGTERM and return the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self, within_s: float = DRAIN_WITHIN_S) -> int:
        """Wait for its end and return the exit code."""
        assert self._process is not None
        return self._process.wait(timeout=within_s)

    def close(self) -> None:
        """End it if it still runs, in order if it lets itself be asked."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=2 * DRAIN_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def metrics(self) -> dict[str, float]:
        """Return its unlabeled metrics, and its spool's state as `state:WORD`."""
        async with httpx.AsyncClient(trust_env=False, timeout=ASK_WITHIN_S) as client:
            text = (await client.get(f"{self.ops}/metrics")).text
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "afterstay_spool_state":
                    found[f"state:{sample.labels['state']}"] = sample.value
                elif not sample.labels:
                    found[sample.name] = sample.value
        return found

    async def until_forwarded(self, within_s: float) -> None:
        """Wait until its spool is empty and bypassed."""

        def is_direct(found: dict[str, float]) -> bool:
            return found["afterstay_spool_messages"] == 0 and found["state:direct"] == 1

        await self.until_metrics(is_direct, within_s)

    async def until_metrics(self, condition: Callable[[dict[str, float]], bool], within_s: float) -> None:
        """Wait until its metrics are so."""
        async with asyncio.timeout(within_s):
            while not condition(await self.metrics()):  # noqa: ASYNC110 - they are another process's
                await asyncio.sleep(0.05)

    def log(self) -> list[dict[str, Any]]:
        """Return the log lines of all starts."""
        return [msgspec.json.decode(line) for line in self._stderr.read_text(encoding="utf-8").splitlines()]

    @property
    def _stdout(self) -> Path:
        return self._folder / "ingest.out"

    @property
    def _stderr(self) -> Path:
        return self._folder / "ingest.err"

    def _ready_line(self) -> str | None:
        assert self._process is not None
        said = self._stdout.read_text(encoding="utf-8")
        ended = self._process.poll() is not None
        assert said.endswith("\n") or not ended, f"it ended before it was ready:\n{self._stderr.read_text()}"
        return said if said.endswith("\n") else None


def adt_message(sender: str, number: int, padding: int = 0) -> bytes:
    """Return a small discharge that no other sender and number have; its patients are many, so are the partitions."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    return (
        f"MSH|^~\\&|ADT|MERCY|||{now}||ADT^A03|{sender}-{number}|P|2.5.1\r"
        f"EVN|A03|{now}\r"
        f"PID|1||{number * 7919 % 997}^^^MERCY^MR||Ruiz^Ana||19520309|F\r"
        f"PV1|1|I|4W^412^A^MERCY||||||||||||||||{sender}{number}|||||||||||||||||01|||||||||{now}\r"
        f"NTE|1||{'x' * padding}\r"
    ).encode()


@dataclass(kw_only=True)
class Hospital:
    """One connection to a listener, at its own pace.

    Attributes:
        rate: Messages a second; what falls behind is not caught up with.
        sent: The bytes of each message, by its number.
        first_sent_s: When it was first sent.
        answered_s: When it was answered.
        codes: All that was ever answered to it.
        in_flight_max: The most that was unanswered at once.
        hung_up: How often it was hung up on or refused.
    """

    name: str
    listener: IngestService
    rate: float
    window: int = 32
    padding: int = 0
    sent: list[bytes] = field(default_factory=list)
    first_sent_s: list[float] = field(default_factory=list)
    answered_s: dict[int, float] = field(default_factory=dict)
    codes: dict[int, set[str]] = field(default_factory=dict)
    hung_up: int = 0
    _stopping: bool = False

    @property
    def acknowledged(self) -> list[int]:
        """Return the numbers of the messages that were accepted."""
        return [number for number, codes in self.codes.items() if "AA" in codes]

    @property
    def in_flight(self) -> int:
        """Return how many messages were sent and not answered."""
        return len(self.sent) - len(self.answered_s)

    def stop(self) -> None:
        """Begin no new message."""
        self._stopping = True

    async def run(self) -> None:
        """Send until told to stop, and then until all is answered."""
        unanswered: deque[int] = deque()
        while not (self._stopping and not unanswered):
            with contextlib.suppress(ConnectionError):
                async with await Sender.connect(self.listener.mllp) as sender:
                    await self._talk(sender, unanswered)
                    continue
            self.hung_up += 1
            await asyncio.sleep(RECONNECT_S)

    async def _talk(self, sender: Sender, unanswered: deque[int]) -> None:
        """Send again what is unanswered, then new messages; until it is hung up on, or all is answered."""
        for number in unanswered:
            await sender.say(framed(self.sent[number]))
        writing = asyncio.create_task(self._write(sender, unanswered))
        try:
            while unanswered or not self._stopping:
                if not unanswered:
                    await asyncio.sleep(0.005)
                    continue
                answer = await sender.answer()
                if answer is None:
                    raise ConnectionError
                self._note(answer, unanswered.popleft())
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writing

    async def _write(self, sender: Sender, unanswered: deque[int]) -> None:
        due = time.monotonic()
        while not self._stopping:
            due = max(due + 1 / self.rate, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            if len(unanswered) < self.window:
                number = len(self.sent)
                self.sent.append(adt_message(self.name, number, self.padding))
                self.first_sent_s.append(time.monotonic())
                unanswered.append(number)
                await sender.say(framed(self.sent[number]))

    def _note(self, answer: Answer, number: int) -> None:
        assert answer.control_id == control_id_of(self.sent[number]), "answers come in order"
        self.answered_s.setdefault(number, time.monotonic())
        self.codes.setdefault(number, set()).add(answer.code)


def longest_gap_s(hospitals: list[Hospital], begin_s: float, end_s: float) -> float:
    """Return the longest time without an answer to any of these hospitals."""
    times = sorted(
        moment for hospital in hospitals for moment in hospital.answered_s.values() if begin_s <= moment <= end_s
    )
    moments = [begin_s, *times, end_s]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def longest_wait_s(hospitals: list[Hospital], begin_s: float, end_s: float) -> float:
    """Return the longest that a message first sent in this time waited for its answer."""
    return max(
        hospital.answered_s[number] - sent_s
        for hospital in hospitals
        for number, sent_s in enumerate(hospital.first_sent_s)
        if begin_s <= sent_s <= end_s and number in hospital.answered_s
    )


async def read_topic(bootstrap: str) -> dict[int, list[Record]]:
    """Return all records of the events' topic, by partition."""
    subscriber = await KafkaSubscriber.open(KafkaConnection(bootstrap=bootstrap), client_id="test")
    try:
        found: dict[int, list[Record]] = {}
        for partition, offset in (await subscriber.begin_offsets(ADT_EVENTS)).items():
            records: list[Record] = []
            while page := await subscriber.read(
                ADT_EVENTS, partition, offset, max_records=5000, bytes_max=8 * 1024 * 1024
            ):
                records += page
                offset = page[-1].offset + 1  # noqa: PLW2901 - the next to read
            found[partition] = records
        return found
    finally:
        await subscriber.close()


def assert_kept_in_order(hospital: Hospital, topic: dict[int, list[Record]]) -> int:
    """Check what is promised of a hospital's messages; return how many are in the topic more than once."""
    numbers = {raw: number for number, raw in enumerate(hospital.sent)}
    assert len(numbers) == len(hospital.sent)
    seen: dict[int, int] = {}
    for records in topic.values():
        first: list[int] = []
        for record in records:
            number = numbers.get(record.header(RAW_HEADER) or b"")
            if number is None:
                continue  # of another hospital
            if number not in seen:
                first.append(number)
            seen[number] = seen.get(number, 0) + 1
        assert first == sorted(first), f"{hospital.name}: first occurrences are out of order"
    lost = sorted(set(hospital.acknowledged) - seen.keys())
    assert not lost, f"{hospital.name}: acknowledged and not in the topic: {lost[:10]} of {len(lost)}"
    assert all(codes == {"AA"} for codes in hospital.codes.values()), "answered twice differently"
    return sum(count - 1 for count in seen.values())
