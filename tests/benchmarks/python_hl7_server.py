"""python-hl7's own MLLP server, as its documentation shows it: parse, answer AA, store nothing.

On uvloop, as our listener is, so that the event loop makes no difference.
`python -m tests.benchmarks.python_hl7_server` prints ``{"port": N}`` and serves until SIGTERM.
"""

import asyncio
import json
import signal

import uvloop
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server


async def _answer(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            writer.writemessage(message.create_ack())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await start_hl7_server(_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        print(json.dumps({"port": port}), flush=True)  # noqa: T201 - what the benchmark waits for
        await stop.wait()


def main() -> None:
    """Serve until told to stop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
