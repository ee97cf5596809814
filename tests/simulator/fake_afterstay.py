"""A stand-in for `afterstay` that does what the simulator expects, or one thing wrong (--fault).

Run as `fake_afterstay.py SEED NOW PATIENTS FAULT verb …`. It answers MLLP and HTTP and keeps its books in the folder.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qs, urlparse

from services.simulator.simulation import Simulation, generate
from services.simulator.truth import ExpectedTask

PAGE = 7
DIES_AFTER = 5


def say(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


def item(task: ExpectedTask) -> dict[str, object]:
    return {
        "kind": task.kind,
        "status": task.status,
        "priority": task.priority,
        "patient": {"id": task.patient_id, "family": "X"},
        "stay": {"facility": {"code": task.facility_code, "name": "X"}, "discharged_on": str(task.discharged_on)},
    }


def serve_http(items: list[dict[str, object]]) -> int:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlparse(self.path).query)
            begin = int(query.get("cursor", ["0"])[0])
            assert query["open"] == ["true"]
            end = begin + PAGE
            page = {"items": items[begin:end], "next_cursor": str(end) if end < len(items) else None}
            body = json.dumps(page).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


async def run(told: Simulation, data: Path, fault: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if fault == "never-stops" else stop.set)
    received = 0

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        try:
            while True:
                frame = await reader.readuntil(b"\x1c\r")
                received += 1
                (data / "received").write_text(str(received))
                if fault == "dies" and received == DIES_AFTER:
                    say(sys.stderr, "disk on fire")
                    os._exit(9)
                control_id = frame.split(b"|")[9]
                code = b"AE" if fault == "refuses" else b"AA"
                if fault == "out-of-step":
                    control_id = b"somebody-else"
                writer.write(
                    b"\x0bMSH|^~\\&|A|B|C|D|20261124||ACK|1|P|2.5\rMSA|" + code + b"|" + control_id + b"\r\x1c\r"
                )
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    tasks = [item(task) for task in told.expected]
    port = serve_http(tasks[1:] if fault == "forgets-a-task" else tasks)
    (data / "pid").write_text(str(os.getpid()))
    mllp = server.sockets[0].getsockname()[1]
    say(sys.stdout, json.dumps({"ready": True, "mllp": f"127.0.0.1:{mllp}", "http": f"http://127.0.0.1:{port}"}))
    await stop.wait()


def status(told: Simulation, data: Path, fault: str) -> int:
    received = int((data / "received").read_text()) - (fault == "loses-a-message")
    letters = told.expected_dead_letters
    outcomes = {
        "effect": received - letters - 1,
        "no_effect": {"duplicate": 1, "stranger": 0},
        "review": 0,
        "dead_letter": letters,
    }
    books = {
        "received": received,
        "acknowledged": {"AA": received},
        "events": received,
        "pending": 0,
        "outcomes": outcomes,
        "tasks": {"contact": {"requested": 1}},
    }
    say(sys.stdout, "no JSON" if fault == "mumbles" else json.dumps(books))
    return 1 if fault == "unbalanced" else 0


def main() -> int:
    seed, now, patients, fault, *words = sys.argv[1:]
    told = generate(int(seed), now=datetime.fromisoformat(now), patients=int(patients))
    data = Path(words[words.index("--data") + 1])
    if words[0] == "status":
        return status(told, data, fault)
    if words[:2] == ["panel", "import"]:
        if fault == "refuses-panel":
            say(sys.stderr, "afterstay: row 2: no birth date")
        return fault == "refuses-panel" or Path(words[2]).read_text(encoding="utf-8") != told.panel_csv
    assert words[0] == "run"
    assert Path(words[words.index("--feeds") + 1]).read_text(encoding="utf-8") == told.feeds_yaml
    if fault == "does-not-start":
        say(sys.stderr, "afterstay: the port is taken")
        return 1
    asyncio.run(run(told, data, fault))
    return 0


if __name__ == "__main__":
    sys.exit(main())
