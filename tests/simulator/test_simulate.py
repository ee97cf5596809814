import io
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import yaml

from services.runtime.clock import FixedClock
from services.runtime.errors import Permanent, Transient
from services.simulator.simulate import run_simulate
from services.simulator.simulation import generate
from tests.simulator.simulations import NOW

PATIENTS = 5


def simulate(
    *,
    out_dir: Path | None = None,
    to: tuple[str, int] | None = None,
    patients: int = PATIENTS,
    rate: float | None = None,
    as_json: bool = False,
) -> tuple[int, str]:
    stdout = io.StringIO()
    code = run_simulate(
        seed=2,
        out_dir=out_dir,
        to=to,
        stdout=stdout,
        patients=patients,
        rate=rate,
        as_json=as_json,
        clock=FixedClock(NOW),
    )
    return code, stdout.getvalue()


class Listener(socketserver.ThreadingTCPServer):
    """Answers every frame with AA, or with a code of its choice, and keeps the frames by connection."""

    def __init__(self, code: bytes = b"AA") -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.code = code
        self.frames: list[list[bytes]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Connection(socketserver.StreamRequestHandler):
    server: Listener

    def handle(self) -> None:
        own: list[bytes] = []
        self.server.frames.append(own)
        frame = b""
        while line := self.rfile.readline(1):
            frame += line
            if frame.endswith(b"\x1c\r"):
                own.append(frame.removeprefix(b"\x0b").removesuffix(b"\x1c\r"))
                control_id = frame.split(b"|")[9]
                self.wfile.write(b"\x0bMSH|^~\\&|A\rMSA|" + self.server.code + b"|" + control_id + b"\r\x1c\r")
                frame = b""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listening:
        yield listening


def test_a_folder_gets_panel_feeds_messages_and_what_should_come_of_them(tmp_path: Path) -> None:
    told = generate(2, now=NOW, patients=PATIENTS)
    code, output = simulate(out_dir=tmp_path / "sim")
    assert code == 0
    assert f"{len(told.messages)} frames" in output
    assert (tmp_path / "sim/panel.csv").read_text(encoding="utf-8") == told.panel_csv
    assert yaml.safe_load((tmp_path / "sim/feeds.yaml").read_text(encoding="utf-8"))["feeds"]
    files = sorted((tmp_path / "sim/messages").iterdir())
    assert [file.read_bytes() for file in files] == [message.payload for message in told.messages]
    expected = json.loads((tmp_path / "sim/expected.json").read_text(encoding="utf-8"))
    assert len(expected["tasks"]) == len(told.expected) > 0
    assert expected["tasks"][0]["discharged_on"] == told.expected[0].discharged_on.isoformat()
    assert len(expected["stories"]) == PATIENTS
    assert expected["frames"] == len(files)


def test_the_same_seed_and_moment_write_the_same_files(tmp_path: Path) -> None:
    simulate(out_dir=tmp_path / "one")
    simulate(out_dir=tmp_path / "two")
    for file in (tmp_path / "one").rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(Permanent, match="not an empty folder"):
        simulate(out_dir=tmp_path)
    with pytest.raises(Permanent, match="not an empty folder"):
        simulate(out_dir=tmp_path / "mine")


def test_a_destination_has_to_be_named() -> None:
    with pytest.raises(Permanent, match="--out"):
        simulate()


def test_a_listener_gets_every_frame_by_one_connection_a_hospital(listener: Listener) -> None:
    told = generate(2, now=NOW, patients=PATIENTS)
    code, output = simulate(to=listener.address, as_json=True)
    facts = json.loads(output)
    assert code == 0
    assert facts["sent"] == facts["acknowledged"]["AA"] == len(told.messages)
    by_feed: dict[str, list[bytes]] = {}
    for message in told.messages:
        by_feed.setdefault(message.feed, []).append(message.payload)
    assert sorted(listener.frames) == sorted(by_feed.values())


def test_a_rate_spreads_the_sending(listener: Listener) -> None:
    told = generate(2, now=NOW, patients=1)
    code, _ = simulate(to=listener.address, patients=1, rate=2000.0)
    assert code == 0
    assert [frame for own in listener.frames for frame in own] == [message.payload for message in told.messages]
    with pytest.raises(Permanent, match="more than 0"):
        simulate(to=listener.address, rate=0.0)


def test_a_refused_message_makes_the_exit_code_1() -> None:
    with Listener(b"AE") as refusing:
        code, output = simulate(to=refusing.address)
    assert code == 1
    assert "AE" in output


def test_a_listener_that_is_not_there_is_a_passing_trouble() -> None:
    with Listener() as closing:
        gone = closing.address
    with pytest.raises(Transient, match="cannot connect"):
        simulate(to=gone)
