"""Serves the application on a socket that somebody else opened: uvicorn, without its signals, logs and banners.

The owner of the process listens first and tells the world when it serves, so the socket comes from outside; signals
belong to `runtime/lifecycle.py` alone, so a stop is a call.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

GRACEFUL_STOP_S: Final = 5  # a page takes milliseconds; what is not done by then will not be
KEEP_ALIVE_S: Final = 5
CONNECTIONS_MAX: Final = 1_000  # a backstop under the descriptor limit; `guard.py` refuses politely long before
BACKLOG: Final = 128


class HttpServer:
    """One HTTP server on one listening socket."""

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        self._socket = listening
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACEFUL_STOP_S,
            )
        )

    async def serve(self) -> None:
        """Serve until `stop`; then finish what is under way and close the socket."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Ask for the end of `serve`; no new connection is taken."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield
