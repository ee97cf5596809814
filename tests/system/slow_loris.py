"""A slow-loris attack (fault F33, S9): connections that say next to nothing and come back when they are closed.

`python -m tests.system.slow_loris PORT COUNT OPENING` connects COUNT times from 250 addresses of this machine, says
``ready`` when all have tried once, and goes on until standard input ends; then it says how often it was closed. A third
of the connections say nothing at all, the others one byte of OPENING (hexadecimal) a second.
"""

import asyncio
import contextlib
import random
import sys
from typing import Final

ADDRESSES: Final = 250
BYTE_EVERY_S: Final = 1.0
BACK_AFTER_S: Final = (0.5, 1.5)


class _Loris:
    def __init__(self, port: int, number: int, opening: bytes) -> None:
        self._port = port
        self._host = f"127.0.1.{1 + number % ADDRESSES}"
        self._opening = b"" if number % 3 == 0 else opening
        self.tried = asyncio.Event()
        self.closed = 0
        self._random = random.Random(number)

    async def attack(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._host, 0))
            except OSError:
                self.tried.set()
                await asyncio.sleep(self._random.uniform(*BACK_AFTER_S))
                continue
            self.tried.set()
            dripping = asyncio.create_task(self._drip(writer))
            with contextlib.suppress(OSError):
                while await reader.read(1_000):
                    pass
            self.closed += 1
            dripping.cancel()
            writer.transport.abort()
            await asyncio.sleep(self._random.uniform(*BACK_AFTER_S))

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        for number in range(len(self._opening)):
            writer.write(self._opening[number : number + 1])
            await asyncio.sleep(BYTE_EVERY_S)


async def _attack(port: int, count: int, opening: bytes) -> None:
    lorises = [_Loris(port, number, opening) for number in range(count)]
    tasks = [asyncio.create_task(one.attack()) for one in lorises]
    for one in lorises:
        await one.tried.wait()
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(sum(one.closed for one in lorises), flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    asyncio.run(_attack(int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])))
