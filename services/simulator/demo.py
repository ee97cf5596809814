"""`afterstay demo`: simulated hospitals send to a real `afterstay run`, and what comes of it is checked.

Owns the course of a demo. Promise: the exit code is 0 only if every frame sent is answered and in exactly one outcome
and the open tasks are exactly those that the simulator's own script says there should be; whatever happens, the child
process is stopped and a temporary folder is removed.
"""

import asyncio
import json
import shlex
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from services.ingest.mllp.client import MllpClientError
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import Permanent
from services.runtime.lifecycle import stop_requested
from services.simulator.comparison import Difference, balance, compare_tasks
from services.simulator.demo_screen import DemoScreen
from services.simulator.sending import Pace, Sent, send_streams
from services.simulator.service_process import AFTERSTAY, ServiceProcess, Status
from services.simulator.simulate import write_inputs
from services.simulator.simulation import DEFAULT_PATIENTS, Simulation, generate
from services.simulator.truth import task_counts

RIGHT: Final = 0
WRONG: Final = 1
INTERRUPTED: Final = 130
"""128 + SIGINT: asked to stop before there was a verdict."""
SETTLE_TIMEOUT_S: Final = 60.0
"""How long the last message may take to its outcome."""
LOOK_INTERVAL_S: Final = 0.25
GENTLE: Final = Pace(at_once=25, per_second=1.5)
"""For people to watch: a first handful at once, then about six messages a second from four hospitals."""
LOG_FILE: Final = "run.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a demo."""

    sent: Sent
    status: Status
    problems: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def is_right(self) -> bool:
        """Whether everything is accounted for and as it should be."""
        return not self.problems and not self.differences


def run_demo(  # noqa: PLR0913 - the verb's options, each with its own flag
    *,
    once: bool,
    as_json: bool,
    seed: int,
    data_dir: Path | None,
    stdout: TextIO,
    stderr: TextIO,
    patients: int = DEFAULT_PATIENTS,
    clock: Clock | None = None,
    command: Sequence[str] = AFTERSTAY,
    settle_timeout_s: float = SETTLE_TIMEOUT_S,
) -> int:
    """Run a demo and return the exit code; with ``once`` it stops by itself, otherwise with Ctrl-C.

    Raises:
        Permanent: the folder is not empty, or the service did not start or answer.
    """
    simulation = generate(seed, now=(clock or SystemClock()).now(), patients=patients)
    with _folder(data_dir) as folder:
        screen = DemoScreen(stderr, messages=simulation.messages, expected_tasks=len(simulation.expected))
        demo = _Demo(simulation, folder, screen=screen, settle_timeout_s=settle_timeout_s)
        verdict = asyncio.run(demo.run(command, once=once))
    if verdict is None:
        return INTERRUPTED if once else RIGHT
    if once:
        stdout.write(_printed(simulation, verdict, as_json=as_json))
    return RIGHT if verdict.is_right else WRONG


