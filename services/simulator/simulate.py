"""`afterstay simulate`: a simulation into a folder, or to a listener.

Owns the folder's layout: `panel.csv`, `feeds.yaml`, `messages/` with one file a frame, numbered in order of delivery,
and `expected.json` with what should come of it and why. Promise: the same seed, moment and number of people write the
same files.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Final, TextIO

from services.ingest.mllp.client import MllpClientError
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import Permanent, Transient
from services.simulator.comparison import ACCEPTED
from services.simulator.sending import Pace, Sent, send_streams
from services.simulator.simulation import DEFAULT_PATIENTS, Simulation, generate
from services.simulator.truth import task_counts

PANEL_FILE: Final = "panel.csv"
FEEDS_FILE: Final = "feeds.yaml"
EXPECTED_FILE: Final = "expected.json"
MESSAGES_FOLDER: Final = "messages"


def write_folder(simulation: Simulation, folder: Path) -> None:
    """Write a simulation into an empty or new folder.

    Raises:
        Permanent: the folder has something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Permanent("folder-not-empty", f"{folder} exists and is not an empty folder: name another one")
    messages = folder / MESSAGES_FOLDER
    messages.mkdir(parents=True)
    write_inputs(simulation, folder)
    (folder / EXPECTED_FILE).write_text(expected_json(simulation), encoding="utf-8")
    for place, message in enumerate(simulation.messages):
        (messages / f"{place:05d}-{message.feed}-{message.control_id}.hl7").write_bytes(message.payload)


def write_inputs(simulation: Simulation, folder: Path) -> tuple[Path, Path]:
    """Write the panel and the feeds file, and return their paths."""
    panel, feeds = folder / PANEL_FILE, folder / FEEDS_FILE
    panel.write_text(simulation.panel_csv, encoding="utf-8")
    feeds.write_text(simulation.feeds_yaml, encoding="utf-8")
    return panel, feeds


def expected_json(simulation: Simulation) -> str:
    """Return what should come of a simulation, with the reasons, as JSON."""
    content = {
        "seed": simulation.seed,
        "now": simulation.now.isoformat(),
        "frames": len(simulation.messages),
        "dead_letters": simulation.expected_dead_letters,
        "tasks": [asdict(task) for task in simulation.expected],
        "reviews": [asdict(review) for review in simulation.expected_reviews],
        "stories": [asdict(note) for note in simulation.notes],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, default=date.isoformat) + "\n"


def run_simulate(
    *,
    seed: int,
    out_dir: Path | None,
    to: tuple[str, int] | None,
    stdout: TextIO,
    patients: int = DEFAULT_PATIENTS,
    rate: float | None = None,
    as_json: bool = False,
    clock: Clock | None = None,
) -> int:
    """Write a simulation into ``out_dir``, send it to the listener ``to``, or both; return the exit code.

    ``rate`` is in messages a second over all hospitals; without it they send as fast as they are answered.

    Raises:
        Permanent: neither or a wrong destination was named.
        Transient: the listener cannot be reached, or stopped answering.
    """
    if out_dir is None and to is None:
        raise Permanent("destination-missing", "name a folder with --out, a listener with --to HOST:PORT, or both")
    if rate is not None and rate <= 0:
        raise Permanent("rate-not-positive", "--rate is in messages a second, more than 0")
    simulation = generate(seed, now=(clock or SystemClock()).now(), patients=patients)
    if out_dir is not None:
        write_folder(simulation, out_dir)
    sent = _send(simulation, to, rate) if to is not None else None
    _report(simulation, sent, out_dir, stdout.write, as_json=as_json)
    return 0 if sent is None or set(sent.codes) == {ACCEPTED} else 1


def _send(simulation: Simulation, to: tuple[str, int], rate: float | None) -> Sent:
    feeds = {message.feed for message in simulation.messages}
    pace = Pace(at_once=0, per_second=rate / len(feeds)) if rate is not None else None
    try:
        return asyncio.run(send_streams(to, simulation.messages, pace=pace))
    except* MllpClientError as group:
        raise Transient("listener-not-answering", str(group.exceptions[0])) from group


def _report(
    simulation: Simulation, sent: Sent | None, folder: Path | None, write: Callable[[str], object], *, as_json: bool
) -> None:
    counts = task_counts(simulation.expected)
    if as_json:
        facts = {
            "seed": simulation.seed,
            "now": simulation.now.isoformat(),
            "frames": len(simulation.messages),
            "folder": str(folder) if folder else None,
            "sent": sent.messages if sent else 0,
            "acknowledged": dict(sent.codes) if sent else {},
            "expected": counts,
        }
        write(json.dumps(facts, indent=2) + "\n")
        return
    write(f"seed {simulation.seed}: {len(simulation.notes)} people, {len(simulation.messages)} frames\n")
    if folder is not None:
        write(f"written to {folder}; what should come of it is in {EXPECTED_FILE}\n")
    if sent is not None:
        answers = ", ".join(f"{count} {code}" for code, count in sent.codes.items())
        write(f"sent {sent.messages}, answered {answers}\n")
    for kind, by_status in counts.items():
        write(f"expected {kind}: {', '.join(f'{n} {status}' for status, n in by_status.items()) or 'none'}\n")