class _Demo:
    def __init__(self, simulation: Simulation, folder: Path, *, screen: DemoScreen, settle_timeout_s: float) -> None:
        self._simulation = simulation
        self._folder = folder
        self._screen = screen
        self._settle_timeout_s = settle_timeout_s
        self._verdict: Verdict | None = None

    async def run(self, command: Sequence[str], *, once: bool) -> Verdict | None:
        """Return what came of it; nothing when asked to stop before that is known."""
        panel, feeds = write_inputs(self._simulation, self._folder)
        service = ServiceProcess(self._folder, feeds=feeds, log=self._folder / LOG_FILE, command=command)
        with stop_requested() as stop:
            course = asyncio.create_task(self._serve(service, panel, once=once))
            await _first_of(course, asyncio.create_task(stop.wait()))
        if not course.cancelled():
            course.result()  # raises what it raised
        return self._verdict

    async def _serve(self, service: ServiceProcess, panel: Path, *, once: bool) -> None:
        """Have the service run while the work is done.

        Raises:
            Permanent: the service did not start, or ended by itself.
        """
        async with service:
            work = asyncio.create_task(self._work(service, panel, once=once))
            ended = asyncio.create_task(service.ended())
            await _first_of(work, ended)
            if not ended.cancelled():
                raise Permanent("demo-service-ended", f"`afterstay run` ended by itself:\n{service.log_tail()}")
            work.result()  # raises what it raised

    async def _work(self, service: ServiceProcess, panel: Path, *, once: bool) -> None:
        """Send, wait and judge; then, unless ``once``, stay up until canceled."""
        screen = self._screen
        await service.import_panel(panel)
        screen.say(f"worklist: {service.http}/", style="bold")
        screen.say(f"hospitals send to {service.mllp[0]}:{service.mllp[1]}; data in {self._folder}")
        with screen:
            async with self._watched(service):
                sent = await self._send(service, pace=None if once else GENTLE)
            self._verdict = verdict = await self._judge(service, sent)
            screen.worklist(len(await service.open_tasks()))
        screen.differences(verdict.problems, verdict.differences)
        if verdict.is_right:
            screen.say(f"{sent.messages} messages sent, each accounted for; the tasks are as they should be")
        if not once:
            self._say_what_next(service)
            await asyncio.Event().wait()

    async def _send(self, service: ServiceProcess, *, pace: Pace | None) -> Sent:
        try:
            return await send_streams(
                service.mllp, self._simulation.messages, pace=pace, on_answer=self._screen.answered
            )
        except* MllpClientError as group:
            raise Permanent("demo-not-answered", f"{group.exceptions[0]}\n{service.log_tail()}") from group

    async def _judge(self, service: ServiceProcess, sent: Sent) -> Verdict:
        """Wait until everything has its outcome, and compare."""
        status = await self._settled(service, sent)
        problems = balance(
            status.books,
            sent=len(self._simulation.messages),
            answered=sent.codes,
            dead_letters=self._simulation.expected_dead_letters,
        )
        if not status.balanced:
            problems = (*problems, "`afterstay status` says that its books do not balance")
        stories = {note.patient_id: note.story for note in self._simulation.notes if note.patient_id is not None}
        differences = compare_tasks(self._simulation.expected, await service.open_tasks(), stories=stories)
        return Verdict(sent=sent, status=status, problems=problems, differences=differences)

    async def _settled(self, service: ServiceProcess, sent: Sent) -> Status:
        """Return the status once nothing is pending, or the last one if that does not come in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settle_timeout_s
        while True:
            status = await service.status()
            settled = status.books.pending == 0 and status.books.received >= sent.messages
            if settled or loop.time() > deadline:
                return status
            await asyncio.sleep(LOOK_INTERVAL_S)

    @asynccontextmanager
    async def _watched(self, service: ServiceProcess) -> AsyncIterator[None]:
        """Look at the worklist while the messages are sent, and say when the first task is there."""
        watching = asyncio.create_task(self._watch(service))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, service: ServiceProcess) -> None:
        loop = asyncio.get_running_loop()
        began, seen = loop.time(), 0
        while True:
            with suppress(Permanent):  # the verdict at the end says it, if it stays so
                tasks = len(await service.open_tasks())
                if tasks and not seen:
                    self._screen.say(f"first task on the worklist after {loop.time() - began:.1f} s")
                seen = max(seen, tasks)
                self._screen.worklist(tasks)
            await asyncio.sleep(LOOK_INTERVAL_S)

    def _say_what_next(self, service: ServiceProcess) -> None:
        data = shlex.quote(str(self._folder))
        control_id = self._simulation.messages[0].control_id
        host, port = service.mllp
        for line in (
            "",
            "What to do next:",
            f"  open the worklist           {service.http}/",
            f"  list the tasks              afterstay tasks ls --data {data}",
            f"  follow a message            afterstay trace {control_id} --data {data}",
            f"  see that nothing is lost    afterstay status --data {data}",
            f"  send a message of your own  afterstay send FILE --to {host}:{port}",
            "Ctrl-C ends the demo.",
        ):
            self._screen.say(line)


async def _first_of(*tasks: asyncio.Task[Any]) -> None:
    """Wait for the first of the tasks to end; the others are canceled and waited for. Raises none of their errors."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    """Yield the given folder, or a temporary one that is removed afterwards."""
    if data_dir is None:
        with tempfile.TemporaryDirectory(prefix="afterstay-demo-") as name:
            yield Path(name)
        return
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise Permanent("folder-not-empty", f"{data_dir} exists and is not an empty folder: name another one")
    data_dir.mkdir(parents=True, exist_ok=True)
    yield data_dir


def _printed(simulation: Simulation, verdict: Verdict, *, as_json: bool) -> str:
    """Return the result for standard output."""
    expected = task_counts(simulation.expected)
    if not as_json:
        return (
            f"seed {simulation.seed}: {verdict.sent.messages} sent, "
            f"{len(verdict.differences)} differences in {len(simulation.expected)} expected tasks, "
            f"books {'balance' if not verdict.problems else 'do not balance'}\n"
        )
    facts = {
        **verdict.status.printed,
        "seed": simulation.seed,
        "sent": verdict.sent.messages,
        "expected": expected,
        "differences": [
            *({"problem": "books", "text": problem} for problem in verdict.problems),
            *(asdict(difference) for difference in verdict.differences),
        ],
    }
    return json.dumps(facts, indent=2) + "\n"
